/* The channel's socket belongs to the daemon's user alone, so it is the daemon that connects: it
 * hands the connection over through a socket pair whose other end it is given. From then on it has
 * no part in it; that we hang up is what ends the command. */
#include "cli/agent_session.h"
#include "cli/agent_exec.h"
#include "cli/conn.h"
#include "cli/ssh_session.h"

#include <string.h>
#include <sys/socket.h>

#define GREETING_MS 15000

static int take_descriptor(int from, struct error *err)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	char byte;
	struct iovec bytes = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int fd;
	ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	const struct cmsghdr *c = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return error_set(err, ERROR_SYSTEM, "bangerd did not hand the connection over");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static int channel_open(struct cli *cli, const char *name, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	auto_close int ours = -1;
	auto_close int theirs = -1;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_sys(err, "cannot make a socket");
	ours = pair[0];
	theirs = pair[1];
	json_add_str(params, "name", name);
	if (conn_call_fd(cli, "vm.exec", params, theirs, &reply, err) < 0)
		return -1;
	return take_descriptor(ours, err);
}

struct life {
	struct cli *cli;
	const char *lease;
};

/* The daemon says nothing on this connection; that it can be read is its end. */
static int look_after_lease(void *arg, int also)
{
	struct life *life = arg;
	(void)also;
	lease_renew(life->cli, life->lease);
	return conn_fd(life->cli);
}

int agent_session(struct cli *cli, const char *line, const char *name, const char *lease)
{
	struct error err = { 0 };
	struct life life = { cli, lease };
	const char *const argv[] = { "sh", "-c", line, NULL };
	int status = STATUS_SSH;
	fflush(cli->io.out);
	auto_close int fd = channel_open(cli, name, &err);
	if (!lease)
		conn_close(cli);
	const struct agent_exec exec = {
		.fd = fd,
		.argv = argv,
		.in = fileno(cli->io.in),
		.out = fileno(cli->io.out),
		.err = fileno(cli->io.err),
		.greeting_ms = GREETING_MS,
		.also = lease ? conn_fd(cli) : -1,
		.on_also = lease ? look_after_lease : NULL,
		.arg = &life,
	};
	if (fd >= 0 && agent_exec(&exec, &status, &err) == 0)
		return status;
	if (fd >= 0 && err.code == ERROR_UNAVAILABLE)
		guest_lost(cli, name, err.text, &err);
	cli_fail_vm(cli, name, &err);
	return STATUS_SSH;
}
