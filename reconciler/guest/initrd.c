#include "guest/initrd.h"
#include "base/cleanup.h"
#include "base/fs.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/* copy_file_range shares blocks where it can, sendfile copies in the kernel between any two file
 * systems. Both say on their first call whether they can do it at all. */
static int copy_all(int to, int from, uint64_t size)
{
	bool by_range = true;
	while (size) {
		ssize_t put = by_range ? copy_file_range(from, NULL, to, NULL, size, 0)
				       : sendfile(to, from, NULL, size);
		if (put < 0 && errno == EINTR)
			continue;
		if (by_range && put <= 0) {
			/* Also 0: some file systems' way to say no; a short file ends below. */
			by_range = false;
			continue;
		}
		if (put < 0)
			return -1;
		if (put == 0) {
			errno = EIO; /* it shrank while we read */
			return -1;
		}
		size -= (uint64_t)put;
	}
	return 0;
}

int initrd_add_part(int fd, const char *path, struct error *err)
{
	auto_close int from = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (from < 0 || fstat(from, &st) < 0)
		return error_sys(err, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > INITRD_PART_MAX)
		return error_set(err, ERROR_SYSTEM, "'%s' is not an archive for an initrd", path);
	if (copy_all(fd, from, (uint64_t)st.st_size) < 0)
		return error_sys(err, "cannot copy '%s'", path);
	off_t padding = (INITRD_ALIGN - st.st_size % INITRD_ALIGN) % INITRD_ALIGN;
	if (lseek(fd, padding, SEEK_CUR) < 0)
		return error_sys(err, "cannot copy '%s'", path);
	return 0;
}
