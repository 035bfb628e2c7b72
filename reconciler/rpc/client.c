/* Theory of operation
 *
 * One call at a time: the request is written (its descriptors go with the first byte), then replies
 * are read until the one with its id. An earlier call may have given up on its deadline; its late
 * reply carries a lower id and is skipped. An id that was never sent, or a request that went out
 * only in part, leaves no way to go on: the client is broken and every later call says so.
 *
 * All waiting is poll() with the time that is left; the socket may be blocking or not. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "rpc/rpc.h"
#include "sys/loop.h"

#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

struct rpc_client {
	int socket;
	int64_t last_id;
	bool broken;
	struct rpc_frames frames;
};

struct rpc_client *rpc_client_new(int socket)
{
	struct rpc_client *client = xcalloc(1, sizeof(*client));
	client->socket = socket;
	client->frames.in = BUF_INIT;
	return client;
}

void rpc_client_free(struct rpc_client *client)
{
	if (!client)
		return;
	cleanup_close(&client->socket);
	buf_clear(&client->frames.in);
	free(client);
}

static int unavailable(struct rpc_client *client, struct error *err)
{
	client->broken = true;
	err->code = ERROR_UNAVAILABLE;
	return -1;
}

/* deadline 0: none. */
static int wait_for(int socket, short events, uint64_t deadline, struct error *err)
{
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		int wait = -1;
		if (deadline)
			wait = deadline <= now		  ? 0
			       : deadline - now > INT_MAX ? INT_MAX
							  : (int)(deadline - now);
		struct pollfd poll_fd = { .fd = socket, .events = events };
		int got = poll(&poll_fd, 1, wait);
		if (got > 0)
			return 0;
		if (got == 0 && deadline && clock_monotonic_ms() >= deadline)
			return error_set(err, ERROR_TIMEOUT, "no answer in time");
		if (got < 0 && errno != EINTR)
			return error_sys(err, "cannot wait for the other end");
	}
}

static ssize_t send_some(int socket, const char *data, size_t len, const int *fds, size_t fd_count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(RPC_FDS_MAX * sizeof(int))] = { 0 };
	/* sendmsg() only reads what the iovec points to. */
	struct iovec bytes = { .iov_len = len };
	memcpy(&bytes.iov_base, &data, sizeof(data));
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
	if (fd_count) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		if (!c)
			BUG("no room for descriptors");
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int send_request(struct rpc_client *client, const struct buf *request, const int *fds,
			size_t fd_count, uint64_t deadline, struct error *err)
{
	size_t sent = 0;
	while (sent < request->len) {
		ssize_t put = send_some(client->socket, request->data + sent, request->len - sent,
					fds, sent ? 0 : fd_count);
		if (put >= 0) {
			sent += (size_t)put;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			error_sys(err, "cannot send the request");
			return unavailable(client, err);
		}
		if (wait_for(client->socket, POLLOUT, deadline, err) < 0) {
			client->broken = sent > 0 || client->broken;
			return -1;
		}
	}
	return 0;
}

/* The daemon sends no descriptors; should it, they do not stay. */
static int receive_some(struct rpc_client *client, struct error *err)
{
	int fds[RPC_FDS_MAX];
	size_t fd_count = 0;
	int got = rpc_receive(client->socket, &client->frames, fds, &fd_count, err);
	while (fd_count)
		close(fds[--fd_count]);
	if (got == 0)
		return 0;
	if (got > 0)
		error_set(err, ERROR_UNAVAILABLE, "the daemon closed the connection");
	return unavailable(client, err);
}

static int next_reply(struct rpc_client *client, uint64_t deadline, cJSON **ret, struct error *err)
{
	for (;;) {
		int got = rpc_frames_next(&client->frames, ret, err);
		if (got > 0)
			return 0;
		if (got < 0)
			return unavailable(client, err);
		if (wait_for(client->socket, POLLIN, deadline, err) < 0 ||
		    receive_some(client, err) < 0)
			return -1;
	}
}

static int take_result(struct rpc_client *client, cJSON *reply, cJSON **ret, struct error *err)
{
	const cJSON *failure = json_get(reply, "error");
	if (cJSON_IsObject(failure)) {
		enum error_code code = error_code_parse(json_str(failure, "code", NULL));
		return error_set(err, code == ERROR_NONE ? ERROR_SYSTEM : code, "%s",
				 json_str(failure, "text", "the daemon gave no reason"));
	}
	cJSON *result = cJSON_DetachItemFromObjectCaseSensitive(reply, "result");
	if (!cJSON_IsObject(result)) {
		cJSON_Delete(result);
		error_set(err, ERROR_SYSTEM, "the daemon's reply has no result");
		return unavailable(client, err);
	}
	*ret = result;
	return 0;
}

int rpc_call(struct rpc_client *client, const char *method, const cJSON *params, const int *fds,
	     size_t fd_count, uint64_t timeout_ms, cJSON **ret, struct error *err)
{
	if (fd_count > RPC_FDS_MAX)
		BUG("%zu descriptors in one call", fd_count);
	if (client->broken)
		return error_set(err, ERROR_UNAVAILABLE, "the connection to the daemon is broken");
	auto_json cJSON *request = cJSON_CreateObject();
	json_add_int(request, "id", client->last_id + 1);
	json_add_str(request, "method", method);
	if (params)
		cJSON_AddItemToObject(request, "params", cJSON_Duplicate(params, true));
	auto_buf struct buf bytes = BUF_INIT;
	if (rpc_frame_try(&bytes, request, err) < 0)
		return -1;
	int64_t id = ++client->last_id;
	uint64_t deadline = timeout_ms ? clock_monotonic_ms() + timeout_ms : 0;
	if (send_request(client, &bytes, fds, fd_count, deadline, err) < 0)
		return -1;
	for (;;) {
		cJSON *message = NULL;
		if (next_reply(client, deadline, &message, err) < 0)
			return -1;
		auto_json cJSON *reply = message;
		int64_t got = json_int(reply, "id", -1);
		if (got == id)
			return take_result(client, reply, ret, err);
		if (got < 1 || got > id) {
			error_set(err, ERROR_SYSTEM,
				  "the daemon answered a call that was not made");
			return unavailable(client, err);
		}
	}
}
