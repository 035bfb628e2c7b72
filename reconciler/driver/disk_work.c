/* Theory of operation: the work disk is a sparse file with an ext4 on it, writable by nobody but
 * its VM. mke2fs is told that what it does not write reads as zeroes, so that neither it nor the
 * guest's kernel ever writes empty inode tables: a disk of 8 GiB starts as 4 MiB. */
#include "driver/disk.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TOOL_TIMEOUT_MS 60000
#define SMALLEST	(8 * MIB) /* a journal and a root directory */

static const char tmp_name[] = VM_FILE_WORK_DISK DISK_TMP;

/* Ordinary users of Debian have no sbin in their PATH. */
static const char *mke2fs_program(void)
{
	static const char *const places[] = { "/usr/sbin/mke2fs", "/sbin/mke2fs" };
	for (size_t i = 0; i < ARRAY_COUNT(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return "mke2fs";
}

static int make_ext4(const char *dir, struct error *err)
{
	const char *const argv[] = {
		mke2fs_program(),
		"-q",
		"-F",
		"-t",
		"ext4",
		"-m", /* no blocks kept back for root, who is the only user */
		"0",
		"-L",
		"work",
		"-E",
		"nodiscard,assume_storage_prezeroed=1,root_owner=0:0",
		tmp_name,
		NULL,
	};
	struct proc_run run = {
		.argv = argv, .cwd = dir, .timeout_ms = TOOL_TIMEOUT_MS, .files_only = true
	};
	if (proc_check(&run, NULL, err) == 0)
		return 0;
	if (err->sys == ENOENT)
		return error_set(err, ERROR_NOT_FOUND,
				 "'mke2fs' is not installed: apt-get install e2fsprogs");
	return -1;
}

int disk_work_create(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err)
{
	if (disk_exists(vm_dirfd, VM_FILE_WORK_DISK))
		return 0;
	if (size_bytes < SMALLEST)
		return error_set(err, ERROR_INVALID, "a work disk needs at least 8 MiB");
	auto_close int fd = disk_begin(vm_dirfd, VM_FILE_WORK_DISK, err);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		error_sys(err, "cannot create disk '%s'", VM_FILE_WORK_DISK);
	else if (make_ext4(dir, err) < 0)
		error_wrap(err, "cannot create disk '%s'", VM_FILE_WORK_DISK);
	else
		return disk_finish(vm_dirfd, VM_FILE_WORK_DISK, err);
	unlinkat(vm_dirfd, tmp_name, 0);
	return -1;
}

int disk_work_remove(int vm_dirfd, struct error *err)
{
	return disk_remove(vm_dirfd, VM_FILE_WORK_DISK, err);
}

int disk_work_grow(int vm_dirfd, uint64_t size_bytes, struct error *err)
{
	return disk_raw_grow(vm_dirfd, VM_FILE_WORK_DISK, size_bytes, err);
}

int disk_work_stat(int vm_dirfd, uint64_t *ret_size, struct error *err)
{
	return disk_raw_stat(vm_dirfd, VM_FILE_WORK_DISK, ret_size, err);
}
