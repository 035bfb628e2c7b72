/* create, set, start, stop, restart, kill, delete, prune: one VM or several by name. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/key_files.h"
#include "cli/planned.h"
#include "cli/spec_flags.h"
#include "cli/wait.h"

#include <signal.h>
#include <string.h>

#define NAMES_MAX 500 /* in one request */

/* --- several names --- */

static int call_names(struct cli *cli, const char *method, size_t first, size_t count,
		      const char *signal_name, enum wait_goal goal, struct wait_item_vec *items,
		      struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	cJSON *names = cJSON_AddArrayToObject(params, "names");
	for (size_t i = first; i < first + count; i++)
		cJSON_AddItemToArray(names, cJSON_CreateString(cli->args.words.at[i]));
	if (signal_name)
		json_add_str(params, "signal", signal_name);
	if (conn_call(cli, method, params, &reply, err) < 0)
		return -1;
	const cJSON *list = json_get(reply, "items");
	wait_items_add(items, list ? list : reply, goal);
	return 0;
}

/* The same name twice is one VM. */
static void drop_repeats(struct word_vec *words)
{
	size_t kept = 0;
	for (size_t i = 0; i < words->count; i++) {
		size_t j = 0;
		while (j < kept && strcmp(words->at[j], words->at[i]) != 0)
			j++;
		if (j == kept)
			words->at[kept++] = words->at[i];
	}
	words->count = kept;
}

static int fan_out(struct cli *cli, const char *method, const char *signal_name,
		   enum wait_goal goal)
{
	struct error err = { 0 };
	auto_wait_items struct wait_item_vec items = { 0 };
	drop_repeats(&cli->args.words);
	for (size_t i = 0; i < cli->args.words.count; i += NAMES_MAX) {
		size_t count = cli->args.words.count - i;
		if (count > NAMES_MAX)
			count = NAMES_MAX;
		if (call_names(cli, method, i, count, signal_name, goal, &items, &err) < 0)
			return cli_fail(cli, &err);
	}
	return wait_finish(cli, &items, NULL);
}

int cmd_start(struct cli *cli)
{
	return fan_out(cli, "vm.start", NULL, GOAL_UP);
}

int cmd_stop(struct cli *cli)
{
	return fan_out(cli, "vm.stop", NULL, GOAL_DOWN);
}

int cmd_restart(struct cli *cli)
{
	return fan_out(cli, "vm.restart", NULL, GOAL_UP);
}

int cmd_delete_names(struct cli *cli)
{
	return fan_out(cli, "vm.delete", NULL, GOAL_GONE);
}

int cmd_kill(struct cli *cli)
{
	const char *name = cli_value(cli, "signal", "KILL");
	if (!strncmp(name, "SIG", 3))
		name += 3;
	return fan_out(cli, "vm.kill", name, GOAL_DOWN);
}

/* --- prune --- */

static int list_idle(struct cli *cli, cJSON **ret, struct error *err)
{
	auto_json cJSON *idle = cJSON_CreateArray();
	auto_json cJSON *list = NULL;
	if (conn_list(cli, "vm.list", NULL, &list, err) < 0)
		return -1;
	const cJSON *vm;
	cJSON_ArrayForEach(vm, list)
	{
		if (!json_str(vm, "stack", "")[0] && json_int(vm, "pid", 0) <= 0)
			cJSON_AddItemToArray(idle, cJSON_CreateString(json_str(vm, "name", "")));
	}
	*ret = take_ptr(&idle);
	return 0;
}

int cmd_prune(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *idle = NULL;
	auto_json cJSON *reply = NULL;
	auto_wait_items struct wait_item_vec items = { 0 };
	if (list_idle(cli, &idle, &err) < 0)
		return cli_fail(cli, &err);
	bool text = cli->output == OUTPUT_TABLE || cli->output == OUTPUT_WIDE;
	if (!cJSON_GetArraySize(idle)) {
		if (text && !cli->quiet)
			cli_say(cli, "Nothing to prune.\n");
		return text ? STATUS_DONE : wait_finish(cli, &items, NULL);
	}
	if (!cli_flag(cli, "yes")) {
		const cJSON *name;
		cJSON_ArrayForEach(name, idle)
		{
			cli_complain(cli, "  - %s", name->valuestring);
		}
		if (!cli->io.in_tty || !cli->io.err_tty) {
			cli_complain(cli, "banger: these VMs would be deleted and there is no "
					  "terminal to ask on");
			cli_hint(cli, "--yes does it without a question");
			return STATUS_REFUSED;
		}
		if (!cli_ask(cli, "Do you want to delete these VMs and their disks?")) {
			cli_complain(cli, "banger: nothing was done");
			return STATUS_REFUSED;
		}
	}
	if (conn_call(cli, "vm.prune", NULL, &reply, &err) < 0)
		return cli_fail(cli, &err);
	wait_items_add(&items, json_get(reply, "items"), GOAL_GONE);
	return wait_finish(cli, &items, NULL);
}

/* --- create, set --- */

/* Flags that are fields of the spec; the rest of the two commands' flags is not. */
static const char *const field_flags[] = {
	"image",      "kernel",	     "kernel-args", "vcpus", "memory",
	"memory-max", "system-disk", "work-disk",   "nat",   "ready",
	"restart",    "hypervisor",  "network",	    "ttl",   "protect",
};

static void add_assignment(cJSON *list, const char *key, const char *value)
{
	auto_free char *text = xasprintf("%s=%s", key, value);
	for (char *at = text; *at && *at != '='; at++)
		if (*at == '-')
			*at = '_';
	cJSON_AddItemToArray(list, cJSON_CreateString(text));
}

int spec_flags(struct cli *cli, cJSON *list, struct error *err)
{
	auto_buf struct buf ports = BUF_INIT;
	const char *value;
	for (size_t i = 0; i < ARRAY_COUNT(field_flags); i++)
		if ((value = cli_value(cli, field_flags[i], NULL)))
			add_assignment(list, field_flags[i], value);
	for (size_t i = 0; (value = cli_value_at(cli, "port", i)); i++)
		buf_addf(&ports, "%s%s", i ? "," : "", value);
	if (ports.len)
		add_assignment(list, "ports", ports.data);
	for (size_t i = 0; (value = cli_value_at(cli, "set", i)); i++) {
		if (!strchr(value, '='))
			return error_set(err, ERROR_INVALID, "--set '%.80s' is not KEY=VALUE",
					 value);
		cJSON_AddItemToArray(list, cJSON_CreateString(value));
	}
	return 0;
}

/* The same, and words behind the name. */
static int spec_assignments(struct cli *cli, cJSON *list, struct error *err)
{
	const char *value;
	if (spec_flags(cli, list, err) < 0)
		return -1;
	for (size_t i = 1; i < cli->args.words.count; i++) {
		value = cli->args.words.at[i];
		if (!strchr(value, '='))
			return error_set(err, ERROR_INVALID, "'%.80s' is not KEY=VALUE", value);
		cJSON_AddItemToArray(list, cJSON_CreateString(value));
	}
	return 0;
}

int cmd_create(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	auto_wait_items struct wait_item_vec items = { 0 };
	bool start = !cli_flag(cli, "no-start");
	json_add_str(params, "name", cli->args.words.at[0]);
	if (spec_assignments(cli, cJSON_AddArrayToObject(params, "set"), &err) < 0)
		return cli_misused(cli, "%s", err.text);
	key_files_of_set(cli, params);
	json_add_bool(params, "start", start);
	if (conn_call(cli, "vm.create", params, &reply, &err) < 0)
		return cli_fail_vm(cli, cli->args.words.at[0], &err);
	wait_items_add(&items, reply, start ? GOAL_UP : GOAL_DOWN);
	return wait_finish(cli, &items, NULL);
}

/* Whether a change that interrupts the VM may be made; asks where it can. */
static int confirm_set(struct cli *cli, const struct planned *planned)
{
	if (!plan_is_disruptive(&planned->plan) || cli_flag(cli, "yes"))
		return STATUS_DONE;
	if (!cli->io.in_tty || !cli->io.err_tty) {
		cli_complain(cli, "banger: this interrupts the VM and there is no terminal to ask "
				  "on");
		cli_hint(cli, "--yes does it without a question");
		return STATUS_REFUSED;
	}
	if (cli_ask(cli, "Do you want to change this?"))
		return STATUS_DONE;
	cli_complain(cli, "banger: nothing was done");
	return STATUS_REFUSED;
}

static int set_and_wait(struct cli *cli, cJSON *params, const struct planned *planned)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	auto_wait_items struct wait_item_vec items = { 0 };
	const char *name = cli->args.words.at[0];
	cJSON_DeleteItemFromObject(params, "dry_run");
	json_add_bool(params, "restart", true);
	json_add_str(params, "digest", planned->digest);
	if (conn_call(cli, "vm.set", params, &reply, &err) < 0)
		return cli_fail_vm(cli, name, &err);
	if (!json_get(reply, "name"))
		json_add_str(reply, "name", name);
	wait_items_add(&items, reply, GOAL_UP);
	return wait_finish(cli, &items, planned->json);
}

int cmd_set(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	auto_planned struct planned planned = { 0 };
	const char *name = cli->args.words.at[0];
	cJSON *set = cJSON_AddArrayToObject(params, "set");
	json_add_str(params, "name", name);
	if (spec_assignments(cli, set, &err) < 0)
		return cli_misused(cli, "%s", err.text);
	if (!cJSON_GetArraySize(set))
		return cli_misused(cli, "nothing to change: banger set %s KEY=VALUE...", name);
	key_files_of_set(cli, params);
	if (cli_flag(cli, "allow-data-loss"))
		json_add_bool(params, "allow_data_loss", true);
	json_add_bool(params, "dry_run", true);
	if (conn_call(cli, "vm.set", params, &reply, &err) < 0 ||
	    planned_take(reply, &planned, &err) < 0)
		return cli_fail_vm(cli, name, &err);
	bool text = cli->output == OUTPUT_TABLE || cli->output == OUTPUT_WIDE;
	if (text && !cli->quiet)
		planned_print(cli, &planned);
	if (planned.plan.refused) {
		error_set(&err, ERROR_CONFLICT, "%s", planned.plan.vms[0].reason);
		return cli_fail_vm(cli, name, &err);
	}
	int status = confirm_set(cli, &planned);
	return status == STATUS_DONE ? set_and_wait(cli, params, &planned) : status;
}
