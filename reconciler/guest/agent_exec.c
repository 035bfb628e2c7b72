/* Theory of operation: one command in the guest over the exec channel (agent/PROTOCOL.md). The
 * guest may say anything: before its greeting with our nonce all is passed over, up to FLOOD_MAX;
 * then frames of bounded length; what it writes goes to the caller, who bounds that. Hanging up is
 * what ends a command that takes too long. */
#include "guest/guest.h"
#include "base/exec_frames.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "driver/driver.h"
#include "sys/loop.h"
#include "sys/unix.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define FLOOD_MAX   (1u << 20)
#define GREETING_MS 5000

struct exec_call {
	int fd;
	uint64_t deadline;
	struct buf in, out;
	unsigned char nonce[EXEC_NONCE_LEN];
	bool greeted, finished;
	size_t passed_over;
	const struct guest_exec *exec;
};

static uint64_t left_ms(uint64_t deadline)
{
	uint64_t now = clock_monotonic_ms();
	return deadline > now ? deadline - now : 0;
}

static int add_start(struct exec_call *call, struct error *err)
{
	auto_json cJSON *json = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(json, "argv");
	for (const char *const *word = call->exec->argv; *word; word++)
		cJSON_AddItemToArray(list, cJSON_CreateString(*word));
	auto_free char *text = json_print(json);
	if (strlen(text) > EXEC_PAYLOAD_MAX)
		return error_set(err, ERROR_INVALID, "the command is too long");
	buf_add_bytes(&call->out, EXEC_MAGIC, EXEC_MAGIC_LEN);
	buf_add_bytes(&call->out, call->nonce, EXEC_NONCE_LEN);
	exec_frame_add(&call->out, EXEC_START, text, strlen(text));
	const char *input = call->exec->input;
	for (size_t left = call->exec->input_len; left;) {
		size_t len = left < EXEC_PAYLOAD_MAX ? left : EXEC_PAYLOAD_MAX;
		exec_frame_add(&call->out, EXEC_INPUT, input, len);
		input += len;
		left -= len;
	}
	exec_frame_add(&call->out, EXEC_INPUT, "", 0);
	return 0;
}

static int read_exit(struct exec_call *call, const struct exec_frame *frame, int *ret_status,
		     struct error *err)
{
	auto_json cJSON *json = json_parse(frame->data, frame->len, err);
	int64_t status = json_int(json, "status", -1), number = json_int(json, "signal", -1);
	call->finished = true;
	if (status >= 0 && status <= 255)
		*ret_status = (int)status;
	else if (number > 0 && number < 128)
		*ret_status = 128 + (int)number;
	else
		return error_set(err, ERROR_SYSTEM, "the guest could not start the command");
	return 0;
}

static int take_frames(struct exec_call *call, int *ret_status, struct error *err)
{
	struct exec_frame frame;
	unsigned char nonce[EXEC_NONCE_LEN];
	int more = 0;
	while (!call->greeted && exec_find_magic(&call->in, nonce))
		call->greeted = !memcmp(nonce, call->nonce, sizeof(nonce));
	if (!call->greeted)
		return call->passed_over > FLOOD_MAX
			       ? error_set(err, ERROR_SYSTEM, "the guest says too much")
			       : 0;
	while (!call->finished && (more = exec_frame_next(&call->in, &frame)) == 1) {
		if (frame.kind == EXEC_EXIT && read_exit(call, &frame, ret_status, err) < 0)
			return -1;
		if (frame.kind == EXEC_OUTPUT || frame.kind == EXEC_ERROR)
			call->exec->on_output(call->exec->arg, frame.kind == EXEC_ERROR, frame.data,
					      frame.len);
		exec_frame_drop(&call->in, &frame);
	}
	return more < 0 ? error_set(err, ERROR_SYSTEM, "the guest talks nonsense") : 0;
}

/* One wait; then what can be written and read. */
static int exchange(struct exec_call *call, uint64_t until, struct error *err)
{
	char chunk[16384];
	uint64_t left = left_ms(until);
	struct pollfd look = { .fd = call->fd,
			       .events = (short)(POLLIN | (call->out.len ? POLLOUT : 0)) };
	if (!left || poll(&look, 1, left > INT32_MAX ? INT32_MAX : (int)left) == 0)
		return error_set(err, ERROR_TIMEOUT, "the guest did not %s in time",
				 call->greeted ? "finish the command" : "answer");
	if (call->out.len) {
		ssize_t put =
			send(call->fd, call->out.data, call->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put > 0)
			buf_drop(&call->out, (size_t)put);
	}
	ssize_t got = recv(call->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (got > 0) {
		buf_add_bytes(&call->in, chunk, (size_t)got);
		call->passed_over += (size_t)got;
		return 0;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return error_set(err, ERROR_UNAVAILABLE, "the guest's connection was closed");
}

static int converse(struct exec_call *call, int *ret_status, struct error *err)
{
	uint64_t greeting = clock_monotonic_ms() + GREETING_MS;
	if (getrandom(call->nonce, sizeof(call->nonce), 0) != (ssize_t)sizeof(call->nonce))
		return error_sys(err, "cannot make a number up");
	if (add_start(call, err) < 0)
		return -1;
	while (!call->finished) {
		uint64_t until =
			call->greeted || call->deadline < greeting ? call->deadline : greeting;
		if (exchange(call, until, err) < 0 || take_frames(call, ret_status, err) < 0)
			return -1;
	}
	return 0;
}

int guest_exec(int vm_dirfd, const struct guest_exec *exec, uint64_t timeout_ms, int *ret_status,
	       struct error *err)
{
	struct exec_call call = { .deadline = clock_monotonic_ms() + timeout_ms,
				  .in = BUF_INIT,
				  .out = BUF_INIT,
				  .exec = exec };
	call.fd = unix_connect(vm_dirfd, VM_FILE_EXEC, timeout_ms, 0, err);
	int result = call.fd < 0 ? -1 : converse(&call, ret_status, err);
	if (call.fd >= 0)
		close(call.fd);
	buf_clear(&call.in);
	buf_clear(&call.out);
	return result < 0 ? error_wrap(err, "command in the guest") : 0;
}
