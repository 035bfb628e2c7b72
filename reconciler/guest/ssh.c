/* Theory of operation
 *
 * One session for one command. The socket is ours (CLOEXEC, connected with a deadline) and handed
 * to libssh. Nothing of the user's is read: no configuration, no known_hosts, no agent; the server
 * has to show the very key that banger made for this VM, before anything of ours is offered. libssh
 * bounds each of its waits by the session's timeout, which is set to what is left before every
 * step. The process ignores SIGPIPE (the daemon's duty, like ssh_init). */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define OUTPUT_MAX   65536
#define KEY_FILE_MAX 16384
#define POLL_MS	     50

struct ssh_call {
	const struct ssh_target *target;
	uint64_t deadline;
	ssh_session session;
	ssh_channel channel;
};

static void cleanup_key(ssh_key *key)
{
	ssh_key_free(*key);
}
#define auto_key __attribute__((cleanup(cleanup_key)))

static uint64_t left_ms(uint64_t deadline)
{
	uint64_t now = clock_monotonic_ms();
	return deadline > now ? deadline - now : 0;
}

/* The same for poll(). */
static int left_poll(uint64_t deadline, int at_most)
{
	uint64_t left = left_ms(deadline);
	return left < (uint64_t)at_most ? (int)left : at_most;
}

static int timed_out(struct error *err)
{
	return error_set(err, ERROR_TIMEOUT, "the guest's SSH did not answer in time");
}

/* Gives libssh what is left of the time; -1 when nothing is. */
static int arm(const struct ssh_call *call, struct error *err)
{
	uint64_t left = left_ms(call->deadline);
	if (!left)
		return timed_out(err);
	long seconds = (long)(left / 1000), micros = (long)(left % 1000) * 1000;
	ssh_options_set(call->session, SSH_OPTIONS_TIMEOUT, &seconds);
	ssh_options_set(call->session, SSH_OPTIONS_TIMEOUT_USEC, &micros);
	return 0;
}

static int libssh_failed(const struct ssh_call *call, const char *what, struct error *err)
{
	if (!left_ms(call->deadline))
		return timed_out(err);
	return error_set(err, ERROR_UNAVAILABLE, "%s: %s", what, ssh_get_error(call->session));
}

static int connect_tcp(const struct ssh_target *target, uint64_t deadline, struct error *err)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(target->port) };
	if (inet_pton(AF_INET, target->address, &to.sin_addr) != 1)
		return error_set(err, ERROR_INVALID, "'%s' is not an address", target->address);
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_sys(err, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return take_fd(&fd);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int cause = errno, count = 0;
	if (cause == EINPROGRESS) {
		do
			count = poll(&p, 1, left_poll(deadline, INT32_MAX));
		while (count < 0 && errno == EINTR);
		if (count == 0)
			return timed_out(err);
		socklen_t size = sizeof(cause);
		if (count < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &size) < 0)
			cause = errno;
	}
	if (!cause)
		return take_fd(&fd);
	errno = cause;
	error_sys(err, "cannot connect");
	err->code = ERROR_UNAVAILABLE;
	return -1;
}

static int set_options(const struct ssh_call *call, int fd, struct error *err)
{
	ssh_session s = call->session;
	static const bool no = false;
	static const int nodelay = 1;
	unsigned port = call->target->port;
	/* libssh opens its known_hosts only to prefer the key types it knows there. */
	if (ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no) < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_HOST, call->target->address) < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_PORT, &port) < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_USER, "root") < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_SSH_DIR, "/nonexistent") < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_HOSTKEYS, "ssh-ed25519") < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_NODELAY, &nodelay) < 0 ||
	    ssh_options_set(s, SSH_OPTIONS_FD, &fd) < 0)
		return error_set(err, ERROR_SYSTEM, "cannot set libssh's options: %s",
				 ssh_get_error(s));
	return 0;
}

static int check_host_key(const struct ssh_call *call, struct error *err)
{
	auto_buf struct buf line = BUF_INIT;
	if (fs_read(call->target->vm_dirfd, GUEST_FILE_HOST_KEY_PUB, KEY_FILE_MAX, &line, err) < 0)
		return -1;
	char *rest = NULL, *type = strtok_r(line.data, " \n", &rest);
	const char *blob = type ? strtok_r(NULL, " \n", &rest) : NULL;
	auto_key ssh_key pinned = NULL;
	auto_key ssh_key shown = NULL;
	if (!blob ||
	    ssh_pki_import_pubkey_base64(blob, ssh_key_type_from_name(type), &pinned) != SSH_OK)
		return error_set(err, ERROR_INVALID, "'%s' is not a public key",
				 GUEST_FILE_HOST_KEY_PUB);
	if (ssh_get_server_publickey(call->session, &shown) != SSH_OK)
		return libssh_failed(call, "cannot see the guest's host key", err);
	if (ssh_key_cmp(shown, pinned, SSH_KEY_CMP_PUBLIC) != 0)
		return error_set(err, ERROR_CONFLICT,
				 "the guest shows another host key than the one banger gave it; "
				 "nothing was sent");
	return 0;
}

static int log_in(const struct ssh_call *call, struct error *err)
{
	auto_key ssh_key identity = NULL;
	const char *path = call->target->identity;
	if (ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &identity) != SSH_OK)
		return error_set(err, ERROR_SYSTEM, "cannot read the private key '%s'", path);
	if (arm(call, err) < 0)
		return -1;
	int result = ssh_userauth_publickey(call->session, NULL, identity);
	if (result == SSH_AUTH_DENIED || result == SSH_AUTH_PARTIAL)
		return error_set(err, ERROR_CONFLICT, "the guest refuses banger's key");
	return result == SSH_AUTH_SUCCESS ? 0 : libssh_failed(call, "cannot log in", err);
}

static int open_session(struct ssh_call *call, struct error *err)
{
	auto_close int fd = connect_tcp(call->target, call->deadline, err);
	if (fd < 0)
		return -1;
	call->session = ssh_new();
	if (!call->session)
		BUG("out of memory");
	if (set_options(call, fd, err) < 0 || arm(call, err) < 0)
		return -1;
	take_fd(&fd); /* closed by the session from here on */
	if (ssh_connect(call->session) != SSH_OK)
		return libssh_failed(call, "no SSH", err);
	if (check_host_key(call, err) < 0)
		return -1;
	return log_in(call, err);
}

static int start_command(struct ssh_call *call, const char *command, struct error *err)
{
	call->channel = ssh_channel_new(call->session);
	if (!call->channel)
		return libssh_failed(call, "no channel", err);
	if (arm(call, err) < 0)
		return -1;
	if (ssh_channel_open_session(call->channel) != SSH_OK)
		return libssh_failed(call, "no channel", err);
	if (arm(call, err) < 0)
		return -1;
	if (ssh_channel_request_exec(call->channel, command) != SSH_OK)
		return libssh_failed(call, "the guest does not run the command", err);
	return 0;
}

/* What is there now, of both streams; the count, or -1 when the channel is broken. Output beyond
 * the bound is read and dropped, else the command could not end. */
static int drain(const struct ssh_call *call, struct buf *out)
{
	char data[8192];
	int total = 0;
	for (int is_stderr = 0; is_stderr < 2; is_stderr++) {
		int got =
			ssh_channel_read_nonblocking(call->channel, data, sizeof(data), is_stderr);
		if (got == SSH_ERROR)
			return -1;
		if (got <= 0)
			continue;
		total += got;
		size_t room = out ? OUTPUT_MAX - out->len : 0;
		if (room)
			buf_add_bytes(out, data, (size_t)got < room ? (size_t)got : room);
	}
	return total;
}

static int read_to_end(const struct ssh_call *call, int *ret_status, struct buf *out,
		       struct error *err)
{
	/* Asking for the exit status waits for it, unless the session never waits. */
	ssh_set_blocking(call->session, 0);
	for (;;) {
		int got = drain(call, out);
		if (got > 0)
			continue;
		int status = ssh_channel_get_exit_status(call->channel);
		bool ended =
			ssh_channel_is_eof(call->channel) || ssh_channel_is_closed(call->channel);
		if (ended && status >= 0) {
			*ret_status = status;
			return 0;
		}
		if (got < 0 || ssh_channel_is_closed(call->channel) ||
		    !ssh_is_connected(call->session))
			return error_set(err, ERROR_UNAVAILABLE,
					 "the command ended without a status");
		if (!left_ms(call->deadline))
			return timed_out(err);
		/* libssh may hold what it has read already, so never for long. */
		struct pollfd p = { .fd = ssh_get_fd(call->session), .events = POLLIN };
		poll(&p, 1, left_poll(call->deadline, POLL_MS));
	}
}

static int run_command(struct ssh_call *call, const char *command, int *ret_status, struct buf *out,
		       struct error *err)
{
	if (open_session(call, err) < 0 || start_command(call, command, err) < 0)
		return -1;
	return read_to_end(call, ret_status, out, err);
}

int ssh_run(const struct ssh_target *target, const char *command, uint64_t timeout_ms,
	    int *ret_status, struct buf *out, struct error *err)
{
	struct ssh_call call = { .target = target, .deadline = clock_monotonic_ms() + timeout_ms };
	auto_buf struct buf collected = BUF_INIT;
	int result = run_command(&call, command, ret_status, &collected, err);
	if (call.channel)
		ssh_channel_free(call.channel);
	/* Not ssh_disconnect(): with a descriptor that was given it forgets to close it, and only
	 * libssh knows whether it has done so already. Freeing the session does, once. */
	if (call.session)
		ssh_free(call.session);
	if (out)
		buf_add_bytes(out, collected.data, collected.len);
	return result < 0 ? error_wrap(err, "ssh %s:%u", target->address, target->port) : 0;
}
