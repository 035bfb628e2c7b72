/* driver/qmp.h - QEMU's monitor: a blocking client for workers, a parser of events for the loop.
 *
 * The monitor serves one client at a time: a second one connects, but is greeted only when the
 * first has left. Every line is bounded; nothing QEMU says is trusted more than the guest inside
 * it. */
#ifndef DRIVER_QMP_H
#define DRIVER_QMP_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "driver/driver.h"

#include <stdint.h>

/* Each command has an id, and replies to others' are skipped: QEMU may still answer what the last
 * client asked just before it hung up. */
#define QMP_MONITOR_ID "monitor" /* the loop's commands */

/* --- the blocking client --- */
struct qmp {
	int fd;
	int pidfd;	      /* borrowed; -1: none. Its end ends every wait. */
	uint64_t deadline_ms; /* on clock_monotonic_ms(), for everything that is asked */
	struct buf in;
	char id[24]; /* of the last command */
};
#define QMP_INIT                                                                                   \
	(struct qmp)                                                                               \
	{                                                                                          \
		.fd = -1, .pidfd = -1, .in = BUF_INIT                                              \
	}

/* Connects, waits for the greeting and shakes hands. With a pidfd a missing socket is waited for
 * (the process is starting), without one it is an error with err->sys ENOENT or ECONNREFUSED.
 * ERROR_TIMEOUT: no greeting; another client has the monitor, or QEMU hangs.
 * ERROR_CANCELLED: the process of pidfd ended. */
int qmp_open(int vm_dirfd, int pidfd, uint64_t timeout_ms, struct qmp *ret, struct error *err);
/* The same for a monitor of any name. */
int qmp_open_at(int dirfd, const char *name, int pidfd, uint64_t timeout_ms, struct qmp *ret,
		struct error *err);
void qmp_close(struct qmp *qmp);
#define auto_qmp __attribute__((cleanup(qmp_close)))

/* One command; arguments is taken and may be NULL. *ret (may be NULL): its "return", caller's. */
int qmp_command(struct qmp *qmp, const char *command, cJSON *arguments, cJSON **ret,
		struct error *err);
/* A line of the human monitor; what it printed is appended to ret. */
int qmp_human(struct qmp *qmp, const char *line, struct buf *ret, struct error *err);

/* Of query-memory-devices: what is plugged, and what was asked for; 0 without such a device. */
void qmp_memory_devices(const cJSON *devices, uint64_t *ret_now, uint64_t *ret_asked);

/* --- the loop's parser: hv_driver.monitor_* --- */
int qmp_monitor_open(int vm_dirfd, struct error *err);
struct hv_monitor *qmp_monitor_new(void);
enum monitor_event qmp_monitor_feed(struct hv_monitor *monitor, int fd, const char *data,
				    size_t len);
bool qmp_monitor_stop(struct hv_monitor *monitor, int fd);
uint64_t qmp_monitor_plugged(const struct hv_monitor *monitor);
void qmp_monitor_free(struct hv_monitor *monitor);

#endif
