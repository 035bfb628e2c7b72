/* resources, gc: what banger has on this host, and what of it is nobody's. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/term.h"
#include "base/units.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <string.h>

static void size_cell(struct table *table, int64_t bytes)
{
	if (bytes <= 0)
		table_cell(table, NULL);
	else if (bytes < (int64_t)MIB)
		table_cellf(table, "%" PRId64 "Ki", (bytes + (int64_t)KIB - 1) / (int64_t)KIB);
	else
		table_cellf(table, "%" PRId64 "Mi", bytes / (int64_t)MIB);
}

static void print_objects(struct cli *cli, const cJSON *list)
{
	auto_table struct table table = { 0 };
	const cJSON *object;
	table_column(&table, "KIND", false);
	table_column(&table, "OWNER", false);
	table_column(&table, "AGE", true);
	table_column(&table, "SIZE", true);
	table_column(&table, "WHAT", false);
	cJSON_ArrayForEach(object, list)
	{
		bool orphan = json_bool(object, "orphan", false);
		auto_free char *age = table_age(json_int(object, "since_ms", 0), clock_wall_ms());
		table_cell(&table, json_str(object, "kind", NULL));
		table_cell(&table, orphan ? "orphan" : json_str(object, "owner", NULL));
		if (orphan)
			table_colour(&table, TERM_YELLOW);
		table_cell(&table, age);
		size_cell(&table, json_int(object, "size", 0));
		const char *what = json_str(object, "what", "");
		if (orphan)
			table_cellf(&table, "%s: %s%s", what, json_str(object, "why", ""),
				    json_bool(object, "data", false) ? ", a user's data" : "");
		else
			table_cell(&table, what);
	}
	table_print(&table, cli);
}

int cmd_resources(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *list = NULL;
	auto_json cJSON *params = cJSON_CreateObject();
	json_add_bool(params, "orphans", cli_flag(cli, "orphans"));
	if (conn_list(cli, "host.resources", params, &list, &err) < 0)
		return cli_fail(cli, &err);
	if (cli_print_structured(cli, list))
		return STATUS_DONE;
	if (!cli->quiet && cli->output != OUTPUT_NAME) {
		print_objects(cli, list);
		return STATUS_DONE;
	}
	const cJSON *object;
	cJSON_ArrayForEach(object, list)
	{
		cli_say(cli, "%s\n", json_str(object, "what", ""));
	}
	return STATUS_DONE;
}

/* --- gc --- */

static int call_gc(struct cli *cli, bool dry_run, const char *digest, cJSON **ret,
		   struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	json_add_bool(params, "dry_run", dry_run);
	json_add_str(params, "digest", digest);
	return conn_call(cli, "host.gc", params, ret, err);
}

static bool may_collect(struct cli *cli, const cJSON *plan)
{
	int64_t left = json_int(plan, "left", 0);
	print_objects(cli, json_get(plan, "items"));
	if (left)
		cli_say(cli, "... and %" PRId64 " more\n", left);
	fflush(cli->io.out);
	if (!cli->io.in_tty || !cli->io.err_tty) {
		cli_complain(cli, "banger: these would be removed and there is no terminal to ask "
				  "on");
		cli_hint(cli, "--yes does it without a question");
		return false;
	}
	if (cli_ask(cli, "Do you want to remove them?"))
		return true;
	cli_complain(cli, "banger: nothing was done");
	return false;
}

/* What was removed joins all; the failed ones are told. */
static int take_results(struct cli *cli, cJSON *reply, cJSON *all)
{
	cJSON *items = cJSON_GetObjectItemCaseSensitive(reply, "items"), *item;
	int status = STATUS_DONE;
	while ((item = cJSON_DetachItemFromArray(items, 0))) {
		struct error err = { 0 };
		if (conn_item_error(item, &err)) {
			cli_complain(cli, "banger: %s '%s': %s", json_str(item, "kind", ""),
				     json_str(item, "what", ""), err.text);
			status = STATUS_FAILED;
		}
		cJSON_AddItemToArray(all, item);
	}
	return status;
}

static void say_result(struct cli *cli, const cJSON *all)
{
	int64_t bytes = 0, count = 0;
	const cJSON *item;
	if (cli_print_structured(cli, all) || cli->quiet)
		return;
	cJSON_ArrayForEach(item, all)
	{
		if (json_get(item, "error"))
			continue;
		count++;
		if (strcmp(json_str(item, "kind", ""), "process") != 0) /* its size is memory */
			bytes += json_int(item, "size", 0);
	}
	cli_say(cli, "%" PRId64 " orphans removed, %" PRId64 " MiB\n", count, bytes / (int64_t)MIB);
}

static int show_orphans(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *plan = NULL;
	if (call_gc(cli, true, NULL, &plan, &err) < 0)
		return cli_fail(cli, &err);
	const cJSON *items = json_get(plan, "items");
	if (cli_print_structured(cli, items))
		return STATUS_DONE;
	if (cJSON_GetArraySize(items))
		print_objects(cli, items);
	else if (!cli->quiet)
		cli_say(cli, "No orphans.\n");
	return STATUS_DONE;
}

/* In portions of what fits a frame; one that failed does not come again. */
int cmd_gc(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *all = cJSON_CreateArray();
	bool ask = !cli_flag(cli, "yes");
	int status = STATUS_DONE;
	if (cli_flag(cli, "dry-run"))
		return show_orphans(cli);
	for (int64_t left = 1; left > 0 && status == STATUS_DONE;) {
		auto_json cJSON *plan = NULL;
		auto_json cJSON *reply = NULL;
		if (ask && call_gc(cli, true, NULL, &plan, &err) < 0)
			return cli_fail(cli, &err);
		if (ask && !cJSON_GetArraySize(json_get(plan, "items")))
			break;
		if (ask && !may_collect(cli, plan))
			return STATUS_REFUSED;
		if (call_gc(cli, false, json_str(plan, "digest", NULL), &reply, &err) < 0)
			return cli_fail(cli, &err);
		left = json_int(reply, "left", 0);
		status = take_results(cli, reply, all);
	}
	if (!cJSON_GetArraySize(all) && cli->output == OUTPUT_TABLE && !cli->quiet)
		cli_say(cli, "No orphans.\n");
	else
		say_result(cli, all);
	return status;
}
