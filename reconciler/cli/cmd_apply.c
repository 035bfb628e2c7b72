/* validate, diff, apply and delete -f: what files say about VMs. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/plan_file.h"
#include "cli/planned.h"
#include "cli/prepare.h"
#include "cli/sources.h"
#include "cli/wait.h"
#include "schema/spec_load.h"

#include <string.h>

/* A request is the same for plan and for what follows, only the digest is added. */
struct request {
	struct sources sources;
	struct spec_set set; /* for its workspaces; empty when the files are not valid */
	cJSON *params;
	int fd;
};

static void request_clear(struct request *request)
{
	sources_clear(&request->sources);
	spec_set_clear(&request->set);
	cJSON_Delete(request->params);
	cleanup_close(&request->fd);
}
#define auto_request __attribute__((cleanup(request_clear)))

static const struct {
	const char *flag, *key;
} policies[] = {
	{ "prune", "prune" },
	{ "prune-all", "prune_all" },
	{ "adopt", "adopt" },
	{ "take-over", "take_over" },
	{ "allow-data-loss", "allow_data_loss" },
	{ "update-images", "update_images" },
	{ "rollback", "return_on_failure" },
	{ "restart", "may_restart" },
	{ "no-restart", "no_restart" },
};

/* Whether git finds something new is the caller's to look at; what is wrong with the files is said
 * by the daemon, which knows the images too. */
static void look_at_workspaces(struct cli *cli, struct request *request)
{
	const struct spec_context context = { 0 };
	struct fault_vec faults = { 0 };
	auto_free struct spec_source *list = sources_for_load(&request->sources);
	if (spec_load(list, request->sources.docs.count, &context, &request->set, &faults) == 0)
		cJSON_AddItemToObject(request->params, "workspaces",
				      workspaces_look(cli, &request->set));
	faults_clear(&faults);
}

static void add_policies(struct cli *cli, cJSON *params)
{
	for (size_t i = 0; i < ARRAY_COUNT(policies); i++)
		if (command_flag(cli->command, policies[i].flag) && cli_flag(cli, policies[i].flag))
			json_add_bool(params, policies[i].key, true);
}

static int request_read(struct cli *cli, bool deletes, struct request *ret, struct error *err)
{
	if (sources_read(cli, &ret->sources, err) < 0)
		return -1;
	ret->params = cJSON_CreateObject();
	add_policies(cli, ret->params);
	if (!deletes)
		look_at_workspaces(cli, ret);
	ret->fd = sources_to_wire(cli, &ret->sources, ret->params, err);
	return ret->fd < 0 ? -1 : 0;
}

/* Faults have been said already; their error has no text. */
static int fail(struct cli *cli, const struct error *err)
{
	return err->text[0] ? cli_fail(cli, err) : error_exit_status(err->code);
}

static int fetch(struct cli *cli, const struct request *request, struct planned *ret,
		 struct error *err)
{
	return planned_fetch(cli, &request->sources, request->params, request->fd, ret, err);
}

/* --- validate --- */

static void say_valid(struct cli *cli, const struct spec_set *set, const struct fault_vec *faults)
{
	auto_json cJSON *json = cJSON_CreateObject();
	json_add_bool(json, "valid", !faults->count);
	json_add_int(json, "vms", (int64_t)set->count);
	if (set->stack)
		json_add_str(json, "stack", set->stack);
	cJSON_AddItemToObject(json, "faults", faults_to_json(faults));
	if (cli_print_structured(cli, json))
		return;
	faults_print(cli, faults);
	if (faults->count || cli->quiet)
		return;
	if (cli->output == OUTPUT_NAME) {
		for (size_t i = 0; i < set->count; i++)
			cli_say(cli, "%s\n", set->vms[i]->name);
		return;
	}
	cli_say(cli, "valid: %zu VM%s\n", set->count, set->count == 1 ? "" : "s");
}

/* The name that the daemon would take when no file has one. */
static void check_stack_name(const struct sources *sources, struct fault_vec *faults)
{
	if (vm_name_valid(sources->stack))
		return;
	char *text = sources->stack[0]
			     ? xasprintf("the directory's name '%s' cannot name a stack (a-z, 0-9, "
					 "'-'): add 'stack: NAME'",
					 sources->stack)
			     : xstrdup("standard input must name its stack: add 'stack: NAME'");
	fault_vec_push(faults, (struct fault){ .file = xstrdup(sources->docs.at[0].shown),
					       .path = xstrdup("stack"),
					       .text = text });
}

int cmd_validate(struct cli *cli)
{
	struct error err = { 0 };
	auto_sources struct sources sources = { 0 };
	if (sources_read(cli, &sources, &err) < 0)
		return cli_fail(cli, &err);
	auto_free struct spec_source *list = sources_for_load(&sources);
	const struct spec_context context = { 0 };
	struct spec_set set = { 0 };
	struct fault_vec faults = { 0 };
	int status = spec_load(list, sources.docs.count, &context, &set, &faults);
	if (status == 0 && !set.stack)
		check_stack_name(&sources, &faults);
	say_valid(cli, &set, &faults);
	status = faults.count ? STATUS_INVALID : STATUS_DONE;
	spec_set_clear(&set);
	faults_clear(&faults);
	return status;
}

/* --- diff --- */

/* A plan that is kept says what it was made from. */
static int fetch_for_file(struct cli *cli, const char *out, struct request *request,
			  struct planned *ret, struct error *err)
{
	if (out)
		json_add_bool(request->params, "state", true);
	return fetch(cli, request, ret, err);
}

int cmd_diff(struct cli *cli)
{
	struct error err = { 0 };
	const char *out = cli_value(cli, "out", NULL);
	auto_request struct request request = { .fd = -1 };
	auto_planned struct planned planned = { 0 };
	if (request_read(cli, false, &request, &err) < 0 ||
	    fetch_for_file(cli, out, &request, &planned, &err) < 0)
		return fail(cli, &err);
	planned_print(cli, &planned);
	if (out && plan_file_write(out, &request.sources, request.params, planned.json, &err) < 0)
		return cli_fail(cli, &err);
	const struct plan *plan = &planned.plan;
	if (plan->to_create || plan->to_change || plan->to_delete ||
	    (plan->to_adopt && !plan->needs_adopt))
		return STATUS_DIFFERS;
	return plan_is_refused(plan) ? STATUS_REFUSED : STATUS_DONE;
}

/* --- apply, delete -f --- */

/* --restart says yes to restarts, and to nothing else. */
static bool is_agreed(struct cli *cli, const struct plan *plan)
{
	if (cli_flag(cli, "yes"))
		return true;
	bool restart = command_flag(cli->command, "restart") && cli_flag(cli, "restart");
	for (size_t i = 0; i < plan->count; i++) {
		const struct vm_plan *vm = &plan->vms[i];
		bool only_restarts = vm->kind == ACTION_RESTART && vm->worst <= CLASS_RESTART;
		if (vm->disruptive && !(restart && only_restarts))
			return false;
	}
	return true;
}

/* True when the work may begin; else *ret_status is how the command ends. */
static bool may_begin(struct cli *cli, const struct planned *planned, const char *question,
		      int *ret_status)
{
	if (is_agreed(cli, &planned->plan))
		return true;
	*ret_status = STATUS_REFUSED;
	if (!cli->io.in_tty || !cli->io.err_tty) {
		cli_complain(cli, "banger: this interrupts or deletes VMs and there is no terminal "
				  "to ask on");
		cli_hint(cli, "--yes does it without a question");
		return false;
	}
	if (cli_ask(cli, question))
		return true;
	cli_complain(cli, "banger: nothing was done");
	return false;
}

/* The daemon refused. When the plan is another one now, that is why: show it. */
static int explain_refusal(struct cli *cli, const struct request *request,
			   const struct planned *before, const struct error *why)
{
	struct error err = { 0 };
	auto_planned struct planned now = { 0 };
	if (why->code != ERROR_CONFLICT || fetch(cli, request, &now, &err) < 0 ||
	    !strcmp(now.digest, before->digest))
		return fail(cli, why);
	/* A plan that was kept was made for a host that is no more: that is refused, whatever there
	 * is to do. */
	bool kept = json_get(request->params, "host") != NULL;
	if (!kept && plan_is_empty(&now.plan) && !plan_is_refused(&now.plan)) {
		cli_note(cli, "what was planned has been done in the meantime");
		return STATUS_DONE;
	}
	cli_complain(cli, "banger: the plan changed in the meantime, nothing was done; it is now:");
	planned_print(cli, &now);
	return STATUS_REFUSED;
}

static enum wait_goal goal_of(enum action_kind kind)
{
	if (kind == ACTION_DELETE)
		return GOAL_GONE;
	return kind == ACTION_STOP ? GOAL_DOWN : GOAL_UP;
}

/* The daemon is on its way back: nobody should take the end of the failure for the end of it. */
static void follow_rollback(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *list = NULL;
	auto_json cJSON *ops = cJSON_CreateArray();
	auto_wait_items struct wait_item_vec items = { 0 };
	if (conn_list(cli, "op.list", NULL, &list, &err) < 0)
		return;
	const cJSON *op;
	cJSON_ArrayForEach(op, list)
	{
		if (strcmp(json_str(op, "kind", ""), "rollback") != 0)
			continue;
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "name", json_str(op, "name", ""));
		json_add_str(item, "op", json_str(op, "id", ""));
		cJSON_AddItemToArray(ops, item);
	}
	wait_items_add(&items, ops, GOAL_UP);
	if (!items.count || wait_all(cli, &items, 0, &err) != STATUS_DONE)
		return;
	for (size_t i = 0; i < items.count; i++)
		cli_complain(cli, "banger: vm '%s' %s%s", items.at[i].name,
			     items.at[i].success ? "is back to what it was last ready with"
						 : "could not go back: ",
			     items.at[i].success ? "" : items.at[i].err.text);
}

/* Does what planned says and follows it. */
static int carry_out(struct cli *cli, const char *method, struct request *request,
		     const struct planned *planned)
{
	struct error err = { 0 };
	auto_json cJSON *reply = NULL;
	auto_json cJSON *params = cJSON_Duplicate(request->params, true);
	auto_wait_items struct wait_item_vec items = { 0 };
	json_add_str(params, "digest", planned->digest);
	json_add_bool(params, "yes", true);
	lseek(request->fd, 0, SEEK_SET);
	if (conn_call_fd(cli, method, params, request->fd, &reply, &err) < 0)
		return explain_refusal(cli, request, planned, &err);
	const cJSON *op;
	cJSON_ArrayForEach(op, json_get(reply, "ops"))
	{
		wait_items_add(&items, op,
			       goal_of(planned_kind(planned, json_str(op, "name", ""))));
	}
	int status = wait_finish(cli, &items, planned->json);
	if (status != STATUS_DONE && status != STATUS_INTERRUPTED &&
	    json_bool(params, "return_on_failure", false))
		follow_rollback(cli);
	if (status == STATUS_INTERRUPTED || status == STATUS_TIMEOUT || !request->set.count)
		return status;
	if (command_flag(cli->command, "no-wait") && cli_flag(cli, "no-wait"))
		return status;
	return worse(status, workspaces_prepare(cli, &request->set));
}

/* "vm 'web': pending a restart: vcpus 1 -> 2, nat false -> true" */
static void say_pending(struct cli *cli, const struct vm_plan *vm)
{
	auto_buf struct buf text = BUF_INIT;
	for (size_t i = 0; i < vm->changes.count; i++) {
		const struct field_change *change = &vm->changes.at[i];
		if (change->pending)
			buf_addf(&text, "%s%s %s -> %s", text.len ? ", " : "", change->key,
				 change->from, change->to);
	}
	cli_complain(cli, "banger: vm '%s' pending a restart: %s", vm->name, text.data);
}

static void say_refusals(struct cli *cli, const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (plan->vms[i].pending)
			say_pending(cli, &plan->vms[i]);
	for (size_t i = 0; i < plan->count; i++)
		if (plan->vms[i].kind == ACTION_REFUSE)
			cli_complain(cli, "banger: vm '%s' refused: %s", plan->vms[i].name,
				     plan->vms[i].reason);
	if (plan->guard[0])
		cli_complain(cli, "banger: %s", plan->guard);
	if (plan->needs_adopt)
		cli_complain(cli, "banger: VMs of these names exist and belong to no stack: "
				  "--adopt takes them");
}

/* Shows a plan, asks, does it. */
static int do_planned(struct cli *cli, const char *method, const char *question,
		      struct request *request, const struct planned *planned)
{
	int status;
	bool text = cli->output == OUTPUT_TABLE || cli->output == OUTPUT_WIDE;
	if (text && !cli->quiet)
		planned_print(cli, planned);
	if (planned->note)
		cli_note(cli, "%s", planned->note);
	/* All or nothing, but for the deletions that the guard holds back. */
	if (planned->plan.refused || planned->plan.needs_adopt) {
		say_refusals(cli, &planned->plan);
		return STATUS_REFUSED;
	}
	int refused = plan_is_refused(&planned->plan) ? STATUS_REFUSED : STATUS_DONE;
	/* An empty plan is applied as well: it lifts holds and records where the stack lives. */
	if (!may_begin(cli, planned, question, &status))
		return status;
	status = carry_out(cli, method, request, planned);
	if (refused)
		say_refusals(cli, &planned->plan);
	return worse(refused, status);
}

/* Plans, shows, asks, does. */
static int do_request(struct cli *cli, const char *method, const char *question,
		      struct request *request)
{
	struct error err = { 0 };
	auto_planned struct planned planned = { 0 };
	if (json_bool(request->params, "may_restart", false) &&
	    json_bool(request->params, "no_restart", false))
		return cli_misused(cli, "either --restart or --no-restart, not both");
	json_add_bool(request->params, "meant", true);
	if (fetch(cli, request, &planned, &err) < 0)
		return fail(cli, &err);
	return do_planned(cli, method, question, request, &planned);
}

static int plan_and_do(struct cli *cli, const char *method, const char *question)
{
	struct error err = { 0 };
	auto_request struct request request = { .fd = -1 };
	bool deletes = !strcmp(method, "delete");
	if (request_read(cli, deletes, &request, &err) < 0)
		return fail(cli, &err);
	if (deletes)
		json_add_bool(request.params, "delete", true);
	return do_request(cli, method, question, &request);
}

/* The specs are the daemon's own: a request without sources. */
int cmd_rollback(struct cli *cli)
{
	struct error err = { 0 };
	auto_request struct request request = { .fd = -1 };
	int64_t rev;
	if (revision_parse(cli->args.words.at[0], &rev, &err) < 0)
		return cli_misused(cli, "%s", err.text);
	request.params = cJSON_CreateObject();
	json_add_int(request.params, "rollback", rev);
	add_policies(cli, request.params);
	return do_request(cli, "apply", "Do you want to go back to this?", &request);
}

/* What was looked at, and nothing else: the specs are those of the file. */
static int apply_plan_file(struct cli *cli, const char *path)
{
	struct error err = { 0 };
	auto_request struct request request = { .fd = -1 };
	auto_planned struct planned planned = { 0 };
	auto_json cJSON *reply = NULL;
	if (plan_file_read(path, &request.sources, &request.params, &reply, &err) < 0 ||
	    planned_take(reply, &planned, &err) < 0 || plan_file_check(&request.sources, &err) < 0)
		return cli_fail(cli, &err);
	request.fd = sources_to_wire(cli, &request.sources, request.params, &err);
	if (request.fd < 0)
		return cli_fail(cli, &err);
	add_policies(cli, request.params); /* only --rollback is left to say here */
	json_add_str(request.params, "host", json_str(planned.json, "host", ""));
	json_add_str(request.params, "specs", json_str(planned.json, "specs", ""));
	return do_planned(cli, "apply", "Do you want to apply this?", &request, &planned);
}

int cmd_apply(struct cli *cli)
{
	const char *plan = cli_value(cli, "plan", NULL);
	bool more = cli_value(cli, "file", NULL) != NULL;
	for (size_t i = 0; i < ARRAY_COUNT(policies); i++)
		more |= strcmp(policies[i].flag, "rollback") && cli_flag(cli, policies[i].flag);
	if (plan && more)
		return cli_misused(cli, "--plan has its files and options from the plan");
	if (plan)
		return apply_plan_file(cli, plan);
	return plan_and_do(cli, "apply", "Do you want to apply this?");
}

int cmd_delete(struct cli *cli)
{
	bool files = cli_value(cli, "file", NULL) != NULL;
	if (files && cli->args.words.count)
		return cli_misused(cli, "either names or --file, not both");
	if (files)
		return plan_and_do(cli, "delete", "Do you want to delete these VMs?");
	if (!cli->args.words.count)
		return cli_misused(cli, "nothing named: banger delete NAME... or -f FILE");
	return cmd_delete_names(cli);
}
