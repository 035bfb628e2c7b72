/* Theory of operation: where the file system shares extents, a reflink of the image's read-only
 * rootfs is a raw file of its own; elsewhere a qcow2 overlay names the rootfs by its path, which
 * never changes as images are immutable and content-addressed. */
#include "driver/disk.h"
#include "driver/vm_user.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define TOOL_TIMEOUT_MS 60000

/* --- reflink --- */

static int make_reflink(int vm_dirfd, const char *dir, const struct disk_image *image,
			struct error *err)
{
	(void)dir;
	static const char tmp[] = VM_FILE_ROOT_DISK DISK_TMP;
	auto_close int base = open(image->base, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (base < 0)
		return error_sys(err, "cannot open image '%s'", image->base);
	auto_close int fd = disk_begin(vm_dirfd, VM_FILE_ROOT_DISK, err);
	if (fd < 0)
		return -1;
	if (ioctl(fd, FICLONE, base) < 0) {
		unlinkat(vm_dirfd, tmp, 0);
		return 1;
	}
	if (ftruncate(fd, (off_t)image->size_bytes) == 0)
		return disk_finish(vm_dirfd, VM_FILE_ROOT_DISK, err);
	error_sys(err, "cannot set the size of disk '%s'", VM_FILE_ROOT_DISK);
	unlinkat(vm_dirfd, tmp, 0);
	return -1;
}

static int stat_reflink(int vm_dirfd, uint64_t *ret_size, struct error *err)
{
	return disk_raw_stat(vm_dirfd, VM_FILE_ROOT_DISK, ret_size, err);
}

static int grow_reflink(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err)
{
	(void)dir;
	return disk_raw_grow(vm_dirfd, VM_FILE_ROOT_DISK, size_bytes, err);
}

const struct disk_driver disk_reflink = {
	.name = "reflink",
	.file = VM_FILE_ROOT_DISK,
	.create = make_reflink,
	.stat = stat_reflink,
	.grow = grow_reflink,
};

/* --- qcow2 --- */

static int make_overlay(int vm_dirfd, const char *dir, const struct disk_image *image,
			struct error *err)
{
	static const char tmp[] = VM_FILE_ROOT_OVERLAY DISK_TMP;
	auto_free char *base = realpath(image->base, NULL);
	if (!base)
		return error_sys(err, "cannot open image '%s'", image->base);
	auto_close int fd = disk_begin(vm_dirfd, VM_FILE_ROOT_OVERLAY, err);
	if (fd < 0)
		return -1;
	auto_free char *size = xasprintf("%" PRIu64, image->size_bytes);
	const char *const argv[] = { "qemu-img", "create", "-q",  "-f", "qcow2", "-b",
				     base,	 "-F",	   "raw", tmp,	size,	 NULL };
	struct proc_run run = {
		.argv = argv, .cwd = dir, .timeout_ms = TOOL_TIMEOUT_MS, .files_only = true
	};
	if (proc_check(&run, NULL, err) == 0)
		return disk_finish(vm_dirfd, VM_FILE_ROOT_OVERLAY, err);
	unlinkat(vm_dirfd, tmp, 0);
	return error_wrap(err, "cannot create disk '%s'", VM_FILE_ROOT_OVERLAY);
}

static int overlay_size(int fd, uint64_t *ret_size, struct error *err)
{
	unsigned char header[QCOW2_HEADER_BYTES];
	ssize_t len = pread(fd, header, sizeof(header), 0);
	if (len < 0)
		return error_sys(err, "cannot read disk '%s'", VM_FILE_ROOT_OVERLAY);
	if (!qcow2_parse(header, (size_t)len, ret_size))
		return error_set(err, ERROR_SYSTEM, "disk '%s' is damaged: no qcow2 header",
				 VM_FILE_ROOT_OVERLAY);
	return 0;
}

static int stat_overlay(int vm_dirfd, uint64_t *ret_size, struct error *err)
{
	auto_close int fd = disk_open(vm_dirfd, VM_FILE_ROOT_OVERLAY, O_RDONLY, err);
	return fd < 0 ? -1 : overlay_size(fd, ret_size, err);
}

/* What a hypervisor wrote into its overlay may name any file as part of it, and qemu-img opens
 * that: so it runs as whom the overlay belongs to. */
static bool overlay_user(int vm_dirfd, struct proc_user *ret)
{
	struct stat st;
	uid_t user = vm_user_of_fd(vm_dirfd);
	*ret = (struct proc_user){ .uid = user, .gid = user };
	return user && fstatat(vm_dirfd, VM_FILE_ROOT_OVERLAY, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_uid == user;
}

static int grow_overlay(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err)
{
	struct proc_user user;
	auto_free char *text = xasprintf("%" PRIu64, size_bytes);
	const char *const argv[] = { "qemu-img",	   "resize", "-q", "-f", "qcow2",
				     VM_FILE_ROOT_OVERLAY, text,     NULL };
	struct proc_run run = {
		.argv = argv, .cwd = dir, .timeout_ms = TOOL_TIMEOUT_MS, .files_only = true
	};
	if (overlay_user(vm_dirfd, &user))
		run.user = &user;
	if (proc_check(&run, NULL, err) < 0)
		return error_wrap(err, "cannot grow disk '%s'", VM_FILE_ROOT_OVERLAY);
	return 0;
}

const struct disk_driver disk_qcow2 = {
	.name = "qcow2",
	.file = VM_FILE_ROOT_OVERLAY,
	.create = make_overlay,
	.stat = stat_overlay,
	.grow = grow_overlay,
};
