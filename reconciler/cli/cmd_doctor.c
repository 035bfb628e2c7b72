/* doctor: what this host has and lacks, and mending it. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/term.h"
#include "base/vec.h"
#include "sys/modules.h"
#include "sys/proc.h"

#include <string.h>

#define MODPROBE_MS 10000

static const char *status_colour(const char *status)
{
	if (!strcmp(status, "pass"))
		return TERM_GREEN;
	return !strcmp(status, "warn") ? TERM_YELLOW : TERM_RED;
}

/* Without a daemon there is one finding. */
static cJSON *no_daemon(const struct error *err)
{
	cJSON *reply = cJSON_CreateObject(), *item = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(reply, "items");
	json_add_str(item, "check", "daemon");
	json_add_str(item, "status", "fail");
	json_add_str(item, "detail", err->text);
	json_add_str(item, "fix", "read bangerd.log in the state directory");
	cJSON_AddItemToArray(items, item);
	return reply;
}

static void say_of_check(struct cli *cli, const cJSON *item, const char *what, const char *text)
{
	auto_buf struct buf clean = BUF_INIT;
	if (!text[0])
		return;
	term_clean(&clean, text);
	cli_say(cli, "\n%s: %s%s\n", json_str(item, "check", ""), what, clean.data);
}

static void print_checks(struct cli *cli, const cJSON *items)
{
	auto_table struct table table = { 0 };
	const cJSON *item;
	table_column(&table, "CHECK", false);
	table_column(&table, "STATUS", false);
	table_column(&table, "DETAIL", false);
	cJSON_ArrayForEach(item, items)
	{
		const char *status = json_str(item, "status", "fail");
		table_cell(&table, json_str(item, "check", NULL));
		table_cell(&table, status);
		table_colour(&table, status_colour(status));
		table_cell(&table, json_str(item, "detail", NULL));
	}
	table_print(&table, cli);
	cJSON_ArrayForEach(item, items)
	{
		struct error err = { 0 };
		say_of_check(cli, item, "fixed: ", json_str(item, "fixed", ""));
		if (conn_item_error(item, &err))
			say_of_check(cli, item, "not fixed: ", err.text);
		if (strcmp(json_str(item, "status", "fail"), "pass") != 0)
			say_of_check(cli, item, "", json_str(item, "fix", ""));
	}
}

/* --- what only we can mend: bangerd keeps no right to load modules into the kernel --- */

/* The first of them that can be. */
static bool load_module(cJSON *item)
{
	const cJSON *module;
	cJSON_ArrayForEach(module, json_get(item, "modules"))
	{
		struct error ignored;
		const char *name = cJSON_IsString(module) ? module->valuestring : "";
		const char *const argv[] = { "modprobe", "--", name, NULL };
		const struct proc_run run = { .argv = argv, .timeout_ms = MODPROBE_MS };
		if (module_is_loaded(name) || proc_check(&run, NULL, &ignored) < 0)
			continue;
		auto_free char *said = xasprintf("loaded the kernel's module '%s'", name);
		json_add_str(item, "loaded", said);
		return true;
	}
	return false;
}

static cJSON *item_of(const cJSON *reply, const char *check)
{
	cJSON *item;
	cJSON_ArrayForEach(item, json_get(reply, "items"))
	{
		if (!strcmp(json_str(item, "check", ""), check))
			return item;
	}
	return NULL;
}

/* What was done before the host was looked at again: by us, then by bangerd. */
static void carry_over(const cJSON *before, cJSON *after)
{
	const char *said[] = { json_str(before, "loaded", ""), json_str(before, "fixed", ""),
			       json_str(after, "fixed", "") };
	auto_buf struct buf all = BUF_INIT;
	for (size_t i = 0; i < ARRAY_COUNT(said); i++)
		if (said[i][0])
			buf_addf(&all, "%s%s", all.len ? ", " : "", said[i]);
	if (!all.len)
		return;
	cJSON_DeleteItemFromObject(after, "fixed");
	json_add_str(after, "fixed", all.data);
}

static void load_modules(struct cli *cli, const cJSON *params, cJSON **reply)
{
	struct error ignored;
	bool any = false;
	cJSON *item, *after = NULL;
	cJSON_ArrayForEach(item, json_get(*reply, "items"))
	{
		any |= load_module(item);
	}
	if (!any || conn_call(cli, "doctor", params, &after, &ignored) < 0)
		return;
	cJSON_ArrayForEach(item, json_get(after, "items"))
	{
		carry_over(item_of(*reply, json_str(item, "check", "")), item);
	}
	cJSON_Delete(*reply);
	*reply = after;
}

int cmd_doctor(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	auto_json cJSON *params = cJSON_CreateObject();
	json_add_bool(params, "fix", cli_flag(cli, "fix"));
	int failed = conn_call(cli, "doctor", params, &reply, &err);
	if (failed && err.code == ERROR_CONFLICT)
		return cli_fail(cli, &err); /* it is there, and refuses */
	if (failed)
		reply = no_daemon(&err);
	else if (cli_flag(cli, "fix") && geteuid() == 0)
		load_modules(cli, params, &reply);
	const cJSON *items = json_get(reply, "items"), *item;
	int status = STATUS_DONE;
	cJSON_ArrayForEach(item, items)
	{
		if (!strcmp(json_str(item, "status", "fail"), "fail"))
			status = STATUS_FAILED;
	}
	if (!cli_print_structured(cli, items) && !cli->quiet)
		print_checks(cli, items);
	return status;
}
