#include "guest/initrd.h"
#include "base/cleanup.h"
#include "base/fs.h"

#include <fcntl.h>
#include <sys/stat.h>

int initrd_add_part(int fd, const char *path, struct error *err)
{
	auto_close int from = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (from < 0 || fstat(from, &st) < 0)
		return error_sys(err, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > INITRD_PART_MAX)
		return error_set(err, ERROR_SYSTEM, "'%s' is not an archive for an initrd", path);
	if (fs_copy(fd, from, (uint64_t)st.st_size) < 0)
		return error_sys(err, "cannot copy '%s'", path);
	off_t padding = (INITRD_ALIGN - st.st_size % INITRD_ALIGN) % INITRD_ALIGN;
	if (lseek(fd, padding, SEEK_CUR) < 0)
		return error_sys(err, "cannot copy '%s'", path);
	return 0;
}
