#include "driver/qmp.h"
#include "driver/vm_user.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define LINE_MAX_BYTES	    (1u << 20) /* the human monitor lists every connection in one line */
#define FIRST_PAUSE_MS	    2
#define BEFORE_GREETING_MAX 16
#define LONGEST_PAUSE_MS    40

static int process_ended(struct error *err)
{
	return error_set(err, ERROR_CANCELLED, "the process ended");
}

static uint64_t left_ms(const struct qmp *qmp)
{
	uint64_t now = clock_monotonic_ms();
	return qmp->deadline_ms > now ? qmp->deadline_ms - now : 0;
}

/* Sleeps, unless the process ends first. */
static int pause_for(const struct qmp *qmp, uint64_t ms, struct error *err)
{
	if (qmp->pidfd >= 0)
		return proc_wait_gone(qmp->pidfd, ms) == 0 ? process_ended(err) : 0;
	struct timespec pause = { .tv_sec = (time_t)(ms / 1000),
				  .tv_nsec = (long)(ms % 1000 * 1000000) };
	nanosleep(&pause, NULL);
	return 0;
}

static int connect_monitor(struct qmp *qmp, int dirfd, const char *name, struct error *err)
{
	for (uint64_t pause = FIRST_PAUSE_MS;; pause = pause * 2) {
		uint64_t left = left_ms(qmp);
		qmp->fd = vm_connect(dirfd, name, left ? left : 1, 0, err);
		if (qmp->fd >= 0)
			return 0;
		if (qmp->pidfd < 0 || (err->sys != ENOENT && err->sys != ECONNREFUSED))
			return error_wrap(err, "the monitor does not answer");
		if (!left)
			return error_set(err, ERROR_TIMEOUT, "the monitor did not appear");
		pause = pause < LONGEST_PAUSE_MS ? pause : LONGEST_PAUSE_MS;
		if (pause_for(qmp, pause < left ? pause : left, err) < 0)
			return -1;
	}
}

static int wait_readable(const struct qmp *qmp, struct error *err)
{
	struct pollfd fds[2] = { { .fd = qmp->fd, .events = POLLIN },
				 { .fd = qmp->pidfd, .events = POLLIN } };
	for (;;) {
		int got = poll(fds, 2, (int)left_ms(qmp));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_sys(err, "cannot wait for the monitor");
		if (got == 0)
			return error_set(err, ERROR_TIMEOUT, "the monitor did not answer in time");
		/* What it said last is read before its end is reported. */
		if (fds[0].revents)
			return 0;
		return process_ended(err);
	}
}

/* One line, the newline dropped, from the front of qmp->in; the caller drops it after use. */
static int read_line(struct qmp *qmp, size_t *ret_len, struct error *err)
{
	size_t searched = 0;
	for (;;) {
		char *end = memchr(qmp->in.data + searched, '\n', qmp->in.len - searched);
		if (end) {
			*ret_len = (size_t)(end - qmp->in.data);
			return 0;
		}
		searched = qmp->in.len;
		if (searched >= LINE_MAX_BYTES)
			return error_set(err, ERROR_SYSTEM, "the monitor's answer is too long");
		if (wait_readable(qmp, err) < 0)
			return -1;
		ssize_t got = recv(qmp->fd, buf_grow(&qmp->in, 4096), 4096, MSG_DONTWAIT);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0 && errno != ECONNRESET)
			return error_sys(err, "cannot read from the monitor");
		if (got <= 0)
			return process_ended(err);
		buf_grown(&qmp->in, (size_t)got);
	}
}

static cJSON *read_message(struct qmp *qmp, struct error *err)
{
	size_t len = 0;
	if (read_line(qmp, &len, err) < 0)
		return NULL;
	cJSON *message = json_parse(qmp->in.data, len, err);
	buf_drop(&qmp->in, len + 1);
	if (!message) {
		error_wrap(err, "the monitor speaks no JSON");
		err->code = ERROR_SYSTEM; /* nobody typed it */
	}
	return message;
}

/* An event, or an answer to the client before us, may stand in line before the greeting. */
static int read_greeting(struct qmp *qmp, struct error *err)
{
	for (int i = 0; i < BEFORE_GREETING_MAX; i++) {
		auto_json cJSON *message = read_message(qmp, err);
		if (!message)
			return -1;
		if (json_get(message, "QMP"))
			return 0;
		if (!json_get(message, "event") && !json_get(message, "id"))
			break;
	}
	return error_set(err, ERROR_SYSTEM, "the monitor's greeting is not QEMU's");
}

int qmp_open_at(int dirfd, const char *name, int pidfd, uint64_t timeout_ms, struct qmp *ret,
		struct error *err)
{
	auto_qmp struct qmp qmp = QMP_INIT;
	qmp.pidfd = pidfd;
	qmp.deadline_ms = clock_monotonic_ms() + timeout_ms;
	if (connect_monitor(&qmp, dirfd, name, err) < 0)
		return -1;
	if (read_greeting(&qmp, err) < 0)
		return -1;
	/* The handshake of a client that has just left may have been taken for ours. */
	if (qmp_command(&qmp, "qmp_capabilities", NULL, NULL, err) < 0 &&
	    !strstr(err->text, "already complete"))
		return -1;
	*ret = qmp;
	qmp = QMP_INIT;
	return 0;
}

int qmp_open(int vm_dirfd, int pidfd, uint64_t timeout_ms, struct qmp *ret, struct error *err)
{
	return qmp_open_at(vm_dirfd, VM_FILE_MONITOR, pidfd, timeout_ms, ret, err);
}

void qmp_close(struct qmp *qmp)
{
	cleanup_close(&qmp->fd);
	buf_clear(&qmp->in);
	*qmp = QMP_INIT;
}

static int send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t put = send(fd, data, len, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		data += put;
		len -= (size_t)put;
	}
	return 0;
}

static int send_command(struct qmp *qmp, const char *command, cJSON *arguments, struct error *err)
{
	static _Atomic unsigned last_id;
	auto_json cJSON *request = cJSON_CreateObject();
	json_add_str(request, "execute", command);
	snprintf(qmp->id, sizeof(qmp->id), "%d-%u", (int)getpid(), ++last_id);
	json_add_str(request, "id", qmp->id);
	if (arguments)
		cJSON_AddItemToObject(request, "arguments", arguments);
	auto_free char *line = json_print(request);
	size_t len = strlen(line);
	line[len] = '\n'; /* in place of the NUL */
	if (send_all(qmp->fd, line, len + 1) == 0)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET)
		return process_ended(err);
	return error_sys(err, "cannot send '%s' to the monitor", command);
}

int qmp_command(struct qmp *qmp, const char *command, cJSON *arguments, cJSON **ret,
		struct error *err)
{
	if (send_command(qmp, command, arguments, err) < 0)
		return -1;
	for (;;) {
		auto_json cJSON *message = read_message(qmp, err);
		if (!message)
			return error_wrap(err, "'%s'", command);
		if (strcmp(json_str(message, "id", qmp->id), qmp->id) != 0)
			continue; /* meant for the client before us */
		const cJSON *fault = json_get(message, "error");
		if (fault)
			return error_set(err, ERROR_SYSTEM, "'%s': %s", command,
					 json_str(fault, "desc", "refused"));
		if (!json_get(message, "return"))
			continue; /* an event */
		if (ret)
			*ret = cJSON_DetachItemFromObjectCaseSensitive(message, "return");
		return 0;
	}
}

int qmp_human(struct qmp *qmp, const char *line, struct buf *ret, struct error *err)
{
	cJSON *arguments = cJSON_CreateObject();
	json_add_str(arguments, "command-line", line);
	auto_json cJSON *answer = NULL;
	if (qmp_command(qmp, "human-monitor-command", arguments, &answer, err) < 0)
		return -1;
	if (!answer || !cJSON_IsString(answer))
		return error_set(err, ERROR_SYSTEM, "'%s': the answer is no text", line);
	buf_add(ret, answer->valuestring);
	return 0;
}
