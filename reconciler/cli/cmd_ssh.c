/* ssh: a shell in a VM, or a command. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/ssh_session.h"

int cmd_ssh(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *target = NULL;
	const struct word_vec *words = &cli->args.words;
	uint64_t limit_ms;
	if (cli_duration(cli, "timeout", &limit_ms, &err) < 0 ||
	    ssh_wait_ready(cli, words->at[0], limit_ms, &target, &err) < 0) {
		cli_fail_vm(cli, words->at[0], &err);
		return STATUS_SSH;
	}
	struct ssh_command command = {
		.target = target,
		.words = words->at + 1,
		.count = words->count - 1,
		.tty = cli_flag(cli, "tty"),
	};
	return ssh_session(cli, &command, json_str(target, "name", words->at[0]), NULL, NULL);
}
