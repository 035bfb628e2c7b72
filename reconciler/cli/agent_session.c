/* The channel's socket belongs to the daemon's user alone, so it is the daemon that connects and
 * hands the connection over. From then on it has no part in it; that we hang up is what ends the
 * command. */
#include "cli/agent_session.h"
#include "cli/agent_exec.h"
#include "cli/conn.h"
#include "cli/ssh_session.h"

#define GREETING_MS 15000

static int channel_open(struct cli *cli, const char *name, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	int fd;
	json_add_str(params, "name", name);
	return conn_call_for_fd(cli, "vm.exec", params, &fd, err) < 0 ? -1 : fd;
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
