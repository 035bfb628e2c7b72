#include "driver/loop_device.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "sys/loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MOUNTS_MAX (4u << 20)
#define DETACH_MS  3000
#define PAUSE_US   (20 * 1000)

static const char gone_suffix[] = " (deleted)";

/* With what the kernel keeps of the file it was made of. -1: it has none. */
static int open_bound(const char *name, struct loop_info64 *ret)
{
	auto_free char *path = xasprintf("/dev/%s", name);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, ret) < 0)
		return -1;
	return take_fd(&fd);
}

static bool has_entries(const char *path)
{
	auto_dir DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			return true;
	return false;
}

/* "36 35 7:3 / /mnt …": the third word is the device. */
static bool is_mounted(dev_t dev)
{
	auto_buf struct buf text = BUF_INIT;
	struct error ignored;
	char wanted[32];
	snprintf(wanted, sizeof(wanted), " %u:%u ", major(dev), minor(dev));
	if (fs_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX, &text, &ignored) < 0)
		return true;
	for (const char *line = text.data; *line; line += strcspn(line, "\n") + 1) {
		const char *second = strchr(line, ' ');
		const char *third = second ? strchr(second + 1, ' ') : NULL;
		if (third && !strncmp(third, wanted, strlen(wanted)))
			return true;
		if (!strchr(line, '\n'))
			break;
	}
	return false;
}

/* Not by opening it for oneself alone: somebody may want to use it in that moment. */
static bool is_used(const char *name, int fd)
{
	struct stat st;
	auto_free char *holders = xasprintf("/sys/block/%s/holders", name);
	return has_entries(holders) || fstat(fd, &st) < 0 || is_mounted(st.st_rdev);
}

static bool lies_below(char *file, const char *below)
{
	size_t len = strlen(file), gone = strlen(gone_suffix);
	if (len > gone && !strcmp(file + len - gone, gone_suffix))
		file[len - gone] = '\0';
	return !strncmp(file, below, strlen(below)) && file[strlen(below)] == '/';
}

static void look_at(const char *name, const char *below, struct loop_found_vec *ret)
{
	struct error ignored;
	struct loop_info64 info;
	struct loop_found found = { 0 };
	auto_buf struct buf file = BUF_INIT;
	auto_free char *path = xasprintf("/sys/block/%s/loop/backing_file", name);
	if (fs_read(AT_FDCWD, path, 4096, &file, &ignored) < 0)
		return;
	file.data[strcspn(file.data, "\n")] = '\0';
	if (!lies_below(file.data, below) || !str_copy(found.name, sizeof(found.name), name))
		return;
	auto_close int fd = open_bound(name, &info);
	if (fd < 0)
		return;
	found.file = xstrdup(file.data);
	found.file_dev = info.lo_device;
	found.file_ino = info.lo_inode;
	found.read_only = info.lo_flags & LO_FLAGS_READ_ONLY;
	found.used = is_used(name, fd);
	loop_found_vec_push(ret, found);
}

void loop_device_find(const char *below, struct loop_found_vec *ret)
{
	auto_free char *real = realpath(below, NULL);
	auto_dir DIR *dir = opendir("/sys/block");
	for (const struct dirent *entry; real && dir && (entry = readdir(dir));)
		if (!strncmp(entry->d_name, "loop", 4))
			look_at(entry->d_name, real, ret);
}

void loop_found_clear(struct loop_found_vec *found)
{
	for (size_t i = 0; i < found->count; i++)
		free(found->at[i].file);
	loop_found_vec_clear(found);
}

/* 1: try again. The device goes when its last user closes it, which may be this look at it. */
static int detach_once(const struct loop_found *loop, struct error *err)
{
	struct loop_info64 info;
	auto_close int fd = open_bound(loop->name, &info);
	if (fd < 0)
		return 0;
	if (info.lo_device != loop->file_dev || info.lo_inode != loop->file_ino)
		return error_set(err, ERROR_CONFLICT, "'%s' has another file meanwhile",
				 loop->name);
	if (!is_used(loop->name, fd) && ioctl(fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO)
		return error_sys(err, "cannot take '%s' from '%s'", loop->name, loop->file);
	return 1;
}

int loop_device_detach(const struct loop_found *loop, struct error *err)
{
	uint64_t end = clock_monotonic_ms() + DETACH_MS;
	for (;;) {
		int again = detach_once(loop, err);
		if (again <= 0)
			return again;
		if (clock_monotonic_ms() >= end)
			return error_set(err, ERROR_BUSY, "'/dev/%s' is in use", loop->name);
		usleep(PAUSE_US);
	}
}
