/* Theory of operation: greeting -> we send qmp_capabilities and query-status -> an empty return:
 * READY -> the status: PAUSED when the guest stands still since before we came -> the memory that
 * is plugged: MEMORY -> events. Lines end with LF (QEMU sends CR LF, and CR is white space to
 * JSON). One line is handled at a time; those that mean nothing to us are skipped. Whatever is no
 * JSON object, or too long, or out of order before READY, breaks the connection for good.
 *
 * A guest that reboots resets the machine once, and then the firmware does so again, up to five
 * times within 0.3 s (seen with SeaBIOS): RESETs less than a second after the one that was told are
 * part of it. */
#include "driver/qmp.h"
#include "driver/vm_user.h"
#include "base/mem.h"

#include <string.h>
#include <sys/socket.h>

#define LINE_MAX_BYTES 65536
#define ONE_REBOOT_US  1000000

enum monitor_state { AWAITS_GREETING, AWAITS_RETURN, LISTENS, IS_BROKEN };

struct hv_monitor {
	enum monitor_state state;
	struct buf in;
	uint64_t plugged;
	int64_t reset_us; /* QEMU's time of the last RESET told, 0 none */
	size_t used; /* handled lines at the front of in, dropped when the rest is incomplete */
};

/* A full backlog would make connect() wait: a millisecond is all the loop gives. */
int qmp_monitor_open(int vm_dirfd, struct error *err)
{
	return vm_connect(vm_dirfd, VM_FILE_MONITOR, 1, 1, err);
}

struct hv_monitor *qmp_monitor_new(void)
{
	struct hv_monitor *monitor = xcalloc(1, sizeof(*monitor));
	monitor->in = BUF_INIT;
	return monitor;
}

uint64_t qmp_monitor_plugged(const struct hv_monitor *monitor)
{
	return monitor->plugged;
}

void qmp_monitor_free(struct hv_monitor *monitor)
{
	if (!monitor)
		return;
	buf_clear(&monitor->in);
	free(monitor);
}

static const struct {
	const char *reason;
	enum monitor_event event;
} shutdown_reasons[] = {
	{ "guest-shutdown", MONITOR_GUEST_POWEROFF }, { "guest-panic", MONITOR_GUEST_PANIC },
	{ "guest-reset", MONITOR_GUEST_RESET },	      { "host-signal", MONITOR_HOST_QUIT },
	{ "host-qmp-quit", MONITOR_HOST_QUIT },	      { "host-ui", MONITOR_HOST_QUIT },
};

static enum monitor_event shutdown_event(const cJSON *data)
{
	const char *reason = json_str(data, "reason", "");
	for (size_t i = 0; i < ARRAY_COUNT(shutdown_reasons); i++)
		if (!strcmp(reason, shutdown_reasons[i].reason))
			return shutdown_reasons[i].event;
	return json_bool(data, "guest", false) ? MONITOR_GUEST_POWEROFF : MONITOR_HOST_QUIT;
}

/* -1: QEMU does not know the time. */
static int64_t time_of(const cJSON *message)
{
	const cJSON *at = json_get(message, "timestamp");
	int64_t seconds = json_int(at, "seconds", -1), us = json_int(at, "microseconds", -1);
	bool sane = seconds >= 0 && seconds < INT64_C(1) << 40 && us >= 0 && us < 1000000;
	return sane ? seconds * 1000000 + us : -1;
}

static enum monitor_event reset_event(struct hv_monitor *monitor, const cJSON *message)
{
	int64_t now = time_of(message), since = now - monitor->reset_us;
	if (now >= 0 && monitor->reset_us && since >= 0 && since < ONE_REBOOT_US)
		return MONITOR_NOTHING;
	monitor->reset_us = now >= 0 ? now : 0;
	return MONITOR_GUEST_RESET;
}

static enum monitor_event event_of(struct hv_monitor *monitor, const cJSON *message)
{
	const char *name = json_str(message, "event", "");
	const cJSON *data = json_get(message, "data");
	if (!strcmp(name, "SHUTDOWN"))
		return shutdown_event(data);
	if (!strcmp(name, "GUEST_PANICKED"))
		return MONITOR_GUEST_PANIC;
	/* A reset of ours (system_reset) is no news. */
	if (!strcmp(name, "RESET") && json_bool(data, "guest", false))
		return reset_event(monitor, message);
	/* By QEMU itself, as its disk is full or KVM gave up, or by monitor_stop(). */
	if (!strcmp(name, "STOP"))
		return MONITOR_PAUSED;
	if (!strcmp(name, "RESUME"))
		return MONITOR_RESUMED;
	if (!strcmp(name, "MEMORY_DEVICE_SIZE_CHANGE")) {
		int64_t size = json_int(data, "size", -1);
		monitor->plugged = size > 0 ? (uint64_t)size : 0;
		return MONITOR_MEMORY;
	}
	return MONITOR_NOTHING;
}

/* The return of query-memory-devices is a list, that of query-status an object. */
static enum monitor_event status_event(struct hv_monitor *monitor, const cJSON *status)
{
	uint64_t asked;
	if (cJSON_IsArray(status)) {
		qmp_memory_devices(status, &monitor->plugged, &asked);
		return MONITOR_MEMORY;
	}
	return json_bool(status, "running", true) ? MONITOR_NOTHING : MONITOR_PAUSED;
}

static enum monitor_event broken(struct hv_monitor *monitor)
{
	monitor->state = IS_BROKEN;
	buf_clear(&monitor->in);
	monitor->used = 0;
	return MONITOR_BROKEN;
}

/* The socket of a fresh connection has room for these few bytes. */
static bool shake_hands(int fd)
{
	static const char request[] =
		"{\"execute\":\"qmp_capabilities\",\"id\":\"" QMP_MONITOR_ID
		"\"}\n{\"execute\":\"query-status\",\"id\":\"" QMP_MONITOR_ID
		"\"}\n{\"execute\":\"query-memory-devices\",\"id\":\"" QMP_MONITOR_ID "\"}\n";
	ssize_t len = (ssize_t)sizeof(request) - 1;
	return send(fd, request, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}

bool qmp_monitor_stop(struct hv_monitor *monitor, int fd)
{
	static const char request[] = "{\"execute\":\"stop\",\"id\":\"" QMP_MONITOR_ID "\"}\n";
	ssize_t len = (ssize_t)sizeof(request) - 1;
	return monitor->state == LISTENS &&
	       send(fd, request, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}

static enum monitor_event handle(struct hv_monitor *monitor, int fd, const cJSON *message)
{
	if (!cJSON_IsObject(message))
		return broken(monitor);
	if (strcmp(json_str(message, "id", QMP_MONITOR_ID), QMP_MONITOR_ID) != 0)
		return MONITOR_NOTHING; /* meant for the client before us */
	if (monitor->state == LISTENS && json_get(message, "return"))
		return status_event(monitor, json_get(message, "return"));
	if (monitor->state == LISTENS)
		return event_of(monitor, message);
	if (monitor->state == AWAITS_GREETING) {
		if (!json_get(message, "QMP") || !shake_hands(fd))
			return broken(monitor);
		monitor->state = AWAITS_RETURN;
		return MONITOR_NOTHING;
	}
	if (json_get(message, "return")) {
		monitor->state = LISTENS;
		return MONITOR_READY;
	}
	/* Events may overtake the return, but this early they are not for us. */
	return json_get(message, "event") ? MONITOR_NOTHING : broken(monitor);
}

static bool next_line(struct hv_monitor *monitor, const char **ret_line, size_t *ret_len)
{
	const char *start = monitor->in.data + monitor->used;
	const char *end = memchr(start, '\n', monitor->in.len - monitor->used);
	if (!end)
		return false;
	*ret_line = start;
	*ret_len = (size_t)(end - start);
	monitor->used += *ret_len + 1;
	return true;
}

enum monitor_event qmp_monitor_feed(struct hv_monitor *monitor, int fd, const char *data,
				    size_t len)
{
	if (monitor->state == IS_BROKEN)
		return len ? MONITOR_BROKEN : MONITOR_NOTHING;
	buf_add_bytes(&monitor->in, data, len);
	const char *line;
	size_t line_len;
	while (next_line(monitor, &line, &line_len)) {
		struct error err;
		auto_json cJSON *message =
			line_len > LINE_MAX_BYTES ? NULL : json_parse(line, line_len, &err);
		if (!message)
			return broken(monitor);
		enum monitor_event event = handle(monitor, fd, message);
		if (event != MONITOR_NOTHING)
			return event;
	}
	buf_drop(&monitor->in, monitor->used);
	monitor->used = 0;
	return monitor->in.len > LINE_MAX_BYTES ? broken(monitor) : MONITOR_NOTHING;
}
