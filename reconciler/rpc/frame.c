/* Theory of operation
 *
 * Bytes are collected until the 4-byte length and the body are whole. A length above RPC_FRAME_MAX
 * ends the connection as soon as its four bytes are there, so a peer can make us hold no more than
 * one frame and one read. rpc_receive() takes one read at a time: a level-triggered loop comes back
 * for more, and nobody is starved by a peer that never stops sending.
 *
 * Descriptors are a barrier in a unix stream: recvmsg() ends before the bytes that carry the next
 * set. Room for the kernel's own maximum is offered, so that none are lost unseen; those above ours
 * are closed. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "rpc/rpc.h"

#include <string.h>
#include <sys/socket.h>

#define HEADER	     4
#define READ_BYTES   65536
#define KERNEL_FDS   253 /* SCM_MAX_FD */
#define BUFFERED_MAX (HEADER + RPC_FRAME_MAX)

static size_t frame_length(const char *header)
{
	const unsigned char *b = (const unsigned char *)header;
	return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
}

int rpc_frames_next(struct rpc_frames *frames, cJSON **ret, struct error *err)
{
	if (frames->in.len < HEADER)
		return 0;
	size_t len = frame_length(frames->in.data);
	if (len > RPC_FRAME_MAX)
		return error_set(err, ERROR_INVALID, "a frame of %zu bytes is too long", len);
	if (frames->in.len - HEADER < len)
		return 0;
	cJSON *message = json_parse(frames->in.data + HEADER, len, err);
	if (!message)
		return -1;
	if (!cJSON_IsObject(message)) {
		cJSON_Delete(message);
		return error_set(err, ERROR_INVALID, "a frame is not a JSON object");
	}
	buf_drop(&frames->in, HEADER + len);
	*ret = message;
	return 1;
}

int rpc_frame_try(struct buf *out, const cJSON *message, struct error *err)
{
	auto_free char *text = json_print(message);
	size_t len = strlen(text);
	if (len > RPC_FRAME_MAX)
		return error_set(err, ERROR_INVALID,
				 "a message of %zu bytes is too long, %u are allowed", len,
				 RPC_FRAME_MAX);
	const unsigned char header[HEADER] = { (unsigned char)(len >> 24),
					       (unsigned char)(len >> 16),
					       (unsigned char)(len >> 8), (unsigned char)len };
	buf_add_bytes(out, header, HEADER);
	buf_add_bytes(out, text, len);
	return 0;
}

void rpc_frame_add(struct buf *out, const cJSON *message)
{
	struct error err;
	if (rpc_frame_try(out, message, &err) < 0)
		BUG("%s", err.text);
}

static cJSON *reply_new(int64_t id)
{
	cJSON *reply = cJSON_CreateObject();
	json_add_int(reply, "id", id);
	return reply;
}

void rpc_reply_error(struct buf *out, int64_t id, const struct error *failure)
{
	auto_json cJSON *reply = reply_new(id);
	cJSON *body = cJSON_AddObjectToObject(reply, "error");
	json_add_str(body, "code", error_code_name(failure->code));
	json_add_str(body, "text", failure->text);
	rpc_frame_add(out, reply);
}

void rpc_reply(struct buf *out, int64_t id, cJSON *result)
{
	struct error err;
	auto_json cJSON *reply = reply_new(id);
	cJSON_AddItemToObject(reply, "result", result ? result : cJSON_CreateObject());
	if (rpc_frame_try(out, reply, &err) == 0)
		return;
	error_wrap(&err, "cannot answer");
	rpc_reply_error(out, id, &err);
}

static void take_fds(struct msghdr *message, int *fds, size_t *fd_count)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*fd_count < RPC_FDS_MAX)
				fds[(*fd_count)++] = fd;
			else
				close(fd);
		}
	}
}

int rpc_receive(int socket, struct rpc_frames *frames, int *fds, size_t *fd_count,
		struct error *err)
{
	/* A whole frame waits, or a broken length: rpc_frames_next() is due, not more bytes. */
	if (frames->in.len >= BUFFERED_MAX)
		return 0;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(KERNEL_FDS * sizeof(int))];
	struct iovec bytes = { .iov_base = buf_grow(&frames->in, READ_BYTES),
			       .iov_len = READ_BYTES };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	ssize_t got;
	do
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got < 0)
		return error_sys(err, "cannot read from the other end");
	buf_grown(&frames->in, (size_t)got);
	take_fds(&message, fds, fd_count);
	if (message.msg_flags & MSG_CTRUNC)
		return error_set(err, ERROR_SYSTEM, "descriptors were lost: too many are open");
	return got == 0;
}
