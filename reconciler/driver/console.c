#include "driver/driver.h"
#include "driver/vm_user.h"
#include "base/cleanup.h"

#include <fcntl.h>
#include <sys/stat.h>

int hv_console_open(int vm_dirfd, uint64_t timeout_ms, struct error *err)
{
	struct stat st;
	auto_close int fd = openat(vm_dirfd, VM_FILE_CONSOLE_PIPE,
				   O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return vm_connect(vm_dirfd, VM_FILE_CONSOLE, timeout_ms, 1, err);
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return error_set(err, ERROR_SYSTEM, "'" VM_FILE_CONSOLE_PIPE "' is no pipe");
	return take_fd(&fd);
}
