/* daemon start, stop, status, ping, version. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/term.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <inttypes.h>
#include <string.h>

#define STOP_MS	    10000
#define STOP_VMS_MS 180000 /* graceful, then not; several rounds of what depends on what */

static cJSON *daemon_to_json(const struct daemon_info *daemon)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "version", daemon->version);
	json_add_str(json, "commit", daemon->commit);
	json_add_int(json, "pid", daemon->pid);
	json_add_int(json, "started_ms", daemon->started_ms);
	json_add_int(json, "vms", daemon->vms);
	json_add_int(json, "running", daemon->running);
	return json;
}

static void say_daemon(struct cli *cli)
{
	const struct daemon_info *daemon = conn_daemon(cli);
	auto_json cJSON *json = daemon_to_json(daemon);
	auto_free char *up = table_age(daemon->started_ms, clock_wall_ms());
	if (cli_print_structured(cli, json) || cli->quiet)
		return;
	cli_say(cli,
		"bangerd %s (%s) runs as pid %" PRId64 " for %s, with %" PRId64 " VM%s, %" PRId64
		" running\n",
		daemon->version, daemon->commit, daemon->pid, up, daemon->vms,
		daemon->vms == 1 ? "" : "s", daemon->running);
}

int cmd_daemon_start(struct cli *cli)
{
	struct error err = { 0 };
	if (conn_open(cli, true, &err) < 0)
		return cli_fail(cli, &err);
	say_daemon(cli);
	return STATUS_DONE;
}

int cmd_daemon_status(struct cli *cli)
{
	struct error err = { 0 };
	if (conn_open(cli, false, &err) == 0) {
		say_daemon(cli);
		return STATUS_DONE;
	}
	auto_json cJSON *json = cJSON_CreateObject();
	json_add_bool(json, "running", false);
	if (!cli_print_structured(cli, json) && !cli->quiet)
		cli_say(cli, "%s\n", err.text);
	return STATUS_FAILED;
}

int cmd_ping(struct cli *cli)
{
	struct error err = { 0 };
	if (cli->args.words.count)
		return cmd_ping_guest(cli);
	if (conn_open(cli, false, &err) < 0) {
		cli_complain(cli, "banger: %s", err.text);
		cli_hint(cli, "every command that needs it starts it, 'banger daemon start' too");
		return error_exit_status(err.code);
	}
	const struct daemon_info *daemon = conn_daemon(cli);
	auto_json cJSON *json = daemon_to_json(daemon);
	if (!cli_print_structured(cli, json) && !cli->quiet)
		cli_say(cli, "version %s\ncommit %s\npid %" PRId64 "\n", daemon->version,
			daemon->commit, daemon->pid);
	return STATUS_DONE;
}

int cmd_daemon_stop(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL, *params = cJSON_CreateObject();
	bool vms = cli_flag(cli, "vms");
	uint64_t limit_ms;
	if (cli_duration(cli, "timeout", &limit_ms, &err) < 0)
		return cli_misused(cli, "%s", err.text);
	if (!limit_ms)
		limit_ms = vms ? STOP_VMS_MS : STOP_MS;
	/* VMs run on without it: to end them takes one. */
	if (conn_open(cli, vms, &err) < 0) {
		if (err.code != ERROR_UNAVAILABLE || vms)
			return cli_fail(cli, &err);
		if (!cli->quiet)
			cli_say(cli, "bangerd does not run\n");
		return STATUS_DONE;
	}
	json_add_bool(params, "vms", vms);
	/* Held before it is asked to end, so that the pid cannot become another's. */
	auto_close int pidfd = proc_pidfd((pid_t)conn_daemon(cli)->pid);
	if (conn_call(cli, "shutdown", params, &reply, &err) < 0 && !conn_is_lost(&err))
		return cli_fail(cli, &err);
	if (pidfd >= 0 && proc_wait_gone(pidfd, limit_ms) < 0) {
		error_set(&err, ERROR_TIMEOUT, "bangerd did not end within %" PRIu64 " s%s",
			  limit_ms / 1000, vms ? ", see banger ps for what still runs" : "");
		return cli_fail(cli, &err);
	}
	if (!cli->quiet)
		cli_say(cli, "bangerd ended%s\n",
			vms ? " and its VMs with it, they run again when it does"
			    : ", its VMs run on");
	return STATUS_DONE;
}

int cmd_version(struct cli *cli)
{
	auto_json cJSON *json = cJSON_CreateObject();
	json_add_str(json, "version", cli_version);
	json_add_str(json, "commit", cli_commit);
	if (!cli_print_structured(cli, json))
		cli_say(cli, "banger %s (%s)\n", cli_version, cli_commit);
	return STATUS_DONE;
}
