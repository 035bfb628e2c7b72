/* why: what keeps a VM from being as it is wanted. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/term.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <string.h>

static void line(struct cli *cli, const char *title, const char *text)
{
	auto_buf struct buf clean = BUF_INIT;
	if (!text || !text[0])
		return;
	term_clean(&clean, text);
	cli_say(cli, "  %-10s %s\n", title, clean.data);
}

static void print_head(struct cli *cli, const cJSON *why)
{
	const char *stack = json_str(why, "stack", ""), *file = json_str(why, "file", "");
	const char *state = json_str(why, "state", "");
	const char *colour = !strcmp(state, "ready")	? TERM_GREEN
			     : !strcmp(state, "failed") ? TERM_RED
							: TERM_YELLOW;
	auto_buf struct buf clean = BUF_INIT;
	term_clean(&clean, file);
	cli_say(cli, "%s is %s%s%s", json_str(why, "name", ""), cli->colour ? colour : "", state,
		cli->colour ? TERM_RESET : "");
	if (stack[0])
		cli_say(cli, " (stack %s%s%s)", stack, file[0] ? ", " : "", clean.data);
	cli_say(cli, "\n");
}

static void print_tried(struct cli *cli, const cJSON *why)
{
	int64_t now = clock_wall_ms(), retry = json_int(why, "retry_at_ms", 0);
	int64_t failures = json_int(why, "failures", 0);
	const cJSON *tried = json_get(why, "tried");
	const char *error = json_str(json_get(why, "error"), "text", "");
	if (strcmp(error, json_str(why, "reason", "")) != 0)
		line(cli, "error", error);
	if (tried) {
		auto_free char *age = table_age(json_int(tried, "at_ms", 0), now);
		bool running = json_bool(tried, "running", false);
		auto_free char *text =
			failures > 1 ? xasprintf("%s, %s ago, the %" PRId64 ". failure in a row",
						 json_str(tried, "kind", ""), age, failures)
				     : xasprintf("%s, %s ago%s", json_str(tried, "kind", ""), age,
						 running ? ", still at it" : "");
		line(cli, "tried", text);
	}
	if (retry) {
		auto_free char *text =
			xasprintf("in %" PRId64 " s", retry > now ? (retry - now + 999) / 1000 : 0);
		line(cli, "next try", text);
	}
	line(cli, "next try", json_str(why, "retry", NULL));
}

static void print_fields(struct cli *cli, const cJSON *fields)
{
	const cJSON *field;
	if (!cJSON_GetArraySize(fields))
		return;
	auto_table struct table table = { 0 };
	table_column(&table, "  FIELD", false);
	table_column(&table, "WANTED", false);
	table_column(&table, "IS", false);
	table_column(&table, "CHANGE", false);
	cJSON_ArrayForEach(field, fields)
	{
		bool differs = json_bool(field, "differs", false);
		table_cellf(&table, "%s%s", differs ? "* " : "  ", json_str(field, "key", ""));
		table_cell(&table, json_str(field, "want", NULL));
		table_cell(&table, json_str(field, "have", NULL));
		table_cell(&table, json_str(field, "class", NULL));
	}
	cli_say(cli, "\n");
	table_print(&table, cli);
}

static void print_events(struct cli *cli, const cJSON *events)
{
	const cJSON *event;
	int64_t now = clock_wall_ms();
	if (!cJSON_GetArraySize(events))
		return;
	cli_say(cli, "\n");
	cJSON_ArrayForEach(event, events)
	{
		auto_free char *age = table_age(json_int(event, "at_ms", 0), now);
		auto_buf struct buf clean = BUF_INIT;
		term_clean(&clean, json_str(event, "text", ""));
		cli_say(cli, "  %5s ago  %-11s %s\n", age, json_str(event, "kind", ""), clean.data);
	}
}

static void print_why(struct cli *cli, const cJSON *why)
{
	print_head(cli, why);
	line(cli, "reason", json_str(why, "reason", NULL));
	const char *waits = json_str(why, "waits_for", "");
	if (strcmp(waits, json_str(why, "reason", "")) != 0)
		line(cli, "waits for", waits);
	if (strcmp(json_str(why, "note", ""), json_str(why, "reason", "")) != 0)
		line(cli, "note", json_str(why, "note", NULL));
	line(cli, "held back", json_str(why, "held_back", NULL));
	line(cli, "fault", json_str(why, "fault", NULL));
	print_tried(cli, why);
	print_fields(cli, json_get(why, "fields"));
	print_events(cli, json_get(why, "events"));
}

int cmd_why(struct cli *cli)
{
	int status = STATUS_DONE;
	auto_json cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < cli->args.words.count; i++) {
		struct error err = { 0 };
		cJSON *why = NULL;
		auto_json cJSON *params = cJSON_CreateObject();
		json_add_str(params, "name", cli->args.words.at[i]);
		json_add_bool(params, "all", cli->verbose);
		if (conn_call(cli, "vm.why", params, &why, &err) < 0)
			status = worse(status, cli_fail_vm(cli, cli->args.words.at[i], &err));
		else
			cJSON_AddItemToArray(list, why);
	}
	if (!list->child ||
	    cli_print_structured(cli, cli->args.words.count == 1 ? list->child : list))
		return status;
	const cJSON *why;
	cJSON_ArrayForEach(why, list)
	{
		if (why != list->child)
			cli_say(cli, "\n");
		print_why(cli, why);
	}
	return status;
}
