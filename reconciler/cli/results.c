/* How the work on several VMs ended, said in one way for every command. */
#include "cli/conn.h"
#include "cli/wait.h"

#include <string.h>

#define STATES_MAX 200 /* asked for at the end; of more, nobody reads every line */

static void add_error(cJSON *json, const struct error *err)
{
	cJSON *error = cJSON_AddObjectToObject(json, "error");
	json_add_str(error, "code", error_code_name(err->code));
	json_add_str(error, "text", err->text);
}

static cJSON *item_to_json(const struct wait_item *item)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "name", item->name);
	if (item->op[0])
		json_add_str(json, "op", item->op);
	if (item->kind[0])
		json_add_str(json, "kind", item->kind);
	if (item->stage[0])
		json_add_str(json, "stage", item->stage);
	json_add_bool(json, "done", item->done);
	json_add_bool(json, "success", item->success);
	cJSON_AddNumberToObject(json, "seconds", (double)item->elapsed_ms / 1000);
	if (item->done && !item->success)
		add_error(json, &item->err);
	return json;
}

/* An apply is one object with its plan, everything else a list. */
static void print_json(struct cli *cli, const struct wait_item_vec *items, const cJSON *plan)
{
	auto_json cJSON *object = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(object, "results");
	for (size_t i = 0; i < items->count; i++)
		cJSON_AddItemToArray(list, item_to_json(&items->at[i]));
	if (plan)
		cJSON_AddItemToObject(object, "plan", cJSON_Duplicate(plan, true));
	cli_print_structured(cli, plan ? object : list);
}

static const char *past_of(const struct wait_item *item)
{
	static const struct {
		const char *kind, *past;
	} words[] = {
		{ "delete", "deleted" }, { "stop", "stopped" },	    { "kill", "killed" },
		{ "live", "changed" },	 { "adopt", "adopted" },    { "pull", "pulled" },
		{ "create", "created" }, { "start", "started" },    { "restart", "restarted" },
		{ "set", "changed" },	 { "reimage", "reimaged" },
	};
	if (!strcmp(item->stage, "ready") || !strcmp(item->stage, "stopped"))
		return item->stage;
	if (item->goal == GOAL_GONE)
		return "deleted";
	if (!item->op[0])
		return item->goal == GOAL_UP ? "ready" : "stopped";
	for (size_t i = 0; i < ARRAY_COUNT(words); i++)
		if (!strcmp(item->kind, words[i].kind))
			return words[i].past;
	return "done";
}

/* What became of VMs that should be up: ready, or stopped when their spec says so. One page of
 * names at a time; when it cannot be told, the operation's own words do. */
static void learn_states(struct cli *cli, struct wait_item_vec *items)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *list = NULL;
	struct error ignored;
	cJSON *names = cJSON_AddArrayToObject(params, "names");
	for (size_t i = 0; i < items->count; i++)
		if (items->at[i].success && items->at[i].op[0] && items->at[i].goal == GOAL_UP &&
		    cJSON_GetArraySize(names) < STATES_MAX)
			cJSON_AddItemToArray(names, cJSON_CreateString(items->at[i].name));
	if (!names->child || conn_list(cli, "vm.list", params, &list, &ignored) < 0)
		return;
	const cJSON *vm = list->child;
	for (size_t i = 0; i < items->count && vm; i++) {
		if (strcmp(items->at[i].name, json_str(vm, "name", "")) != 0)
			continue;
		const char *state = json_str(vm, "state", "");
		if (!strcmp(state, "ready") || !strcmp(state, "stopped"))
			snprintf(items->at[i].stage, sizeof(items->at[i].stage), "%s", state);
		vm = vm->next;
	}
}

static void say_success(struct cli *cli, const struct wait_item *item)
{
	const char *past = past_of(item);
	if (cli->output == OUTPUT_NAME) {
		cli_say(cli, "%s\n", item->name);
		return;
	}
	cli_say(cli, "%s %s", item->name, past);
	if (item->op[0])
		cli_say(cli, " in %.1fs", (double)item->elapsed_ms / 1000);
	else
		cli_say(cli, " already");
	if (!strcmp(past, "ready"))
		cli_say(cli, " (ssh: banger ssh %s)", item->name);
	cli_say(cli, "\n");
}

static int say_item(struct cli *cli, const struct wait_item *item, bool structured)
{
	if (item->success) {
		if (!structured && !cli->quiet)
			say_success(cli, item);
		return STATUS_DONE;
	}
	if (item->goal == GOAL_OTHER)
		return cli_fail(cli, &item->err);
	int status = cli_fail_vm(cli, item->name, &item->err);
	if (item->goal == GOAL_UP && !strcmp(item->stage, "boot"))
		cli_hint(cli, "'banger logs %s' shows what its console said", item->name);
	return status;
}

/* Said when the wait ends before the work: by whom it goes on and how to come back to it. */
static void say_open(struct cli *cli, const struct wait_item_vec *items, const char *why)
{
	auto_buf struct buf ids = BUF_INIT;
	size_t open = 0, named = 0;
	for (size_t i = 0; i < items->count; i++) {
		if (items->at[i].done)
			continue;
		if (!items->at[i].op_lost && named++ < 20)
			buf_addf(&ids, " %s", items->at[i].op);
		open++;
	}
	cli_complain(cli, "banger: %s; the daemon goes on with %zu of %zu", why, open,
		     items->count);
	if (named && named <= 20)
		cli_hint(cli, "'banger op wait%s' waits again, 'banger ps' shows how it stands",
			 ids.data);
	else
		cli_hint(cli, "'banger ps' and 'banger op list' show how it stands");
}

static int say_ids(struct cli *cli, const struct wait_item_vec *items, const cJSON *plan)
{
	bool structured = cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML;
	int status = STATUS_DONE;
	if (structured)
		print_json(cli, items, plan);
	for (size_t i = 0; i < items->count; i++) {
		const struct wait_item *item = &items->at[i];
		if (item->done)
			status = worse(status, say_item(cli, item, structured));
		else if (!structured && cli->output == OUTPUT_NAME)
			cli_say(cli, "%s\n", item->op);
		else if (!structured)
			cli_say(cli, "%s %s\n", item->name, item->op);
	}
	return status;
}

int wait_finish(struct cli *cli, struct wait_item_vec *items, const cJSON *plan)
{
	struct error err = { 0 };
	uint64_t timeout_ms;
	bool structured = cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML;
	int worst = STATUS_DONE;
	if (cli_duration(cli, "timeout", &timeout_ms, &err) < 0)
		return cli_misused(cli, "%s", err.text);
	if (command_flag(cli->command, "no-wait") && cli_flag(cli, "no-wait"))
		return say_ids(cli, items, plan);
	int ended = wait_all(cli, items, timeout_ms, &err);
	if (ended == STATUS_DONE)
		learn_states(cli, items);
	if (structured)
		print_json(cli, items, plan);
	for (size_t i = 0; i < items->count; i++)
		if (items->at[i].done)
			worst = worse(worst, say_item(cli, &items->at[i], structured));
	if (ended < 0)
		return worse(worst, cli_fail(cli, &err));
	if (ended == STATUS_TIMEOUT)
		say_open(cli, items, timeout_ms ? "the time is over" : "waited long enough");
	if (ended == STATUS_INTERRUPTED)
		say_open(cli, items, "interrupted");
	return worse(worst, ended);
}
