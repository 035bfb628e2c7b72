#include "driver/cgroup.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define PARENT	   CGROUP_ROOT "/" CGROUP_PARENT
#define BUSY_MS	   3000 /* its last process ends, or has ended a moment ago */
#define PAUSE_NS   5000000L
#define LIST_BYTES 4096

/* Nobody takes the parent away while another one is about to be made below it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool cgroup_can(const char *controller)
{
	struct statfs fs;
	struct error ignored;
	auto_buf struct buf list = BUF_INIT;
	if (statfs(CGROUP_ROOT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return false;
	if (!controller)
		return true;
	if (fs_read(AT_FDCWD, CGROUP_ROOT "/cgroup.controllers", LIST_BYTES, &list, &ignored) < 0)
		return false;
	char *rest = list.data;
	for (const char *word; (word = strsep(&rest, " \n"));)
		if (!strcmp(word, controller))
			return true;
	return false;
}

static int make_directory(const char *path, struct error *err)
{
	return mkdir(path, 0755) < 0 && errno != EEXIST
		       ? error_sys(err, "cannot make the cgroup '%s'", path)
		       : 0;
}

int cgroup_make(const char *name, struct error *err)
{
	auto_free char *path = xasprintf(PARENT "/%s", name);
	if (!cgroup_can(NULL))
		return 0;
	pthread_mutex_lock(&lock);
	int failed = make_directory(PARENT, err) < 0 ? -1 : make_directory(path, err);
	pthread_mutex_unlock(&lock);
	return failed;
}

bool cgroup_is_populated(const char *name)
{
	struct error ignored;
	auto_buf struct buf events = BUF_INIT;
	auto_free char *path = xasprintf(PARENT "/%s/cgroup.events", name);
	return fs_read(AT_FDCWD, path, LIST_BYTES, &events, &ignored) == 0 &&
	       strstr(events.data, "populated 1") != NULL;
}

/* Since Linux 5.14; before, what lives in it is in the way below. */
static void kill_all(const char *path)
{
	auto_free char *file = xasprintf("%s/cgroup.kill", path);
	(void)fs_tell(file, "1");
}

static int remove_directory(const char *path, struct error *err)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t deadline = clock_monotonic_ms() + BUSY_MS;
	while (rmdir(path) < 0 && errno != ENOENT) {
		if (errno != EBUSY || clock_monotonic_ms() >= deadline)
			return error_sys(err, "cannot remove the cgroup '%s'", path);
		kill_all(path);
		nanosleep(&pause, NULL);
	}
	return 0;
}

int cgroup_remove(const char *name, struct error *err)
{
	auto_free char *path = xasprintf(PARENT "/%s", name);
	if (!cgroup_can(NULL))
		return 0;
	if (remove_directory(path, err) < 0)
		return -1;
	pthread_mutex_lock(&lock);
	(void)rmdir(PARENT); /* not while it has others */
	pthread_mutex_unlock(&lock);
	return 0;
}
