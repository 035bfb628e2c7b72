#include "agent/disks.h"
#include "agent/phase.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <time.h>

/* From the kernel's fs/ext4/ext4.h; not in the exported headers of every distribution. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

#define SERIAL_BYTES_MAX 64
#define WAIT_STEP_MS	 5

static bool serial_is(const char *block_path, const char *disk, const char *serial)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT;
	auto_free char *path = xasprintf("%s/%s/serial", block_path, disk);
	if (fs_read(AT_FDCWD, path, SERIAL_BYTES_MAX, &text, &ignored) < 0)
		return false;
	while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == ' '))
		text.data[--text.len] = '\0';
	return !strcmp(text.data, serial);
}

/* Firecracker gives its disks serials of its own making, but always names them in order. */
static bool is_disk(const char *block_path, const char *disk, const char *serial)
{
	static const char folder[] = "/dev/";
	if (!strncmp(serial, folder, strlen(folder)))
		return !strcmp(serial + strlen(folder), disk);
	return serial_is(block_path, disk, serial);
}

int disk_find(const char *block_path, const char *serial, char name[DISK_NAME_MAX],
	      struct error *err)
{
	auto_dir DIR *dir = opendir(block_path);
	if (!dir)
		return error_sys(err, "cannot list '%s'", block_path);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.' && is_disk(block_path, entry->d_name, serial) &&
		    str_copy(name, DISK_NAME_MAX, entry->d_name))
			return 0;
	return error_set(err, ERROR_NOT_FOUND, "no disk with serial '%s'", serial);
}

static int wait_for_disk(const char *serial, unsigned timeout_ms, char name[DISK_NAME_MAX],
			 struct error *err)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_MS * 1000000L };
	for (uint64_t until = uptime_ms() + timeout_ms;;) {
		if (disk_find("/sys/block", serial, name, err) == 0)
			return 0;
		if (uptime_ms() >= until)
			return error_append(err, " after %u ms", timeout_ms);
		nanosleep(&step, NULL);
	}
}

int disk_mount(const char *serial, const char *path, unsigned long flags, unsigned timeout_ms,
	       struct error *err)
{
	char name[DISK_NAME_MAX];
	if (wait_for_disk(serial, timeout_ms, name, err) < 0)
		return -1;
	if (fs_mkdirs(path, 0755, err) < 0)
		return -1;
	auto_free char *device = xasprintf("/dev/%s", name);
	if (mount(device, path, "ext4", MS_RELATIME | flags, "") < 0)
		return error_sys(err, "cannot mount '%s' (serial '%s') at '%s'", device, serial,
				 path);
	return 0;
}

/* Through sysfs: the device's node may be locked by policy, its size is not. */
static int device_bytes(const char *name, uint64_t *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	auto_free char *path = xasprintf("/sys/block/%s/size", name);
	if (fs_read(AT_FDCWD, path, SERIAL_BYTES_MAX, &text, err) < 0)
		return -1;
	char *end;
	unsigned long long sectors = strtoull(text.data, &end, 10);
	if (end == text.data || __builtin_mul_overflow(sectors, 512ULL, ret))
		return error_set(err, ERROR_SYSTEM, "'%s' holds no size", path);
	return 0;
}

int disk_grow(const char *serial, const char *path, uint64_t *ret_bytes, struct error *err)
{
	char name[DISK_NAME_MAX];
	uint64_t device = 0;
	if (disk_find("/sys/block", serial, name, err) < 0 || device_bytes(name, &device, err) < 0)
		return -1;
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return error_sys(err, "cannot look at '%s'", path);
	uint64_t block = (uint64_t)fs.f_bsize;
	if (!block)
		return error_set(err, ERROR_SYSTEM, "'%s' has no block size", path);
	/* The kernel takes the number of blocks; the same or less than now is refused or nothing
	 * to do, and it alone knows which, as statfs leaves its overhead out. */
	uint64_t blocks = device / block;
	if (ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0)
		return error_sys(err, "cannot grow '%s' to %llu blocks", path,
				 (unsigned long long)blocks);
	*ret_bytes = blocks * block;
	return 0;
}
