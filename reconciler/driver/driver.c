#include "driver/driver.h"

#include <unistd.h>

const struct hv_driver *const hv_drivers[] = { &hv_qemu, &hv_firecracker, NULL };

void hv_processes_clear(struct hv_process_vec *found)
{
	for (size_t i = 0; i < found->count; i++)
		if (found->at[i].pidfd >= 0)
			close(found->at[i].pidfd);
	hv_process_vec_clear(found);
}

void hv_argv_free(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}
