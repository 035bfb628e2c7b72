#include "driver/dm.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <fcntl.h>
#include <libdevmapper.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FIRST_PAUSE_MS 5
#define LAST_PAUSE_MS  200

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char complaint[256]; /* the library's first since lock_library() */

static void hear(int level, const char *file, int line, int dm_errno, const char *format, ...)
{
	(void)file;
	(void)line;
	(void)dm_errno;
	/* 3: LOG_ERR of syslog, with bits of the library's own above. */
	if ((level & 7) > 3 || complaint[0])
		return;
	va_list args;
	va_start(args, format);
	vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
}

static void lock_library(void)
{
	pthread_mutex_lock(&lock);
	dm_log_with_errno_init(hear);
	dm_udev_set_sync_support(0);
	complaint[0] = '\0';
}

/* The library keeps a descriptor of /dev/mapper/control, which is not close-on-exec. */
static void unlock_library(void)
{
	dm_lib_release();
	pthread_mutex_unlock(&lock);
}

static int failed(const char *what, const char *name, int number, struct error *err)
{
	enum error_code code = number == EBUSY	  ? ERROR_BUSY
			       : number == ENXIO  ? ERROR_NOT_FOUND
			       : number == EEXIST ? ERROR_CONFLICT
						  : ERROR_SYSTEM;
	error_set(err, code, "cannot %s device '%s': %s", what, name,
		  complaint[0] ? complaint
		  : number     ? strerror(number)
			       : "device-mapper refused");
	err->sys = number;
	return -1;
}

bool dm_possible(void)
{
	/* A node says nothing; opening it loads the module. */
	auto_close int fd = open(DM_DIR "/control", O_RDWR | O_CLOEXEC);
	return fd >= 0;
}

/* Runs and frees it. */
static int run(struct dm_task *task, const char *what, const char *name, struct error *err)
{
	int result = 0;
	if (!dm_task_run(task))
		result = failed(what, name, dm_task_get_errno(task), err);
	dm_task_destroy(task);
	return result;
}

/* With udev's rules off for this event; NULL when there is no memory or no device-mapper. */
static struct dm_task *task_new(int type, const char *name)
{
	struct dm_task *task = dm_task_create(type);
	uint32_t cookie = 0;
	const uint16_t flags = DM_UDEV_DISABLE_DM_RULES_FLAG |
			       DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
			       DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG;
	if (task && (!name || dm_task_set_name(task, name)) &&
	    (type != DM_DEVICE_CREATE || dm_task_set_add_node(task, DM_ADD_NODE_ON_RESUME)) &&
	    (type == DM_DEVICE_LIST || type == DM_DEVICE_TABLE || type == DM_DEVICE_STATUS ||
	     type == DM_DEVICE_RELOAD || dm_task_set_cookie(task, &cookie, flags)))
		return task;
	if (task)
		dm_task_destroy(task);
	return NULL;
}

/* uuid: of one that is made; NULL */
static int load(int type, const char *name, const char *uuid, const struct dm_target *targets,
		size_t count, bool read_only, struct error *err)
{
	struct dm_task *task = task_new(type, name);
	bool fine = task && (!uuid || dm_task_set_uuid(task, uuid)) &&
		    (!read_only || dm_task_set_ro(task));
	for (size_t i = 0; fine && i < count; i++)
		fine = dm_task_add_target(task, targets[i].start, targets[i].length,
					  targets[i].type, targets[i].params);
	if (fine)
		return run(task, type == DM_DEVICE_CREATE ? "make" : "change", name, err);
	if (task)
		dm_task_destroy(task);
	return failed("prepare", name, 0, err);
}

static int simply(int type, const char *what, const char *name, struct error *err)
{
	struct dm_task *task = task_new(type, name);
	return task ? run(task, what, name, err) : failed(what, name, 0, err);
}

int dm_create(const char *name, const char *uuid, const struct dm_target *targets, size_t count,
	      bool read_only, struct error *err)
{
	lock_library();
	int result = load(DM_DEVICE_CREATE, name, uuid, targets, count, read_only, err);
	unlock_library();
	return result;
}

int dm_reload(const char *name, const struct dm_target *targets, size_t count, bool read_only,
	      struct error *err)
{
	lock_library();
	/* A resume lets the new table replace the old one, and flushes what was on its way. */
	int result = load(DM_DEVICE_RELOAD, name, NULL, targets, count, read_only, err);
	if (result == 0)
		result = simply(DM_DEVICE_RESUME, "resume", name, err);
	unlock_library();
	return result;
}

static int remove_once(const char *name, struct error *err)
{
	lock_library();
	int result = simply(DM_DEVICE_REMOVE, "remove", name, err);
	unlock_library();
	return result < 0 && err->code == ERROR_NOT_FOUND ? 0 : result;
}

int dm_remove(const char *name, uint64_t timeout_ms, struct error *err)
{
	uint64_t end = clock_monotonic_ms() + timeout_ms;
	for (uint64_t pause = FIRST_PAUSE_MS;;
	     pause = pause * 2 < LAST_PAUSE_MS ? pause * 2 : LAST_PAUSE_MS) {
		struct dm_device device;
		/* The kernel's answer to a removal is not asked for in vain. */
		if (dm_table(name, &device, err) < 0)
			return -1;
		if (!device.exists || remove_once(name, err) == 0)
			return 0;
		if (err->code != ERROR_BUSY)
			return -1;
		if (clock_monotonic_ms() >= end)
			return error_set(err, ERROR_BUSY,
					 "device '%s' is in use: something still has '" DM_DIR
					 "/%s' open",
					 name, name);
		usleep((useconds_t)pause * 1000);
	}
}

static int look(int type, const char *name, struct dm_device *ret, struct error *err)
{
	struct dm_task *task = task_new(type, name);
	struct dm_info info;
	*ret = (struct dm_device){ 0 };
	if (!task)
		return failed("look at", name, 0, err);
	int result = 0;
	uint64_t start, length;
	char *kind = NULL, *params = NULL;
	if (dm_task_run(task) && dm_task_get_info(task, &info)) {
		ret->exists = info.exists;
		ret->opened = info.exists ? (unsigned)info.open_count : 0;
		ret->dev = makedev(info.major, info.minor);
		dm_get_next_target(task, NULL, &start, &length, &kind, &params);
		str_copy(ret->type, sizeof(ret->type), kind ? kind : "");
		str_copy(ret->params, sizeof(ret->params), params ? params : "");
		const char *uuid = info.exists ? dm_task_get_uuid(task) : NULL;
		if (!uuid || !str_copy(ret->uuid, sizeof(ret->uuid), uuid))
			ret->uuid[0] = '\0';
	} else if (dm_task_get_errno(task) != ENXIO)
		result = failed("look at", name, dm_task_get_errno(task), err);
	dm_task_destroy(task);
	return result;
}

int dm_table(const char *name, struct dm_device *ret, struct error *err)
{
	lock_library();
	int result = look(DM_DEVICE_TABLE, name, ret, err);
	unlock_library();
	return result;
}

int dm_status(const char *name, struct dm_device *ret, struct error *err)
{
	lock_library();
	int result = look(DM_DEVICE_STATUS, name, ret, err);
	unlock_library();
	return result;
}

static void collect(const struct dm_names *names, const char *prefix, struct dm_name_vec *ret)
{
	/* dev 0: there are none. next is the distance to the one after, 0 at the end. */
	for (; names && names->dev; names = (const void *)((const char *)names + names->next)) {
		struct dm_name name = { 0 };
		if (!strncmp(names->name, prefix, strlen(prefix)) &&
		    str_copy(name.text, sizeof(name.text), names->name))
			dm_name_vec_push(ret, name);
		if (!names->next)
			return;
	}
}

int dm_list(const char *prefix, struct dm_name_vec *ret, struct error *err)
{
	lock_library();
	struct dm_task *task = task_new(DM_DEVICE_LIST, NULL);
	int result = 0;
	if (!task || !dm_task_run(task))
		result = failed("list", prefix, task ? dm_task_get_errno(task) : 0, err);
	else
		collect(dm_task_get_names(task), prefix, ret);
	if (task)
		dm_task_destroy(task);
	unlock_library();
	return result;
}
