/* op list, show, wait: work that was left to the daemon. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/wait.h"
#include "sys/loop.h"

#include <string.h>

static void add_row(struct table *table, const cJSON *op)
{
	bool done = json_bool(op, "done", false), success = json_bool(op, "success", false);
	int64_t started = json_int(op, "started_ms", 0);
	int64_t end = done ? json_int(op, "updated_ms", 0) : clock_wall_ms();
	auto_free char *age = table_age(started, clock_wall_ms());
	const cJSON *error = json_get(op, "error");
	table_cell(table, json_str(op, "id", NULL));
	table_cell(table, json_str(op, "kind", NULL));
	table_cell(table, json_str(op, "name", NULL));
	table_cell(table, !done ? "running" : success ? "done" : "failed");
	table_colour(table, !done ? TERM_YELLOW : success ? TERM_GREEN : TERM_RED);
	table_cell(table, json_str(op, "stage", NULL));
	if (started > 0 && end >= started)
		table_cellf(table, "%.1fs", (double)(end - started) / 1000);
	else
		table_cell(table, NULL);
	table_cell(table, age);
	table_cell(table, cJSON_IsObject(error) ? json_str(error, "text", NULL)
						: json_str(op, "detail", NULL));
}

int cmd_op_list(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *list = NULL;
	if (conn_list(cli, "op.list", NULL, &list, &err) < 0)
		return cli_fail(cli, &err);
	if (cli_print_structured(cli, list))
		return STATUS_DONE;
	bool names = cli->quiet || cli->output == OUTPUT_NAME;
	auto_table struct table table = { 0 };
	table_column(&table, "ID", false);
	table_column(&table, "KIND", false);
	table_column(&table, "NAME", false);
	table_column(&table, "STATE", false);
	table_column(&table, "STAGE", false);
	table_column(&table, "TOOK", true);
	table_column(&table, "AGE", true);
	table_column(&table, "DETAIL", false);
	const cJSON *op;
	cJSON_ArrayForEach(op, list)
	{
		if (names)
			cli_say(cli, "%s\n", json_str(op, "id", ""));
		else
			add_row(&table, op);
	}
	if (!names)
		table_print(&table, cli);
	return STATUS_DONE;
}

static int fetch(struct cli *cli, const char *id, cJSON **ret, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	json_add_str(params, "id", id);
	json_add_int(params, "timeout_ms", 0);
	return conn_call(cli, "op.wait", params, ret, err);
}

/* An id that the daemon does not know comes as an operation that failed so and has no kind. */
static bool is_unknown(const cJSON *op, struct error *err)
{
	return !json_str(op, "kind", "")[0] && conn_item_error(op, err);
}

int cmd_op_show(struct cli *cli)
{
	int status = STATUS_DONE;
	auto_json cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < cli->args.words.count; i++) {
		struct error err = { 0 };
		cJSON *op = NULL;
		if (fetch(cli, cli->args.words.at[i], &op, &err) < 0 || is_unknown(op, &err)) {
			cJSON_Delete(op);
			status = worse(status, cli_fail(cli, &err));
			continue;
		}
		cJSON_AddItemToArray(list, op);
	}
	if (!list->child)
		return status;
	if (cli->output != OUTPUT_JSON)
		cli->output = OUTPUT_YAML;
	cli_print_structured(cli, cli->args.words.count == 1 ? list->child : list);
	return status;
}

/* What the operation was for tells what its VM is like afterwards. */
static enum wait_goal goal_of(const char *kind)
{
	if (!strcmp(kind, "delete"))
		return GOAL_GONE;
	if (!strcmp(kind, "stop") || !strcmp(kind, "kill"))
		return GOAL_DOWN;
	return !strcmp(kind, "pull") ? GOAL_OTHER : GOAL_UP;
}

int cmd_op_wait(struct cli *cli)
{
	auto_wait_items struct wait_item_vec items = { 0 };
	for (size_t i = 0; i < cli->args.words.count; i++) {
		struct error err = { 0 };
		const char *id = cli->args.words.at[i];
		auto_json cJSON *op = NULL;
		if (fetch(cli, id, &op, &err) < 0 || is_unknown(op, &err)) {
			wait_items_add_failed(&items, id, &err);
			items.at[items.count - 1].goal = GOAL_OTHER;
			continue;
		}
		auto_json cJSON *item = cJSON_CreateObject();
		json_add_str(item, "name", json_str(op, "name", id));
		json_add_str(item, "op", id);
		wait_items_add(&items, item, goal_of(json_str(op, "kind", "")));
	}
	return wait_finish(cli, &items, NULL);
}
