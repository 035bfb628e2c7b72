/* Theory of operation: the guest may say anything. Before its greeting with our nonce all is passed
 * over, up to FLOOD_MAX; then come frames of bounded length, and what it writes is written here
 * before more is read. Of what is read here no more than WAITING_MAX waits for the guest, so either
 * end slows the other down and neither keeps anything.
 *
 * Signals come in while we wait and at no other time; the one that ends us is remembered, and the
 * caller's hanging up ends the command. */
#include "cli/agent_exec.h"
#include "base/cleanup.h"
#include "base/exec_frames.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/loop.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#define FLOOD_MAX   (1u << 20)
#define WAITING_MAX (64u << 10)
#define ALSO_MS	    500

struct call {
	const struct agent_exec *exec;
	int in, also;
	uint64_t greeting_end;
	struct buf from, to; /* the guest */
	unsigned char nonce[EXEC_NONCE_LEN];
	bool greeted, finished;
	size_t passed_over;
	sigset_t waiting; /* the mask while we wait */
	int status;
};

static volatile sig_atomic_t ended_by;

static void on_end(int signal)
{
	ended_by = signal;
}

/* --- to the guest --- */

static int add_start(struct call *call, struct error *err)
{
	auto_json cJSON *json = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(json, "argv");
	for (const char *const *word = call->exec->argv; *word; word++)
		cJSON_AddItemToArray(list, cJSON_CreateString(*word));
	auto_free char *text = json_print(json);
	if (strlen(text) > EXEC_PAYLOAD_MAX)
		return error_set(err, ERROR_INVALID,
				 "the command is longer than the %u bytes that the agent takes",
				 EXEC_PAYLOAD_MAX);
	buf_add_bytes(&call->to, EXEC_MAGIC, EXEC_MAGIC_LEN);
	buf_add_bytes(&call->to, call->nonce, EXEC_NONCE_LEN);
	exec_frame_add(&call->to, EXEC_START, text, strlen(text));
	if (call->in < 0)
		exec_frame_add(&call->to, EXEC_INPUT, "", 0);
	return 0;
}

static void read_input(struct call *call)
{
	char chunk[EXEC_PAYLOAD_MAX];
	ssize_t got = read(call->in, chunk, sizeof(chunk));
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	exec_frame_add(&call->to, EXEC_INPUT, chunk, got > 0 ? (size_t)got : 0);
	if (got <= 0)
		call->in = -1;
}

static void send_some(struct call *call)
{
	ssize_t put =
		send(call->exec->fd, call->to.data, call->to.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put > 0)
		buf_drop(&call->to, (size_t)put);
}

/* --- from the guest --- */

/* A pipe that can be written to takes PIPE_BUF bytes at once, so the write does not wait. False:
 * nobody will read more, or we are to end. */
static bool write_out(struct call *call, int fd, const char *data, size_t len)
{
	while (len && fd >= 0) {
		struct pollfd look = { .fd = fd, .events = POLLOUT };
		if (ppoll(&look, 1, NULL, &call->waiting) < 0) {
			if (ended_by)
				return false;
			continue;
		}
		ssize_t put = write(fd, data, len < PIPE_BUF ? len : PIPE_BUF);
		if (put < 0 && errno != EAGAIN && errno != EINTR) {
			call->finished = true;
			call->status = 128 + SIGPIPE;
			return false;
		}
		if (put > 0) {
			data += put;
			len -= (size_t)put;
		}
	}
	return true;
}

static int read_exit(struct call *call, const struct exec_frame *frame, struct error *err)
{
	auto_json cJSON *json = json_parse(frame->data, frame->len, err);
	int64_t status = json_int(json, "status", -1), number = json_int(json, "signal", -1);
	call->finished = true;
	if (status >= 0 && status <= 255)
		call->status = (int)status;
	else if (number > 0 && number < 128)
		call->status = 128 + (int)number;
	else
		return error_set(err, ERROR_SYSTEM, "its agent could not start the command");
	return 0;
}

static int take_frames(struct call *call, struct error *err)
{
	struct exec_frame frame;
	unsigned char nonce[EXEC_NONCE_LEN];
	int more = 0;
	while (!call->greeted && exec_find_magic(&call->from, nonce))
		call->greeted = !memcmp(nonce, call->nonce, sizeof(nonce));
	if (!call->greeted)
		return call->passed_over > FLOOD_MAX
			       ? error_set(err, ERROR_SYSTEM,
					   "its agent says too much before its greeting")
			       : 0;
	while (!call->finished && !ended_by && (more = exec_frame_next(&call->from, &frame)) == 1) {
		if (frame.kind == EXEC_EXIT && read_exit(call, &frame, err) < 0)
			return -1;
		if (frame.kind == EXEC_OUTPUT)
			write_out(call, call->exec->out, frame.data, frame.len);
		if (frame.kind == EXEC_ERROR)
			write_out(call, call->exec->err, frame.data, frame.len);
		exec_frame_drop(&call->from, &frame);
	}
	return more < 0 ? error_set(err, ERROR_SYSTEM, "its agent talks nonsense") : 0;
}

static int receive_some(struct call *call, struct error *err)
{
	char chunk[16384];
	ssize_t got = recv(call->exec->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (got > 0) {
		buf_add_bytes(&call->from, chunk, (size_t)got);
		call->passed_over += (size_t)got;
		return take_frames(call, err);
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return error_set(err, ERROR_UNAVAILABLE, "the connection to its agent ended");
}

/* --- the whole --- */

/* One wait; then what can be written and read. */
static int turn(struct call *call, struct error *err)
{
	const struct agent_exec *exec = call->exec;
	uint64_t now = clock_monotonic_ms(), wait = UINT64_MAX;
	bool read_on = call->greeted && call->in >= 0 && call->to.len < WAITING_MAX;
	struct pollfd fds[] = {
		{ .fd = exec->fd, .events = (short)(POLLIN | (call->to.len ? POLLOUT : 0)) },
		{ .fd = read_on ? call->in : -1, .events = POLLIN },
		{ .fd = call->also, .events = POLLIN },
	};
	if (!call->greeted && now >= call->greeting_end)
		return error_set(err, ERROR_TIMEOUT,
				 "its agent did not answer in time: it hangs, or runs another "
				 "command (one at a time)");
	if (!call->greeted)
		wait = call->greeting_end - now;
	if (exec->on_also && call->also < 0 && wait > ALSO_MS)
		wait = ALSO_MS;
	const struct timespec limit = { .tv_sec = (time_t)(wait / 1000),
					.tv_nsec = (long)(wait % 1000) * 1000000 };
	if (ppoll(fds, ARRAY_COUNT(fds), wait == UINT64_MAX ? NULL : &limit, &call->waiting) < 0)
		return errno == EINTR ? 0 : error_sys(err, "cannot wait for its agent");
	if (exec->on_also && (call->also < 0 || fds[2].revents))
		call->also = exec->on_also(exec->arg, call->also);
	if (fds[1].revents)
		read_input(call);
	if (call->to.len)
		send_some(call);
	return receive_some(call, err);
}

static int converse(struct call *call, struct error *err)
{
	if (getrandom(call->nonce, sizeof(call->nonce), 0) != (ssize_t)sizeof(call->nonce))
		return error_sys(err, "cannot make a number up");
	if (add_start(call, err) < 0)
		return -1;
	while (!call->finished && !ended_by)
		if (turn(call, err) < 0)
			return -1;
	if (ended_by)
		call->status = 128 + ended_by;
	return 0;
}

int agent_exec(const struct agent_exec *exec, int *ret_status, struct error *err)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction before[ARRAY_COUNT(signals)];
	struct sigaction action = { .sa_handler = on_end };
	struct call call = { .exec = exec,
			     .in = exec->in,
			     .also = exec->also,
			     .greeting_end = clock_monotonic_ms() + exec->greeting_ms,
			     .from = BUF_INIT,
			     .to = BUF_INIT };
	sigset_t block;
	sigemptyset(&block);
	for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
		sigaddset(&block, signals[i]);
	ended_by = 0;
	sigprocmask(SIG_BLOCK, &block, &call.waiting);
	for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
		sigaction(signals[i], &action, &before[i]);
	int result = converse(&call, err);
	for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
		sigaction(signals[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, &call.waiting, NULL);
	buf_clear(&call.from);
	buf_clear(&call.to);
	if (result == 0)
		*ret_status = call.status;
	return result;
}
