/* stats, ports, health, ping NAME: what guests say about themselves. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/term.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define NAMES_AT_ONCE 16 /* the daemon's bound for one request */
#define WATCH_S	      2

static int ask_some(struct cli *cli, const char *method, const cJSON *names, int first,
		    cJSON *items, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	cJSON *some = cJSON_AddArrayToObject(params, "names");
	for (int i = first; i < first + NAMES_AT_ONCE; i++)
		if (cJSON_GetArrayItem(names, i))
			cJSON_AddItemToArray(some,
					     cJSON_Duplicate(cJSON_GetArrayItem(names, i), true));
	if (conn_call(cli, method, params, &reply, err) < 0)
		return -1;
	cJSON *list = cJSON_DetachItemFromObjectCaseSensitive(reply, "items");
	while (list && list->child)
		cJSON_AddItemToArray(items, cJSON_DetachItemFromArray(list, 0));
	cJSON_Delete(list);
	return 0;
}

/* {name, <member>: …} or {name, error} for each of names; NULL with err when the daemon fails. */
static cJSON *ask_all(struct cli *cli, const char *method, const cJSON *names, struct error *err)
{
	auto_json cJSON *items = cJSON_CreateArray();
	int count = cJSON_GetArraySize(names);
	for (int i = 0; i < count; i += NAMES_AT_ONCE)
		if (ask_some(cli, method, names, i, items, err) < 0)
			return NULL;
	return take_ptr(&items);
}

static cJSON *typed_names(const struct cli *cli)
{
	cJSON *names = cJSON_CreateArray();
	for (size_t i = 0; i < cli->args.words.count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(cli->args.words.at[i]));
	return names;
}

/* Says each error; the worst exit status. */
static int complain(struct cli *cli, const cJSON *items)
{
	int status = STATUS_DONE;
	const cJSON *item;
	cJSON_ArrayForEach(item, items)
	{
		struct error err;
		if (conn_item_error(item, &err))
			status = worse(status, cli_fail_vm(cli, json_str(item, "name", ""), &err));
	}
	return status;
}

/* --- stats --- */

static void size_text(char *text, size_t size, int64_t bytes)
{
	if (bytes >= (int64_t)(10 * GIB))
		snprintf(text, size, "%.0fGi", (double)bytes / (double)GIB);
	else if (bytes >= (int64_t)GIB)
		snprintf(text, size, "%.1fGi", (double)bytes / (double)GIB);
	else
		snprintf(text, size, "%.0fMi", (double)bytes / (double)MIB);
}

static void share_cell(struct table *table, int64_t used, int64_t total)
{
	char of[32], in[32];
	if (total <= 0 || used < 0) {
		table_cell(table, NULL);
		return;
	}
	size_text(in, sizeof(in), used);
	size_text(of, sizeof(of), total);
	table_cellf(table, "%s/%s", in, of);
	if (used > total / 20 * 19)
		table_colour(table, TERM_RED);
}

static void add_stats(struct table *table, const cJSON *item, int64_t now)
{
	const cJSON *stats = json_get(item, "stats");
	int64_t total = json_int(stats, "memory_total", 0);
	auto_free char *up = table_age(now - json_int(stats, "uptime_ms", 0), now);
	table_cell(table, json_str(item, "name", NULL));
	table_cellf(table, "%" PRId64, json_int(stats, "cpus", 0));
	table_cellf(table, "%.2f", (double)json_int(stats, "load_1", 0) / 100);
	share_cell(table, total - json_int(stats, "memory_available", 0), total);
	share_cell(table, json_int(stats, "root_used", -1), json_int(stats, "root_size", 0));
	share_cell(table, json_int(stats, "work_used", -1), json_int(stats, "work_size", 0));
	table_cell(table, up);
}

static void print_stats(struct cli *cli, const cJSON *items)
{
	static const char *const titles[] = {
		"NAME", "CPUS", "LOAD", "MEMORY", "ROOT", "WORK", "UP"
	};
	auto_table struct table table = { 0 };
	int64_t now = (int64_t)time(NULL) * 1000;
	for (size_t i = 0; i < ARRAY_COUNT(titles); i++)
		table_column(&table, titles[i], i > 0);
	const cJSON *item;
	cJSON_ArrayForEach(item, items)
	{
		if (json_get(item, "stats"))
			add_stats(&table, item, now);
	}
	table_print(&table, cli);
}

static int stats_once(struct cli *cli, const cJSON *names)
{
	struct error err = { 0 };
	auto_json cJSON *items = ask_all(cli, "vm.stats", names, &err);
	if (!items)
		return cli_fail(cli, &err);
	if (!cli_print_structured(cli, items))
		print_stats(cli, items);
	fflush(cli->io.out);
	return complain(cli, items);
}

int cmd_stats(struct cli *cli)
{
	auto_json cJSON *names = typed_names(cli);
	int status = stats_once(cli, names);
	while (cli_flag(cli, "watch")) {
		nanosleep(&(struct timespec){ .tv_sec = WATCH_S }, NULL);
		/* On a terminal the numbers stay in their place. */
		if (cli->io.out_tty)
			cli_say(cli, "\033[H\033[2J");
		status = stats_once(cli, names);
		if (ferror(cli->io.out))
			break;
	}
	return status;
}

/* --- ports --- */

static cJSON *running_names(struct cli *cli, struct error *err)
{
	auto_json cJSON *list = NULL;
	if (conn_list(cli, "vm.list", NULL, &list, err) < 0)
		return NULL;
	cJSON *names = cJSON_CreateArray();
	const cJSON *vm;
	cJSON_ArrayForEach(vm, list)
	{
		if (json_int(vm, "pid", 0) > 0)
			cJSON_AddItemToArray(names, cJSON_CreateString(json_str(vm, "name", "")));
	}
	return names;
}

static void add_listeners(struct table *table, const cJSON *item)
{
	const cJSON *port;
	cJSON_ArrayForEach(port, json_get(json_get(item, "ports"), "ports"))
	{
		int64_t pid = json_int(port, "pid", 0);
		table_cell(table, json_str(item, "name", NULL));
		table_cell(table, json_str(port, "proto", NULL));
		table_cell(table, json_str(port, "bind", NULL));
		table_cellf(table, "%" PRId64, json_int(port, "port", 0));
		if (pid > 0)
			table_cellf(table, "%s (%" PRId64 ")", json_str(port, "process", ""), pid);
		else
			table_cell(table, NULL);
		table_cell(table, json_str(port, "endpoint", NULL));
	}
}

static void print_ports(struct cli *cli, const cJSON *items)
{
	auto_table struct table table = { 0 };
	table_column(&table, "NAME", false);
	table_column(&table, "PROTO", false);
	table_column(&table, "BIND", false);
	table_column(&table, "PORT", true);
	table_column(&table, "PROCESS", false);
	table_column(&table, "ENDPOINT", false);
	const cJSON *item;
	cJSON_ArrayForEach(item, items)
	{
		add_listeners(&table, item);
	}
	table_print(&table, cli);
	cJSON_ArrayForEach(item, items)
	{
		if (json_bool(json_get(item, "ports"), "truncated", false))
			cli_note(cli, "vm '%s' has more ports than are listed",
				 json_str(item, "name", ""));
	}
}

int cmd_ports(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *names =
		cli->args.words.count ? typed_names(cli) : running_names(cli, &err);
	auto_json cJSON *items = names ? ask_all(cli, "vm.ports", names, &err) : NULL;
	if (!items)
		return cli_fail(cli, &err);
	if (!cli_print_structured(cli, items))
		print_ports(cli, items);
	return complain(cli, items);
}

/* --- health --- */

static void say_health(struct cli *cli, const cJSON *item)
{
	const cJSON *health = json_get(item, "health"), *problem;
	const char *name = json_str(item, "name", "");
	if (json_bool(health, "ok", false)) {
		if (!cli->quiet)
			cli_say(cli, "%s: well\n", name);
		return;
	}
	cli_say(cli, "%s: not well\n", name);
	cJSON_ArrayForEach(problem, json_get(health, "problems"))
	{
		if (cJSON_IsString(problem))
			cli_say(cli, "  %s\n", problem->valuestring);
	}
}

int cmd_health(struct cli *cli)
{
	struct error err = { 0 };
	int status = STATUS_DONE;
	auto_json cJSON *names = typed_names(cli);
	auto_json cJSON *items = ask_all(cli, "vm.health", names, &err);
	if (!items)
		return cli_fail(cli, &err);
	bool structured = cli_print_structured(cli, items);
	const cJSON *item;
	cJSON_ArrayForEach(item, items)
	{
		const cJSON *health = json_get(item, "health");
		if (!health)
			continue;
		if (!structured)
			say_health(cli, item);
		if (!json_bool(health, "ok", false))
			status = STATUS_DIFFERS;
	}
	return worse(status, complain(cli, items));
}

/* --- ping --- */

int cmd_ping_guest(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *names = typed_names(cli);
	auto_json cJSON *items = ask_all(cli, "vm.ping", names, &err);
	if (!items)
		return cli_fail(cli, &err);
	const cJSON *item;
	bool structured = cli_print_structured(cli, items);
	cJSON_ArrayForEach(item, items)
	{
		const cJSON *ping = json_get(item, "ping");
		if (ping && !structured && !cli->quiet)
			cli_say(cli, "%s: answered in %" PRId64 " ms, up for %.1f s\n",
				json_str(item, "name", ""), json_int(ping, "took_ms", 0),
				(double)json_int(ping, "uptime_ms", 0) / 1000);
	}
	return complain(cli, items);
}
