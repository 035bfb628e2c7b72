#include "driver/driver.h"
#include "driver/jail.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID_LEN 10

bool vm_id_fits(const char *text)
{
	return strspn(text, "0123456789abcdef") == ID_LEN && !text[ID_LEN];
}

bool vm_lock_is_held(const char *vms_dir, const char *id)
{
	auto_free char *dir = xasprintf("%s/%s", vms_dir, id);
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && lock_is_held(fd, VM_FILE_LOCK);
}

const struct hv_driver *const hv_drivers[] = { &hv_qemu, &hv_firecracker, NULL };

/* BANGER_HYPERVISOR=firecracker is what `auto` means, for tests of one kind. */
static const struct hv_driver *automatic(void)
{
	const char *name = secure_getenv("BANGER_HYPERVISOR");
	for (size_t i = 0; name && hv_drivers[i]; i++)
		if (!strcmp(hv_drivers[i]->name, name))
			return hv_drivers[i];
	return &hv_qemu;
}

const struct hv_driver *hv_driver_for(enum hypervisor_kind kind)
{
	if (kind == HYPERVISOR_AUTO)
		return automatic();
	return kind == HYPERVISOR_FIRECRACKER ? &hv_firecracker : &hv_qemu;
}

int hv_find_all(const char *state_vms_dir, struct hv_process_vec *ret, struct error *err)
{
	for (size_t i = 0; hv_drivers[i]; i++) {
		size_t before = ret->count;
		if (hv_drivers[i]->find(state_vms_dir, ret, err) < 0)
			return -1;
		for (size_t at = before; at < ret->count; at++)
			ret->at[at].hv = hv_drivers[i];
	}
	return 0;
}

int hv_files_remove(int vm_dirfd, struct error *err)
{
	static const char *const names[] = { VM_FILE_MONITOR, VM_FILE_AGENT,	    VM_FILE_EXEC,
					     VM_FILE_CONSOLE, VM_FILE_PID,	    VM_FILE_API,
					     VM_FILE_VSOCK,   VM_FILE_CONSOLE_PIPE, VM_FILE_KERNEL,
					     VM_FILE_STARTING };
	if (jail_remove(vm_dirfd, err) < 0)
		return -1;
	/* Whatever a hypervisor made of such a name: a directory must not be in the way for ever.
	 */
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (fs_remove_tree(vm_dirfd, names[i], err) < 0)
			return -1;
	return 0;
}

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
