/* Theory of operation
 *
 * QEMU serves one client of the port at a time: while the loop's connection is open, ours waits in
 * the backlog without an answer, and just after it was closed QEMU may still refuse or drop us.
 * So connecting and hello are tried again for RETRY_MS; the request itself is sent once, after
 * hello was answered, and never repeated: `poweroff` twice would hit the next boot. */
#include "guest/agent_lines.h"
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define HELLO_ID       1
#define REQUEST_ID     2
#define RETRY_MS       2000
#define RETRY_PAUSE_MS 20
#define LINES_MAX      1000 /* ignored ones; more is a flood */

struct call {
	int fd;
	uint64_t deadline;
	unsigned count;
	struct agent_lines lines;
};

static uint64_t left_ms(uint64_t deadline)
{
	uint64_t now = clock_monotonic_ms();
	return deadline > now ? deadline - now : 0;
}

/* 0 when fd is ready, -1 with ERROR_TIMEOUT. */
static int wait_for(const struct call *call, short events, struct error *err)
{
	for (;;) {
		struct pollfd p = { .fd = call->fd, .events = events };
		uint64_t left = left_ms(call->deadline);
		int count = left ? poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left) : 0;
		if (count > 0)
			return 0;
		if (count == 0)
			return error_set(err, ERROR_TIMEOUT, "the agent did not answer in time");
		if (errno != EINTR)
			return error_sys(err, "cannot wait for the agent");
	}
}

static int send_all(const struct call *call, const char *text, size_t len, struct error *err)
{
	while (len) {
		if (wait_for(call, POLLOUT, err) < 0)
			return -1;
		ssize_t put = send(call->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (put < 0) {
			error_sys(err, "cannot write to the agent");
			err->code = ERROR_UNAVAILABLE;
			return -1;
		}
		text += put;
		len -= (size_t)put;
	}
	return 0;
}

static int read_more(struct call *call, struct error *err)
{
	char data[16384];
	for (;;) {
		if (wait_for(call, POLLIN, err) < 0)
			return -1;
		ssize_t got = recv(call->fd, data, sizeof(data), MSG_DONTWAIT);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return error_set(err, ERROR_UNAVAILABLE,
					 "the agent's connection was closed");
		if (!agent_lines_push(&call->lines, data, (size_t)got))
			return error_set(err, ERROR_SYSTEM, "the agent says too much");
		return 0;
	}
}

/* The reply to id, other lines passed over; *ret (may be NULL) the result. A bad line is passed
 * over only as the very first: the tail of something that was said to an earlier connection. */
static int read_reply(struct call *call, int64_t id, cJSON **ret, struct error *err)
{
	for (;;) {
		char *line = NULL;
		size_t len = 0;
		int more = agent_lines_next(&call->lines, &line, &len);
		if (more == 0 && read_more(call, err) < 0)
			return -1;
		if (more == 0 || (more > 0 && !len && ++call->count <= LINES_MAX))
			continue;
		if (more < 0 || ++call->count > LINES_MAX)
			return error_set(err, ERROR_SYSTEM, "the agent says too much");
		struct error ignored;
		auto_json cJSON *message = json_parse(line, len, &ignored);
		if (!cJSON_IsObject(message) && call->count > 1)
			return error_set(err, ERROR_SYSTEM, "the agent talks nonsense");
		if (json_int(message, "id", -1) != id || json_str(message, "event", NULL))
			continue;
		if (json_get(message, "error"))
			return agent_error_read(json_get(message, "error"), err);
		if (ret)
			*ret = cJSON_DetachItemFromObjectCaseSensitive(message, "result");
		return 0;
	}
}

static int greet(int vm_dirfd, struct call *call, struct error *err)
{
	call->fd = guest_connect(vm_dirfd, GUEST_AGENT, left_ms(call->deadline), 0, err);
	if (call->fd < 0)
		return -1;
	call->count = 0;
	call->lines.at = 0;
	buf_reset(&call->lines.in);
	if (send_all(call, AGENT_HELLO, strlen(AGENT_HELLO), err) < 0)
		return -1;
	return read_reply(call, HELLO_ID, NULL, err);
}

static bool is_passing(const struct error *err)
{
	return err->code == ERROR_UNAVAILABLE || err->sys == ECONNREFUSED || err->sys == EAGAIN ||
	       err->sys == ECONNRESET;
}

static int greet_patiently(int vm_dirfd, struct call *call, struct error *err)
{
	uint64_t retry_until = clock_monotonic_ms() + RETRY_MS;
	for (;;) {
		if (greet(vm_dirfd, call, err) == 0)
			return 0;
		if (!is_passing(err) || !left_ms(retry_until) ||
		    left_ms(call->deadline) <= RETRY_PAUSE_MS)
			return -1;
		if (call->fd >= 0)
			close(take_fd(&call->fd));
		nanosleep(&(struct timespec){ .tv_nsec = RETRY_PAUSE_MS * 1000000L }, NULL);
	}
}

static int ask(struct call *call, const char *method, const cJSON *params, cJSON **ret,
	       struct error *err)
{
	auto_buf struct buf line = BUF_INIT;
	if (agent_request_add(&line, REQUEST_ID, method, params, err) < 0 ||
	    send_all(call, line.data, line.len, err) < 0)
		return -1;
	return read_reply(call, REQUEST_ID, ret, err);
}

int agent_call(int vm_dirfd, const char *method, const cJSON *params, uint64_t timeout_ms,
	       cJSON **ret, struct error *err)
{
	struct call call = {
		.fd = -1,
		.deadline = clock_monotonic_ms() + timeout_ms,
		.lines = { .in = BUF_INIT },
	};
	int result = greet_patiently(vm_dirfd, &call, err);
	if (result == 0)
		result = ask(&call, method, params, ret, err);
	if (call.fd >= 0)
		close(call.fd);
	agent_lines_clear(&call.lines);
	return result < 0 ? error_wrap(err, "agent '%s'", method) : 0;
}
