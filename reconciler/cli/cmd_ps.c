/* ps and show: what there is. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/prepare.h"
#include "cli/table.h"
#include "cli/term.h"
#include "base/units.h"
#include "schema/vm_spec.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
	const cJSON *x = *(cJSON *const *)a, *y = *(cJSON *const *)b;
	return strcmp(json_str(x, "name", ""), json_str(y, "name", ""));
}

/* A list in the order of its names; the daemon's order is its own business. */
static void sort_by_name(cJSON *list)
{
	size_t count = (size_t)cJSON_GetArraySize(list);
	auto_free cJSON **all = xcalloc(count + 1, sizeof(cJSON *));
	for (size_t i = 0; i < count; i++)
		all[i] = cJSON_DetachItemFromArray(list, 0);
	if (count)
		qsort(all, count, sizeof(cJSON *), by_name);
	for (size_t i = 0; i < count; i++)
		cJSON_AddItemToArray(list, all[i]);
}

static const char *state_colour(const char *state)
{
	if (!strcmp(state, "ready"))
		return TERM_GREEN;
	if (!strcmp(state, "failed"))
		return TERM_RED;
	if (!strcmp(state, "stopped") || !strcmp(state, "exited") || !strcmp(state, "expired"))
		return TERM_DIM;
	return TERM_YELLOW;
}

static void add_ports(struct buf *out, const cJSON *vm)
{
	const cJSON *port;
	cJSON_ArrayForEach(port, json_get(vm, "ports"))
	{
		if (cJSON_IsString(port))
			buf_addf(out, "%s%s", out->len ? "," : "", port->valuestring);
	}
}

/* Sizes that are no round number of bytes are rounded for a table. */
static void size_cell(struct table *table, int64_t bytes)
{
	char text[UNITS_TEXT_MAX];
	if (bytes <= 0)
		table_cell(table, "");
	else if (bytes % (int64_t)MIB && bytes > (int64_t)MIB)
		table_cellf(table, "%" PRId64 "Mi", bytes / (int64_t)MIB);
	else
		table_cell(table, units_format_size((uint64_t)bytes, text));
}

/* What it has, or would have, and how far that can go: "256Mi", "768Mi/1Gi". */
static void memory_cell(struct table *table, const cJSON *vm)
{
	int64_t want = json_int(vm, "memory", 0), now = json_int(vm, "memory_now", 0);
	int64_t most = json_int(vm, "memory_max", 0);
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];
	if (most <= want)
		size_cell(table, want);
	else
		table_cellf(table, "%s/%s", units_format_size((uint64_t)(now > 0 ? now : want), a),
			    units_format_size((uint64_t)most, b));
}

static void add_wide(struct table *table, const cJSON *vm)
{
	const char *accel = json_str(vm, "accel", NULL);
	int64_t pid = json_int(vm, "pid", 0), boot = json_int(vm, "boot_ms", 0);
	table_cell(table, json_str(vm, "id", NULL));
	table_cell(table, json_str(vm, "address", NULL));
	if (pid > 0)
		table_cellf(table, "%" PRId64, pid);
	else
		table_cell(table, NULL);
	table_cellf(table, "%s%s%s", json_str(vm, "hypervisor", ""), accel ? "/" : "",
		    accel ? accel : "");
	if (boot > 0)
		table_cellf(table, "%.1fs", (double)boot / 1000);
	else
		table_cell(table, NULL);
	table_cell(table, json_str(vm, "file", NULL));
}

static const char *below_home(const char *path, const char **ret_tilde)
{
	const char *home = getenv("HOME");
	size_t len = home ? strlen(home) : 0;
	bool below = len > 1 && !strncmp(path, home, len) && path[len] == '/';
	*ret_tilde = below ? "~" : "";
	return below ? path + len : path;
}

/* "~/src/shop (moved)"; returns why it is not as it should be, "" when it is. Caller frees. */
static char *add_workspace(struct table *table, const cJSON *vm)
{
	static const char *const words[] = { [WORKSPACE_NONE] = "",
					     [WORKSPACE_FRESH] = "",
					     [WORKSPACE_MISSING] = " (missing)",
					     [WORKSPACE_OTHER] = " (other)",
					     [WORKSPACE_MOVED] = " (moved)" };
	const cJSON *record = json_get(vm, "workspace");
	auto_ptr(vm_spec) wanted = workspace_wanted(vm);
	auto_free char *commit = NULL;
	enum workspace_standing standing =
		workspace_stands(wanted ? &wanted->workspace : NULL, record, &commit);
	const char *tilde, *path = record   ? json_str(record, "root", "")
				   : wanted ? wanted->workspace.source
					    : "";
	path = below_home(path, &tilde);
	if (standing == WORKSPACE_NONE)
		table_cell(table, NULL);
	else
		table_cellf(table, "%s%s%s", tilde, path, words[standing]);
	return workspace_why(standing, record, commit);
}

static void add_row(struct table *table, const cJSON *vm, bool wide)
{
	auto_buf struct buf ports = BUF_INIT;
	const char *state = json_str(vm, "state", "");
	const char *hold = json_str(vm, "hold", NULL), *reason = json_str(vm, "reason", "");
	auto_free char *age = table_age(json_int(vm, "created_ms", 0), clock_wall_ms());
	table_cell(table, json_str(vm, "name", NULL));
	table_cell(table, state);
	table_colour(table, state_colour(state));
	table_cell(table, json_bool(vm, "ready", false) ? "yes" : "no");
	table_cell(table, json_str(vm, "image", NULL));
	table_cellf(table, "%" PRId64, json_int(vm, "vcpus", 0));
	memory_cell(table, vm);
	add_ports(&ports, vm);
	table_cell(table, ports.data);
	table_cell(table, json_str(vm, "stack", NULL));
	auto_free char *stale = add_workspace(table, vm);
	table_cell(table, age);
	if (wide)
		add_wide(table, vm);
	if (!reason[0] && !hold && stale[0])
		table_cell(table, stale);
	else if (!reason[0] && hold)
		table_cellf(table, "held by banger %s", hold);
	else
		table_cell(table, reason);
}

static void print_vms(struct cli *cli, const cJSON *list)
{
	static const char *const wide_titles[] = { "ID",	 "ADDRESS", "PID",
						   "HYPERVISOR", "BOOT",    "FILE" };
	auto_table struct table table = { 0 };
	bool wide = cli->output == OUTPUT_WIDE;
	table_column(&table, "NAME", false);
	table_column(&table, "STATE", false);
	table_column(&table, "READY", false);
	table_column(&table, "IMAGE", false);
	table_column(&table, "VCPUS", true);
	table_column(&table, "MEMORY", true);
	table_column(&table, "PORTS", false);
	table_column(&table, "STACK", false);
	table_column(&table, "WORKSPACE", false);
	table_column(&table, "AGE", true);
	for (size_t i = 0; wide && i < ARRAY_COUNT(wide_titles); i++)
		table_column(&table, wide_titles[i], false);
	table_column(&table, "REASON", false);
	const cJSON *vm;
	cJSON_ArrayForEach(vm, list)
	{
		add_row(&table, vm, wide);
	}
	table_print(&table, cli);
}

int cmd_ps(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *list = NULL;
	auto_json cJSON *params = cJSON_CreateObject();
	if (cli->args.words.count) {
		cJSON *names = cJSON_AddArrayToObject(params, "names");
		for (size_t i = 0; i < cli->args.words.count; i++)
			cJSON_AddItemToArray(names, cJSON_CreateString(cli->args.words.at[i]));
	}
	if (conn_list(cli, "vm.list", params, &list, &err) < 0)
		return cli_fail(cli, &err);
	sort_by_name(list);
	if (cli_print_structured(cli, list))
		return STATUS_DONE;
	if (cli->quiet || cli->output == OUTPUT_NAME) {
		const cJSON *vm;
		cJSON_ArrayForEach(vm, list)
		{
			cli_say(cli, "%s\n", json_str(vm, "name", ""));
		}
		return STATUS_DONE;
	}
	print_vms(cli, list);
	return STATUS_DONE;
}

/* --- show --- */

static void show_line(struct cli *cli, const char *title, const char *text)
{
	auto_buf struct buf clean = BUF_INIT;
	if (!text || !text[0])
		return;
	term_clean(&clean, text);
	cli_say(cli, "%-12s %s\n", title, clean.data);
}

static void show_number(struct cli *cli, const char *title, int64_t number)
{
	auto_free char *text = xasprintf("%" PRId64, number);
	if (number > 0)
		show_line(cli, title, text);
}

/* The spec field by field; what has not been applied yet is marked. */
static void show_spec(struct cli *cli, const cJSON *spec, const cJSON *applied)
{
	const cJSON *field;
	cli_say(cli, "%s\n", "spec:");
	cJSON_ArrayForEach(field, spec)
	{
		const cJSON *now =
			cJSON_IsObject(applied) ? json_get(applied, field->string) : field;
		auto_buf struct buf clean = BUF_INIT;
		auto_free char *json = json_print(field);
		bool empty = (cJSON_IsArray(field) || cJSON_IsObject(field)) && !field->child;
		if (!strcmp(field->string, "name") || empty)
			continue;
		if (cJSON_IsString(field) && !field->valuestring[0])
			continue;
		term_clean(&clean, cJSON_IsString(field) ? field->valuestring : json);
		cli_say(cli, "  %-12s %s%s\n", field->string, clean.data,
			now && cJSON_Compare(now, field, true) ? "" : "   (not applied yet)");
	}
}

static void show_times(struct cli *cli, const cJSON *vm)
{
	int64_t now = clock_wall_ms(), started = json_int(vm, "started_ms", 0);
	int64_t boot = json_int(vm, "boot_ms", 0);
	auto_free char *age = table_age(json_int(vm, "created_ms", 0), now);
	auto_free char *up = table_age(started, now);
	auto_free char *seconds = xasprintf("%.1fs", (double)boot / 1000);
	show_line(cli, "age", age);
	if (json_int(vm, "pid", 0) > 0 && started > 0)
		show_line(cli, "up", up);
	if (boot > 0)
		show_line(cli, "boot", seconds);
}

/* "kernel 1.9s, mounted 2.1s, …": since the guest's kernel started. */
static void show_boot(struct cli *cli, const cJSON *boot)
{
	auto_buf struct buf text = BUF_INIT;
	const cJSON *phase;
	cJSON_ArrayForEach(phase, boot)
	{
		if (cJSON_IsNumber(phase))
			buf_addf(&text, "%s%s %.1fs", text.len ? ", " : "", phase->string,
				 phase->valuedouble / 1000);
	}
	show_line(cli, "phases", text.data);
}

static void show_text(struct cli *cli, const cJSON *shown)
{
	static const char *const keys[] = { "state",   "reason",  "hold",	"stack",
					    "file",    "image",	  "digest",	"id",
					    "address", "boot_id", "hypervisor", "accel" };
	const cJSON *vm = json_get(shown, "vm");
	auto_buf struct buf ports = BUF_INIT;
	show_line(cli, "name", json_str(vm, "name", ""));
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
		show_line(cli, keys[i], json_str(vm, keys[i], NULL));
	show_number(cli, "ssh_port", json_int(vm, "ssh_port", 0));
	show_number(cli, "pid", json_int(vm, "pid", 0));
	show_number(cli, "restarts", json_int(vm, "restarts", 0));
	show_times(cli, vm);
	show_boot(cli, json_get(vm, "boot"));
	add_ports(&ports, vm);
	show_line(cli, "ports", ports.data);
	show_spec(cli, json_get(shown, "spec"), json_get(shown, "applied"));
}

/* All of them as one file that `apply` would take. */
static int show_yaml(struct cli *cli, const cJSON *list, struct error *err)
{
	size_t count = 0;
	const char *stack = NULL;
	auto_free struct vm_spec **specs =
		xcalloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(struct vm_spec *));
	auto_free const struct vm_spec **shown =
		xcalloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(struct vm_spec *));
	int failed = 0;
	const cJSON *item;
	cJSON_ArrayForEach(item, list)
	{
		specs[count] = vm_spec_from_json(json_get(item, "spec"), err);
		if (!specs[count]) {
			failed = -1;
			break;
		}
		shown[count] = specs[count];
		count++;
		const char *owner = json_str(json_get(item, "vm"), "stack", NULL);
		stack = count == 1 || (owner && stack && !strcmp(owner, stack)) ? owner : NULL;
	}
	auto_free char *text = failed ? NULL : vm_specs_to_yaml(stack, shown, count);
	if (text)
		cli_say(cli, "%s", text);
	for (size_t i = 0; i < count; i++)
		vm_spec_free(specs[i]);
	return failed;
}

static int print_shown(struct cli *cli, const cJSON *list)
{
	struct error err = { 0 };
	if (cli->output == OUTPUT_YAML)
		return show_yaml(cli, list, &err) < 0 ? cli_fail(cli, &err) : STATUS_DONE;
	/* One name gives an object, several a list. */
	if (cli_print_structured(cli, cli->args.words.count == 1 ? list->child : list))
		return STATUS_DONE;
	const cJSON *item;
	cJSON_ArrayForEach(item, list)
	{
		if (cli->output == OUTPUT_NAME) {
			cli_say(cli, "%s\n", json_str(json_get(item, "vm"), "name", ""));
			continue;
		}
		if (item != list->child)
			cli_say(cli, "\n");
		show_text(cli, item);
	}
	return STATUS_DONE;
}

int cmd_show(struct cli *cli)
{
	int status = STATUS_DONE;
	auto_json cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < cli->args.words.count; i++) {
		struct error err = { 0 };
		cJSON *reply = NULL;
		auto_json cJSON *params = cJSON_CreateObject();
		json_add_str(params, "name", cli->args.words.at[i]);
		if (conn_call(cli, "vm.show", params, &reply, &err) < 0)
			status = worse(status, cli_fail_vm(cli, cli->args.words.at[i], &err));
		else
			cJSON_AddItemToArray(list, reply);
	}
	return list->child ? worse(status, print_shown(cli, list)) : status;
}
