/* history: who wanted what, when. Going back there is cmd_apply.c's rollback. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/term.h"
#include "base/units.h"
#include "schema/vm_spec.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define LIMIT	  50
#define LIMIT_MAX 100000

static char *time_text(int64_t at_ms)
{
	time_t at = (time_t)(at_ms / 1000);
	struct tm then;
	char text[32];
	localtime_r(&at, &then);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &then);
	return xstrdup(text);
}

int revision_parse(const char *text, int64_t *ret, struct error *err)
{
	uint64_t rev;
	if (units_parse_u64(text, &rev, err) < 0 || rev == 0 || rev > INT64_MAX)
		return error_set(err, ERROR_INVALID,
				 "'%.40s' is not the number of a revision, see banger history",
				 text);
	*ret = (int64_t)rev;
	return 0;
}

/* --- the list --- */

static int fetch_list(struct cli *cli, size_t limit, cJSON **ret, struct error *err)
{
	auto_json cJSON *all = cJSON_CreateArray();
	int64_t below = 0;
	size_t count = 0;
	do {
		auto_json cJSON *params = cJSON_CreateObject();
		auto_json cJSON *page = NULL;
		if (cli->args.words.count)
			json_add_str(params, "name", cli->args.words.at[0]);
		if (below)
			json_add_int(params, "below", below);
		if (conn_call(cli, "history", params, &page, err) < 0)
			return -1;
		cJSON *items = cJSON_GetObjectItemCaseSensitive(page, "items");
		for (cJSON *item; count < limit && (item = cJSON_DetachItemFromArray(items, 0));) {
			cJSON_AddItemToArray(all, item);
			count++;
		}
		int64_t next = json_int(page, "next", 0);
		if (next && below && next >= below)
			return error_set(err, ERROR_SYSTEM, "bangerd sent a list without an end");
		below = next;
	} while (below && count < limit);
	*ret = take_ptr(&all);
	return 0;
}

static void add_row(struct table *table, const cJSON *revision)
{
	const char *source = json_str(revision, "source", "");
	const char *kind = json_str(revision, "kind", "");
	auto_free char *when = time_text(json_int(revision, "at_ms", 0));
	table_cellf(table, "%" PRId64, json_int(revision, "rev", 0));
	table_cell(table, when);
	table_cell(table, json_str(revision, "who", NULL));
	table_cell(table, json_str(revision, "stack", NULL));
	table_cellf(table, "%s%s%s", kind, source[0] ? " " : "", source);
	table_cell(table, json_str(revision, "summary", NULL));
}

int cmd_history(struct cli *cli)
{
	struct error err = { 0 };
	uint64_t limit = LIMIT;
	const char *limit_text = cli_value(cli, "limit", NULL);
	/* A number is a revision: VMs are asked for by name often, and called 12 hardly ever. */
	if (cli->args.words.count &&
	    strspn(cli->args.words.at[0], "0123456789") == strlen(cli->args.words.at[0]))
		return cmd_history_show(cli);
	if (limit_text && (units_parse_u64(limit_text, &limit, &err) < 0 || limit > LIMIT_MAX))
		return cli_misused(cli, "--limit: '%.40s' is not a number of revisions",
				   limit_text);
	auto_json cJSON *list = NULL;
	if (fetch_list(cli, limit, &list, &err) < 0)
		return cli_fail(cli, &err);
	if (cli_print_structured(cli, list))
		return STATUS_DONE;
	bool names = cli->quiet || cli->output == OUTPUT_NAME;
	static const char *const titles[] = { "WHEN", "WHO", "STACK", "SOURCE", "CHANGE" };
	auto_table struct table table = { 0 };
	table_column(&table, "REV", true);
	for (size_t i = 0; i < ARRAY_COUNT(titles); i++)
		table_column(&table, titles[i], false);
	const cJSON *revision;
	cJSON_ArrayForEach(revision, list)
	{
		if (names)
			cli_say(cli, "%" PRId64 "\n", json_int(revision, "rev", 0));
		else
			add_row(&table, revision);
	}
	if (!names)
		table_print(&table, cli);
	return STATUS_DONE;
}

/* --- one of them --- */

static int fetch_revision(struct cli *cli, int64_t rev, cJSON **ret, struct error *err)
{
	auto_json cJSON *whole = NULL;
	auto_free char *after = NULL;
	do {
		auto_json cJSON *params = cJSON_CreateObject();
		auto_json cJSON *page = NULL;
		json_add_int(params, "rev", rev);
		if (after)
			json_add_str(params, "after", after);
		if (conn_call(cli, "history.show", params, &page, err) < 0)
			return -1;
		const char *next = json_str(page, "next", NULL);
		if (next && after && strcmp(next, after) <= 0)
			return error_set(err, ERROR_SYSTEM, "bangerd sent a list without an end");
		free(after);
		after = xstrdup(next);
		cJSON_DeleteItemFromObject(page, "next");
		cJSON *items = cJSON_GetObjectItemCaseSensitive(page, "items");
		cJSON *to = cJSON_GetObjectItemCaseSensitive(whole, "items");
		for (cJSON *item; whole && (item = cJSON_DetachItemFromArray(items, 0));)
			cJSON_AddItemToArray(to, item);
		if (!whole)
			whole = take_ptr(&page);
	} while (after);
	*ret = take_ptr(&whole);
	return 0;
}

static void print_vm(struct cli *cli, const cJSON *vm)
{
	auto_buf struct buf line = BUF_INIT, clean = BUF_INIT;
	bool before = cJSON_IsObject(json_get(vm, "before"));
	bool after = cJSON_IsObject(json_get(vm, "after"));
	const char *from = json_str(vm, "stack_before", ""), *to = json_str(vm, "stack_after", "");
	const char *colour = !before ? TERM_GREEN : !after ? TERM_RED : TERM_YELLOW;
	buf_addf(&line, "  %c %-14s", !before ? '+' : !after ? '-' : '~', json_str(vm, "name", ""));
	if (before && after && strcmp(from, to) != 0)
		buf_addf(&line, "  stack %s -> %s", from[0] ? from : "none", to[0] ? to : "none");
	if (!before || !after)
		buf_addf(&line, "  %s", json_str(vm, "summary", ""));
	const cJSON *change;
	cJSON_ArrayForEach(change, json_get(vm, "changes"))
	{
		buf_addf(&line, "  %s %s -> %s", json_str(change, "key", ""),
			 json_str(change, "from", ""), json_str(change, "to", ""));
	}
	term_clean(&clean, line.data);
	cli_say(cli, "%s%s%s\n", cli->colour ? colour : "", clean.data,
		cli->colour ? TERM_RESET : "");
}

static void print_revision(struct cli *cli, const cJSON *shown)
{
	const cJSON *head = json_get(shown, "revision");
	auto_free char *when = time_text(json_int(head, "at_ms", 0));
	const char *stack = json_str(head, "stack", ""), *source = json_str(head, "source", "");
	auto_buf struct buf clean = BUF_INIT;
	term_clean(&clean, source);
	cli_say(cli, "revision %" PRId64 "  %s  by %s (uid %" PRId64 ")\n",
		json_int(head, "rev", 0), when, json_str(head, "who", ""),
		json_int(head, "uid", 0));
	cli_say(cli, "%s%s%s%s%s\n\n", json_str(head, "kind", ""), source[0] ? " of " : "",
		clean.data, stack[0] ? ", stack " : "", stack);
	const cJSON *vm;
	cJSON_ArrayForEach(vm, json_get(shown, "items"))
	{
		print_vm(cli, vm);
	}
}

/* What was wanted then as a file that `apply` would take. */
static int print_specs(struct cli *cli, int64_t rev, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *first = NULL;
	auto_json cJSON *list = NULL;
	json_add_int(params, "rev", rev);
	if (conn_call(cli, "history.specs", params, &first, err) < 0 ||
	    conn_list(cli, "history.specs", params, &list, err) < 0)
		return -1;
	size_t count = 0, room = (size_t)cJSON_GetArraySize(list) + 1;
	auto_free struct vm_spec **specs = xcalloc(room, sizeof(struct vm_spec *));
	auto_free const struct vm_spec **shown = xcalloc(room, sizeof(struct vm_spec *));
	int failed = 0;
	for (const cJSON *item = list->child; item && !failed; item = item->next) {
		specs[count] = vm_spec_from_json(item, err);
		shown[count] = specs[count];
		failed = specs[count] ? 0 : -1;
		count += !failed;
	}
	const char *stack = json_str(first, "stack", "");
	auto_free char *text =
		failed ? NULL : vm_specs_to_yaml(stack[0] ? stack : NULL, shown, count);
	if (text)
		cli_say(cli, "%s", text);
	for (size_t i = 0; i < count; i++)
		vm_spec_free(specs[i]);
	return failed;
}

int cmd_history_show(struct cli *cli)
{
	struct error err = { 0 };
	int64_t rev = 0;
	auto_json cJSON *shown = NULL;
	if (revision_parse(cli->args.words.at[0], &rev, &err) < 0)
		return cli_misused(cli, "%s", err.text);
	if (cli->output == OUTPUT_YAML)
		return print_specs(cli, rev, &err) < 0 ? cli_fail(cli, &err) : STATUS_DONE;
	if (fetch_revision(cli, rev, &shown, &err) < 0)
		return cli_fail(cli, &err);
	if (!cli_print_structured(cli, shown))
		print_revision(cli, shown);
	return STATUS_DONE;
}
