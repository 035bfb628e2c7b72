/* run and exec: a command, or a shell, where the work is.
 *
 * A VM of `run --rm` is ephemeral: the daemon ties it to our connection, which is held until we
 * have deleted it ourselves. However we end, it goes. */
#include "cli/agent_session.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/key_files.h"
#include "cli/prepare.h"
#include "cli/spec_flags.h"
#include "cli/ssh_session.h"
#include "cli/wait.h"
#include "cli/workspace_script.h"

#include <signal.h>
#include <string.h>
#include <sys/random.h>

static int fail(struct cli *cli, const char *name, const struct error *err)
{
	if (name)
		cli_fail_vm(cli, name, err);
	else
		cli_fail(cli, err);
	return STATUS_SSH;
}

static bool wants_shell(const struct cli *cli, size_t count)
{
	return (!count && cli->io.in_tty && cli->io.out_tty) || cli_flag(cli, "tty");
}

static int run_by_agent(struct cli *cli, const char *name, const char *line, size_t count,
			const char *lease)
{
	struct error err = { 0 };
	if (!wants_shell(cli, count))
		return agent_session(cli, line, name, lease);
	error_set(&err, ERROR_INVALID,
		  "there is no terminal without ssh: name a command (banger exec %s -- CMD)", name);
	return fail(cli, name, &err);
}

/* By ssh; by the agent where asked, where the VM says that it has no ssh, and where ssh gets no
 * answer: nothing was run then. */
static int run_there(struct cli *cli, const char *name, const cJSON *target, const char *path,
		     const char *const *words, size_t count, const char *lease)
{
	auto_buf struct buf line = BUF_INIT;
	bool reached;
	exec_script(&line, path, words, count);
	if (cli_flag(cli, "agent"))
		return run_by_agent(cli, name, line.data, count, lease);
	if (!json_bool(target, "ready", false)) {
		cli_note(cli, "vm '%s' has no ssh, its agent runs the command", name);
		return run_by_agent(cli, name, line.data, count, lease);
	}
	struct ssh_command command = { .target = target,
				       .line = line.data,
				       .tty = wants_shell(cli, count) };
	/* A shell without a terminal reads commands; a login shell's greeting is not wanted then.
	 */
	int status = ssh_session(cli, &command, name, lease, &reached);
	if (reached)
		return status;
	cli_note(cli, "its agent runs the command");
	return run_by_agent(cli, name, line.data, count, lease);
}

/* --- exec --- */

/* What the last one who prepared it asked for, where no spec says. */
static struct workspace_options options_again(const cJSON *record)
{
	const char *branch = json_str(record, "wanted_branch", "");
	const char *from = json_str(record, "wanted_from", "");
	int mode = transfer_mode_parse(json_str(record, "mode", "shallow"));
	return (struct workspace_options){
		.source = json_str(record, "source", ""),
		.path = json_str(record, "path", NULL),
		.branch = branch[0] ? branch : NULL,
		.from = from[0] ? from : NULL,
		.mode = mode < 0 ? TRANSFER_SHALLOW : (enum transfer_mode)mode,
		.include_untracked = json_bool(record, "include_untracked", false),
	};
}

static int prepare_now(struct cli *cli, const char *name, const cJSON *target,
		       const struct workspace_options *options, struct error *err)
{
	auto_workspace struct workspace workspace = { 0 };
	if (workspace_open(&workspace, options, err) < 0)
		return -1;
	workspace_notes(cli, &workspace);
	return workspace_send(cli, &workspace, name, target, err);
}

/* wanted NULL: its spec wants none. */
static int look_at_workspace(struct cli *cli, const char *name, const cJSON *target,
			     const cJSON *record, const struct vm_spec *wanted, bool *ret_prepared,
			     struct error *err)
{
	const struct workspace_spec *want = wanted ? &wanted->workspace : NULL;
	bool again = cli_flag(cli, "auto-prepare") || (want && want->auto_prepare);
	auto_free char *commit = NULL;
	enum workspace_standing standing = workspace_stands(want, record, &commit);
	if (standing == WORKSPACE_NONE && again)
		return error_set(err, ERROR_NOT_FOUND,
				 "vm '%s' has no workspace: 'banger workspace prepare %s'", name,
				 name);
	if (standing == WORKSPACE_NONE || standing == WORKSPACE_FRESH)
		return 0;
	auto_free char *why = workspace_why(standing, record, commit);
	cli_note(cli, "vm '%s': %s%s", name, why, again ? ": preparing it" : "");
	if (!again) {
		cli_hint(cli, "--auto-prepare brings it up to date");
		return 0;
	}
	const struct workspace_options options =
		want ? workspace_options_of(want) : options_again(record);
	*ret_prepared = true;
	return prepare_now(cli, name, target, &options, err);
}

/* Where commands run: what was prepared, or has been just now. */
static const char *workspace_place(const cJSON *record, const struct vm_spec *wanted, bool prepared)
{
	if (prepared && wanted)
		return wanted->workspace.path;
	return record ? json_str(record, "path", WORKSPACE_PATH) : NULL;
}

int cmd_exec(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *target = NULL;
	const struct word_vec *words = &cli->args.words;
	uint64_t limit_ms;
	if (cli_duration(cli, "timeout", &limit_ms, &err) < 0 ||
	    exec_wait_ready(cli, words->at[0], limit_ms, cli_flag(cli, "agent"), &target, &err) < 0)
		return fail(cli, words->at[0], &err);
	const char *name = json_str(target, "name", words->at[0]);
	const cJSON *record = json_get(target, "workspace");
	auto_ptr(vm_spec) wanted = workspace_wanted(target);
	if (!cJSON_IsObject(record))
		record = NULL;
	bool prepared = false;
	if (look_at_workspace(cli, name, target, record, wanted, &prepared, &err) < 0)
		return fail(cli, name, &err);
	const char *path = workspace_place(record, wanted, prepared);
	return run_there(cli, name, target, path, words->at + 1, words->count - 1, NULL);
}

/* --- run --- */

struct run {
	const char *repo; /* NULL: a bare VM */
	const char *const *words;
	size_t count;
	char name[64];
	bool remove;
	struct workspace workspace;
};

static void choose_name(struct cli *cli, struct run *run)
{
	unsigned random = 0;
	if (getrandom(&random, sizeof(random), 0) < 0)
		random = (unsigned)getpid();
	const char *given = cli_value(cli, "name", NULL);
	if (given)
		snprintf(run->name, sizeof(run->name), "%s", given);
	else
		snprintf(run->name, sizeof(run->name), "run-%06x", random & 0xffffff);
}

/* Words before "--" are ours: at most one. Without "--" the first is. */
static int take_words(struct cli *cli, struct run *run)
{
	const struct args *args = &cli->args;
	size_t own = args->dashes ? args->words_before : args->words.count > 0;
	if (own > 1)
		own = 1;
	run->repo = own ? args->words.at[0] : NULL;
	run->words = args->words.at + own;
	run->count = args->words.count - own;
	if (!run->repo && (cli_value(cli, "branch", NULL) || cli_value(cli, "from", NULL) ||
			   cli_flag(cli, "include-untracked") || cli_flag(cli, "dry-run")))
		return cli_misused(cli, "--branch, --from, --include-untracked and --dry-run are "
					"about a repository, and none is named");
	const char *given = cli_value(cli, "name", "run");
	if (strlen(given) >= sizeof(run->name))
		return cli_misused(cli, "'%.80s' is too long for a VM's name", given);
	return STATUS_DONE;
}

static int open_repo(struct cli *cli, struct run *run, struct error *err)
{
	int mode = transfer_mode_parse(cli_value(cli, "mode", "shallow"));
	const struct workspace_options options = {
		.source = run->repo,
		.branch = cli_value(cli, "branch", NULL),
		.from = cli_value(cli, "from", NULL),
		.mode = mode < 0 ? TRANSFER_SHALLOW : (enum transfer_mode)mode,
		.include_untracked = cli_flag(cli, "include-untracked"),
	};
	if (workspace_open(&run->workspace, &options, err) < 0)
		return -1;
	workspace_notes(cli, &run->workspace);
	return 0;
}

/* 0 when all ended well, else the status to end with; err when there is something to say. */
static int wait_for_it(struct cli *cli, const cJSON *reply, enum wait_goal goal, struct error *err)
{
	auto_wait_items struct wait_item_vec items = { 0 };
	wait_items_add(&items, reply, goal);
	int status = wait_all(cli, &items, 0, err);
	if (status == STATUS_INTERRUPTED)
		return status;
	if (status == STATUS_DONE && items.count && !items.at[0].success)
		*err = items.at[0].err;
	return status == STATUS_DONE && (!items.count || items.at[0].success) ? 0 : STATUS_SSH;
}

static int create(struct cli *cli, const struct run *run, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	json_add_str(params, "name", run->name);
	if (spec_flags(cli, cJSON_AddArrayToObject(params, "set"), err) < 0)
		return STATUS_SSH;
	key_files_of_set(cli, params);
	json_add_bool(params, "start", true);
	json_add_bool(params, "ephemeral", run->remove);
	if (conn_call(cli, "vm.create", params, &reply, err) < 0)
		return STATUS_SSH;
	return wait_for_it(cli, reply, GOAL_UP, err);
}

static int use(struct cli *cli, struct run *run)
{
	struct error err = { 0 };
	auto_json cJSON *target = NULL;
	int waited = run->repo ? ssh_wait_ready(cli, run->name, 0, &target, &err)
			       : exec_wait_ready(cli, run->name, 0, cli_flag(cli, "agent"), &target,
						 &err);
	if (waited < 0)
		return fail(cli, run->name, &err);
	if (run->repo && workspace_send(cli, &run->workspace, run->name, target, &err) < 0)
		return fail(cli, run->name, &err);
	return run_there(cli, run->name, target, run->repo ? WORKSPACE_PATH : NULL, run->words,
			 run->count, run->remove ? run->name : NULL);
}

static void take_away(struct cli *cli, const struct run *run)
{
	struct error err = { 0 };
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	cJSON *names = cJSON_AddArrayToObject(params, "names");
	cJSON_AddItemToArray(names, cJSON_CreateString(run->name));
	bool quiet = cli->quiet;
	cli->quiet = true;
	int failed = conn_call(cli, "vm.delete", params, &reply, &err);
	if (failed == 0 && wait_for_it(cli, json_get(reply, "items"), GOAL_GONE, &err) != 0)
		failed = -1;
	cli->quiet = quiet;
	if (failed < 0 && err.code != ERROR_NOT_FOUND && err.code != ERROR_NONE)
		cli_fail_vm(cli, run->name, &err);
}

static int run_it(struct cli *cli, struct run *run)
{
	struct error err = { 0 };
	if (run->repo && open_repo(cli, run, &err) < 0)
		return fail(cli, NULL, &err);
	if (run->repo && cli_flag(cli, "dry-run")) {
		workspace_list(cli, &run->workspace);
		return STATUS_DONE;
	}
	int status = create(cli, run, &err);
	if (status && err.code != ERROR_NONE)
		fail(cli, run->name, &err);
	if (!status)
		status = use(cli, run);
	else if (!run->remove)
		return status;
	if (run->remove)
		take_away(cli, run);
	else
		cli_note(cli, "vm '%s' is still there: banger exec %s, banger delete %s", run->name,
			 run->name, run->name);
	return status;
}

int cmd_run(struct cli *cli)
{
	struct run run = { .remove = cli_flag(cli, "rm") };
	int status = take_words(cli, &run);
	if (status)
		return status;
	choose_name(cli, &run);
	status = run_it(cli, &run);
	workspace_clear(&run.workspace);
	return status;
}
