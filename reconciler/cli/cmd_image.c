/* image pull, list, show, delete. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/table.h"
#include "cli/wait.h"
#include "base/units.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <string.h>

int cmd_image_pull(struct cli *cli)
{
	auto_wait_items struct wait_item_vec items = { 0 };
	for (size_t i = 0; i < cli->args.words.count; i++) {
		struct error err = { 0 };
		const char *name = cli->args.words.at[i];
		auto_json cJSON *reply = NULL;
		auto_json cJSON *params = cJSON_CreateObject();
		json_add_str(params, "name", name);
		json_add_bool(params, "force", cli_flag(cli, "force"));
		if (conn_call(cli, "image.pull", params, &reply, &err) < 0) {
			wait_items_add_failed(&items, name, &err);
			continue;
		}
		json_add_str(reply, "name", name);
		wait_items_add(&items, reply, GOAL_OTHER);
	}
	return wait_finish(cli, &items, NULL);
}

static void size_cell(struct table *table, int64_t bytes)
{
	char text[UNITS_TEXT_MAX];
	if (bytes <= 0)
		table_cell(table, NULL);
	else if (bytes < (int64_t)MIB)
		table_cell(table, units_format_size((uint64_t)bytes, text));
	else
		table_cellf(table, "%" PRId64 "Mi", bytes / (int64_t)MIB);
}

static void add_row(struct table *table, const cJSON *image, bool wide)
{
	const char *digest = json_str(image, "digest", NULL);
	int64_t pulled = json_int(image, "pulled_ms", 0);
	auto_free char *age = table_age(pulled, clock_wall_ms());
	table_cell(table, json_str(image, "name", NULL));
	table_cell(table, digest && digest[0] ? "yes" : "no");
	size_cell(table, json_int(image, "size", 0));
	size_cell(table, json_int(image, "min_memory", 0));
	table_cellf(table, "%d", cJSON_GetArraySize(json_get(image, "used_by")));
	table_cell(table, age);
	if (wide) {
		table_cell(table, digest);
		table_cell(table, json_str(image, "kernel", NULL));
	}
	table_cell(table, json_str(image, "description", NULL));
}

int cmd_image_list(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	if (conn_call(cli, "image.list", NULL, &reply, &err) < 0)
		return cli_fail(cli, &err);
	const cJSON *list = json_get(reply, "items"), *image;
	if (cli_print_structured(cli, list))
		return STATUS_DONE;
	bool wide = cli->output == OUTPUT_WIDE, names = cli->quiet || cli->output == OUTPUT_NAME;
	auto_table struct table table = { 0 };
	table_column(&table, "NAME", false);
	table_column(&table, "PULLED", false);
	table_column(&table, "SIZE", true);
	table_column(&table, "MEMORY", true);
	table_column(&table, "VMS", true);
	table_column(&table, "AGE", true);
	if (wide) {
		table_column(&table, "DIGEST", false);
		table_column(&table, "KERNEL", false);
	}
	table_column(&table, "DESCRIPTION", false);
	cJSON_ArrayForEach(image, list)
	{
		if (names)
			cli_say(cli, "%s\n", json_str(image, "name", ""));
		else
			add_row(&table, image, wide);
	}
	if (!names)
		table_print(&table, cli);
	return STATUS_DONE;
}

int cmd_image_show(struct cli *cli)
{
	int status = STATUS_DONE;
	auto_json cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < cli->args.words.count; i++) {
		struct error err = { 0 };
		cJSON *reply = NULL;
		auto_json cJSON *params = cJSON_CreateObject();
		json_add_str(params, "name", cli->args.words.at[i]);
		if (conn_call(cli, "image.show", params, &reply, &err) < 0)
			status = worse(status, cli_fail(cli, &err));
		else
			cJSON_AddItemToArray(list, reply);
	}
	if (!list->child)
		return status;
	/* What a person reads is the same, only without JSON's signs. */
	if (cli->output != OUTPUT_JSON)
		cli->output = OUTPUT_YAML;
	cli_print_structured(cli, cli->args.words.count == 1 ? list->child : list);
	return status;
}

int cmd_image_delete(struct cli *cli)
{
	int status = STATUS_DONE;
	for (size_t i = 0; i < cli->args.words.count; i++) {
		struct error err = { 0 };
		auto_json cJSON *reply = NULL;
		auto_json cJSON *params = cJSON_CreateObject();
		json_add_str(params, "name", cli->args.words.at[i]);
		if (conn_call(cli, "image.delete", params, &reply, &err) < 0)
			status = worse(status, cli_fail(cli, &err));
		else if (!cli->quiet)
			cli_say(cli, "%s deleted\n", cli->args.words.at[i]);
	}
	return status;
}
