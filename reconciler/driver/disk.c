/* Theory of operation: a disk is made under a temporary name, flushed and renamed, so that a kill
 * or a power failure leaves either the whole disk or a leftover that the next attempt replaces. The
 * temporary name is fixed: only one job works on a VM. */
#include "driver/disk.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

int disk_open(int vm_dirfd, const char *name, int flags, struct error *err)
{
	auto_close int fd =
		openat(vm_dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return error_sys(err, "cannot open disk '%s'", name);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_sys(err, "cannot look at disk '%s'", name);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERROR_CONFLICT, "disk '%s' is not a file", name);
	return take_fd(&fd);
}

bool disk_exists(int vm_dirfd, const char *name)
{
	struct stat st;
	return fstatat(vm_dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int disk_begin(int vm_dirfd, const char *name, struct error *err)
{
	auto_free char *tmp = xasprintf("%s" DISK_TMP, name);
	unlinkat(vm_dirfd, tmp, 0);
	int fd = openat(vm_dirfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? error_sys(err, "cannot create disk '%s'", name) : fd;
}

int disk_finish(int vm_dirfd, const char *name, struct error *err)
{
	auto_free char *tmp = xasprintf("%s" DISK_TMP, name);
	auto_close int fd = disk_open(vm_dirfd, tmp, O_RDWR, err);
	if (fd < 0)
		return -1;
	if (fchmod(fd, 0600) == 0 && fsync(fd) == 0 && renameat(vm_dirfd, tmp, vm_dirfd, name) == 0)
		return 0;
	error_sys(err, "cannot finish disk '%s'", name);
	unlinkat(vm_dirfd, tmp, 0);
	return -1;
}

int disk_remove(int vm_dirfd, const char *name, struct error *err)
{
	auto_free char *tmp = xasprintf("%s" DISK_TMP, name);
	if (fs_unlink(vm_dirfd, tmp, err) < 0)
		return -1;
	return fs_unlink(vm_dirfd, name, err);
}

int disk_raw_stat(int vm_dirfd, const char *name, uint64_t *ret_size, struct error *err)
{
	auto_close int fd = disk_open(vm_dirfd, name, O_RDONLY, err);
	struct stat st;
	*ret_size = 0;
	if (fd < 0)
		return err->sys == ENOENT ? 0 : -1;
	if (fstat(fd, &st) < 0)
		return error_sys(err, "cannot look at disk '%s'", name);
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

int disk_raw_grow(int vm_dirfd, const char *name, uint64_t size_bytes, struct error *err)
{
	auto_close int fd = disk_open(vm_dirfd, name, O_RDWR, err);
	struct stat st;
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return error_sys(err, "cannot look at disk '%s'", name);
	if ((uint64_t)st.st_size >= size_bytes)
		return 0;
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return error_sys(err, "cannot grow disk '%s'", name);
	return 0;
}

static uint64_t big_endian(const unsigned char *bytes, unsigned count)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < count; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* docs/interop/qcow2.txt: magic, version, backing file offset (8) and size (20), cluster bits (20),
 * virtual size at 24. */
bool qcow2_parse(const unsigned char *header, size_t len, uint64_t *ret_size)
{
	if (len < QCOW2_HEADER_BYTES || memcmp(header, "QFI\xfb", 4) != 0)
		return false;
	uint64_t version = big_endian(header + 4, 4);
	if (version != 2 && version != 3)
		return false;
	*ret_size = big_endian(header + 24, 8);
	return true;
}

int disk_check_space(const char *dir, uint64_t bytes, struct error *err)
{
	struct statvfs vfs;
	if (statvfs(dir, &vfs) < 0)
		return error_sys(err, "cannot tell the free space of '%s'", dir);
	uint64_t available;
	if (__builtin_mul_overflow((uint64_t)vfs.f_bavail, (uint64_t)vfs.f_frsize, &available))
		available = UINT64_MAX;
	if (available >= bytes)
		return 0;
	error_set(err, ERROR_SYSTEM,
		  "no space in '%s': %" PRIu64 " MiB needed, %" PRIu64 " MiB available", dir,
		  (bytes + MIB - 1) / MIB, available / MIB);
	err->sys = ENOSPC;
	return -1;
}
