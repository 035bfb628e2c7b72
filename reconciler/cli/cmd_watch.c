/* watch and unwatch: directories that are applied as they change. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/planned.h"
#include "cli/sources.h"
#include "cli/table.h"
#include "cli/term.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static char *absolute_here(const char *path)
{
	char cwd[PATH_MAX];
	return path_absolute(getcwd(cwd, sizeof(cwd)) ? cwd : "/", path);
}

static void add_row(struct cli *cli, struct table *table, const cJSON *item)
{
	bool complete = json_bool(item, "complete", false);
	const char *reason = json_str(item, "reason", "");
	int faults = cJSON_GetArraySize(json_get(item, "faults"));
	table_cell(table, json_str(item, "stack", NULL));
	table_cell(table, json_str(item, "path", NULL));
	table_cellf(table, "%" PRId64, json_int(item, "vms", 0));
	table_cell(table, complete ? "ok" : "incomplete");
	table_colour(table, complete ? TERM_GREEN : TERM_YELLOW);
	if (faults && !reason[0])
		table_cellf(table, "%d fault%s", faults, faults == 1 ? "" : "s");
	else
		table_cell(table, reason);
	(void)cli;
}

static int list_watches(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	if (conn_call(cli, "watch.list", NULL, &reply, &err) < 0)
		return cli_fail(cli, &err);
	const cJSON *list = json_get(reply, "items"), *item;
	if (cli_print_structured(cli, list))
		return STATUS_DONE;
	bool names = cli->quiet || cli->output == OUTPUT_NAME;
	auto_table struct table table = { 0 };
	table_column(&table, "STACK", false);
	table_column(&table, "DIRECTORY", false);
	table_column(&table, "VMS", true);
	table_column(&table, "SOURCE", false);
	table_column(&table, "REASON", false);
	cJSON_ArrayForEach(item, list)
	{
		if (names)
			cli_say(cli, "%s\n", json_str(item, "stack", ""));
		else
			add_row(cli, &table, item);
	}
	if (names)
		return STATUS_DONE;
	table_print(&table, cli);
	cJSON_ArrayForEach(item, list)
	{
		faults_print_json(cli, NULL, json_get(item, "faults"));
	}
	return STATUS_DONE;
}

int cmd_watch(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	auto_json cJSON *params = cJSON_CreateObject();
	if (cli_flag(cli, "list"))
		return list_watches(cli);
	if (!cli->args.words.count)
		return cli_misused(cli, "nothing named: banger watch DIR or --list");
	struct stat st;
	auto_free char *path = absolute_here(cli->args.words.at[0]);
	/* Later it may come and go; at first it is more likely a mistyped name. */
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		error_set(&err, ERROR_INVALID, "'%s' is not a directory", cli->args.words.at[0]);
		return cli_fail(cli, &err);
	}
	json_add_str(params, "path", path);
	json_add_bool(params, "take_over", cli_flag(cli, "take-over"));
	if (conn_call(cli, "watch.add", params, &reply, &err) < 0)
		return cli_fail(cli, &err);
	const char *stack = json_str(reply, "stack", "");
	if (cli_print_structured(cli, reply) || cli->quiet)
		return STATUS_DONE;
	if (cli->output == OUTPUT_NAME)
		cli_say(cli, "%s\n", stack);
	else
		cli_say(cli, "watching %s as stack '%s'\n", path, stack);
	return STATUS_DONE;
}

int cmd_unwatch(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	auto_json cJSON *params = cJSON_CreateObject();
	const char *given = cli->args.words.at[0];
	struct stat st;
	/* A path when it looks like one or is one, else the name of a stack. */
	bool path = strchr(given, '/') || given[0] == '.' || stat(given, &st) == 0;
	auto_free char *what = path ? absolute_here(given) : xstrdup(given);
	json_add_str(params, "path", what);
	int failed = conn_call(cli, "watch.remove", params, &reply, &err);
	if (failed < 0 && path && !strchr(given, '/') && err.code == ERROR_NOT_FOUND) {
		cJSON_DeleteItemFromObject(params, "path");
		json_add_str(params, "path", given);
		failed = conn_call(cli, "watch.remove", params, &reply, &err);
	}
	if (failed < 0)
		return cli_fail(cli, &err);
	if (cli_print_structured(cli, reply) || cli->quiet)
		return STATUS_DONE;
	int64_t vms = json_int(reply, "vms", 0);
	cli_say(cli, "no longer watching %s; %" PRId64 " VM%s %s\n", given, vms,
		vms == 1 ? "" : "s",
		vms == 1 ? "stays and belongs to no stack" : "stay and belong to no stack");
	return STATUS_DONE;
}
