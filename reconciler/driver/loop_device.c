#include "driver/loop_device.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define TRIES 64 /* others look for a free one at the same time */

static int open_node(const char *name, bool read_only)
{
	auto_free char *path = xasprintf("/dev/%s", name);
	return open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
}

static bool node_dev(int fd, dev_t *ret)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return false;
	*ret = st.st_rdev;
	return true;
}

static bool read_link_file(const char *path, char *ret, size_t size)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, ret, size - 1);
	if (len <= 0)
		return false;
	ret[len] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	return true;
}

bool loop_device_file(dev_t dev, char *ret, size_t size)
{
	auto_free char *path =
		xasprintf("/sys/dev/block/%u:%u/loop/backing_file", major(dev), minor(dev));
	return read_link_file(path, ret, size);
}

/* Once it is open it cannot go, so then it is looked at again. */
static bool serves(int fd, const struct stat *file)
{
	struct loop_info64 info;
	return ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_inode == file->st_ino &&
	       info.lo_device == file->st_dev && !info.lo_offset && !info.lo_sizelimit &&
	       (info.lo_flags & LO_FLAGS_READ_ONLY);
}

static int find_shared(const char *real, const struct stat *file)
{
	auto_dir DIR *dir = opendir("/sys/block");
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char backing[4096];
		auto_free char *path = xasprintf("/sys/block/%s/loop/backing_file", entry->d_name);
		if (strncmp(entry->d_name, "loop", 4) != 0 ||
		    !read_link_file(path, backing, sizeof(backing)) || strcmp(backing, real) != 0)
			continue;
		auto_close int fd = open_node(entry->d_name, true);
		if (fd >= 0 && serves(fd, file))
			return take_fd(&fd);
	}
	return -1;
}

static int configure_free(int file, const char *path, bool read_only, struct error *err)
{
	auto_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return error_sys(err,
				 "cannot open '/dev/loop-control', is the module 'loop' there?");
	struct loop_config config = { .fd = (uint32_t)file };
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0);
	snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", path);
	for (int i = 0; i < TRIES; i++) {
		char name[32];
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		if (number < 0)
			return error_sys(err, "cannot get a free loop device");
		snprintf(name, sizeof(name), "loop%d", number);
		auto_close int fd = open_node(name, read_only);
		if (fd < 0)
			return error_sys(err, "cannot open '/dev/%s'", name);
		if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return take_fd(&fd);
		if (errno != EBUSY && errno != ENXIO)
			return error_sys(err, "cannot make '/dev/%s' of '%s'", name, path);
	}
	return error_set(err, ERROR_BUSY, "no loop device was free for '%s' in %d tries", path,
			 TRIES);
}

int loop_device_attach(const char *path, bool read_only, int *ret_fd, dev_t *ret_dev,
		       struct error *err)
{
	struct stat st;
	auto_close int file = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY);
	if (file < 0 || fstat(file, &st) < 0)
		return error_sys(err, "cannot open '%s'", path);
	auto_free char *real = realpath(path, NULL);
	/* Of two that want the first one of an image, one makes it. */
	pthread_mutex_lock(&lock);
	auto_close int fd = read_only && real ? find_shared(real, &st) : -1;
	if (fd < 0)
		fd = configure_free(file, real ? real : path, read_only, err);
	pthread_mutex_unlock(&lock);
	if (fd < 0)
		return -1;
	if (!node_dev(fd, ret_dev))
		return error_sys(err, "cannot look at the loop device of '%s'", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int loop_device_refresh(dev_t dev, struct error *err)
{
	char target[4096];
	auto_free char *entry = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	ssize_t len = readlink(entry, target, sizeof(target) - 1);
	if (len < 0)
		return error_sys(err, "cannot find loop device %u:%u", major(dev), minor(dev));
	target[len] = '\0';
	const char *name = strrchr(target, '/');
	auto_close int fd = open_node(name ? name + 1 : target, false);
	dev_t now;
	if (fd < 0 || !node_dev(fd, &now) || now != dev)
		return error_sys(err, "cannot open the loop device '%s'", target);
	if (ioctl(fd, LOOP_SET_CAPACITY) < 0)
		return error_sys(err, "cannot grow the loop device '%s'", target);
	return 0;
}
