/* The VM verbs. Imperative commands only write intent and mark the VM; the loop does the rest. */
#include "daemon/sets.h"
#include "base/fs.h"
#include "base/log.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE 200

HANDLER(rpc_vm_list)
{
	(void)err;
	struct bangerd *d = request->d;
	const cJSON *names = json_get(request->params, "names");
	int64_t offset = json_int(request->params, "offset", 0);
	auto_json cJSON *page = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(page, "items");
	if (cJSON_IsArray(names)) {
		const cJSON *name;
		cJSON_ArrayForEach(name, names)
		{
			struct vm *vm = vm_find(d, cJSON_IsString(name) ? name->valuestring : "");
			if (vm) /* one that is gone is no reason to keep quiet about the others */
				cJSON_AddItemToArray(items, vm_to_json(vm));
		}
		*ret = take_ptr(&page);
		return 0;
	}
	size_t from = offset > 0 ? (size_t)offset : 0;
	for (size_t i = from; i < d->vm_count && i < from + PAGE; i++)
		cJSON_AddItemToArray(items, vm_to_json(d->vms[i]));
	if (from + PAGE < d->vm_count)
		json_add_int(page, "next", (int64_t)(from + PAGE));
	*ret = take_ptr(&page);
	return 0;
}

HANDLER(rpc_vm_show)
{
	struct vm *vm = vm_named(request->d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	*ret = cJSON_CreateObject();
	cJSON_AddItemToObject(*ret, "vm", vm_to_json(vm));
	cJSON_AddItemToObject(*ret, "spec", vm_spec_to_json_full(vm->want));
	if (vm->applied)
		cJSON_AddItemToObject(*ret, "applied", vm_spec_to_json_full(vm->applied));
	else
		cJSON_AddNullToObject(*ret, "applied");
	return 0;
}

/* A stack's VM is what its file says: whoever wants it otherwise edits the file. */
static int check_unowned(const struct vm *vm, const char *verb, struct error *err)
{
	if (!vm->row.stack[0])
		return 0;
	return error_set(err, ERROR_CONFLICT, "vm '%s' belongs to stack '%s': to %s it, edit %s",
			 vm->row.name, vm->row.stack, verb, vm->file ? vm->file : "its file");
}

static int check_stays(const struct vm *vm, struct error *err)
{
	if (!vm->row.deleting)
		return 0;
	return error_set(err, ERROR_CONFLICT, "vm '%s' is being deleted", vm->row.name);
}

/* --- create and set --- */

static const char **assignments_of(const cJSON *params, size_t *ret_count)
{
	const cJSON *set = json_get(params, "set");
	const char **list = xcalloc((size_t)cJSON_GetArraySize(set) + 2, sizeof(*list));
	const cJSON *item;
	*ret_count = 0;
	cJSON_ArrayForEach(item, set)
	{
		if (cJSON_IsString(item))
			list[(*ret_count)++] = item->valuestring;
	}
	return list;
}

/* Of a VM that no stack owns. */
static struct revision revision_of(const struct request *request, const char *kind)
{
	return (struct revision){
		.by = conn_actor(request->conn), .kind = kind, .stack = "", .source = ""
	};
}

HANDLER(rpc_vm_create)
{
	struct bangerd *d = request->d;
	const char *name = json_str(request->params, "name", "");
	bool ephemeral = json_bool(request->params, "ephemeral", false);
	if (!vm_name_valid(name))
		return error_set(
			err, ERROR_INVALID,
			"'%.80s' cannot name a VM: a-z, 0-9 and '-', at most 63, beginning "
			"and ending with a letter or digit",
			name);
	const struct vm *known = vm_find(d, name);
	if (known)
		return error_set(err, ERROR_CONFLICT, "vm '%s' %s", name,
				 known->row.deleting ? "is being deleted" : "exists");
	if (d->vm_count >= SPEC_VMS_MAX)
		return error_set(err, ERROR_CONFLICT, "there are %d VMs already", SPEC_VMS_MAX);
	size_t count;
	auto_free const char **set = assignments_of(request->params, &count);
	if (!json_bool(request->params, "start", true))
		set[count++] = "state=stopped";
	struct spec_context context = request_context(request);
	auto_ptr(vm_spec) spec = vm_spec_with(NULL, name, set, count, &context, err);
	if (!spec || order_check(d, "", spec, err) < 0)
		return -1;
	if (ephemeral && spec->protect)
		return error_set(err, ERROR_INVALID,
				 "'protect' and a VM that is taken away by "
				 "itself do not go together");
	auto_revision struct revision revision = revision_of(request, "create");
	if (!ephemeral) /* what goes with its client is no history */
		revision_add(&revision, d, NULL, spec, "");
	struct vm *vm = vm_create(d, "", spec, err);
	if (!vm)
		return -1;
	vm->forget_on_failure = true;
	vm->row.ephemeral = ephemeral;
	if (revision_save(vm, &revision, err) < 0) {
		vm_forget(vm);
		return -1;
	}
	if (ephemeral)
		lease_take(vm, LEASE_LIFE, request->conn);
	pull_forget_failures(d);
	struct op *op = vm_begin_op(vm, "create");
	vm_mark_now(vm);
	converge_schedule_ttl(d);
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "name", name);
	json_add_str(*ret, "op", op->id);
	return 0;
}

static int set_refusal(const struct request *request, const struct plan *plan, struct error *err)
{
	const struct vm_plan *vm = &plan->vms[0];
	if (vm->kind == ACTION_REFUSE)
		return error_set(err, ERROR_CONFLICT, "vm '%s': %s", vm->name, vm->reason);
	if (vm->disruptive && !json_bool(request->params, "restart", false))
		return error_set(err, ERROR_CONFLICT,
				 "vm '%s' runs and this change would %s it: say --yes", vm->name,
				 action_kind_name(vm->kind));
	return 0;
}

HANDLER(rpc_vm_set)
{
	struct bangerd *d = request->d;
	bool dry_run = json_bool(request->params, "dry_run", false);
	struct vm *vm = vm_named_whole(d, json_str(request->params, "name", ""), err);
	if (!vm || check_stays(vm, err) < 0 || check_unowned(vm, "change", err) < 0)
		return -1;
	size_t count;
	auto_free const char **set = assignments_of(request->params, &count);
	struct spec_context context = request_context(request);
	auto_ptr(vm_spec) spec = vm_spec_with(vm->want, vm->row.name, set, count, &context, err);
	if (!spec || order_check(d, "", spec, err) < 0)
		return -1;
	struct apply_options options = { .allow_data_loss = json_bool(request->params,
								      "allow_data_loss", false) };
	/* An unowned VM is a stack of one, without a name. */
	auto_ptr(vm_spec) have = NULL;
	struct plan_member member = { .name = vm->row.name, .want = spec };
	vm_state(vm, &member.have, &have);
	if (!vm_spec_equal(vm->want, spec))
		member.have.exit_current = member.have.expired_current = false;
	struct plan_options plan_options = {
		.policy = { .can = vm_capabilities(d), .allow_data_loss = options.allow_data_loss },
		.watched = true, /* a set does not lift a hold */
	};
	struct plan plan;
	plan_stack("", &member, 1, &plan_options, &plan);
	int failed = dry_run ? 0 : set_refusal(request, &plan, err);
	if (failed == 0)
		*ret = cJSON_CreateObject();
	if (failed == 0 && !dry_run) {
		auto_revision struct revision revision = revision_of(request, "set");
		revision_add(&revision, d, vm, spec, "");
		vm_want(vm, spec);
		vm->row.allow_data_loss = options.allow_data_loss;
		failed = revision_save(vm, &revision, err);
		vm_mark_now(vm);
		converge_schedule_ttl(d);
		if (!plan_is_empty(&plan))
			json_add_str(*ret, "op", vm_begin_op(vm, "set")->id);
	}
	if (failed == 0)
		cJSON_AddItemToObject(*ret, "plan", plan_page_to_json(&plan, 0));
	plan_clear(&plan);
	return failed;
}

/* --- start, stop, restart, kill, delete, prune --- */

static void lift_marks(struct vm *vm)
{
	vm->row.hold = HOLD_NONE;
	free(vm->row.exit_reason);
	vm->row.exit_reason = NULL;
	if (vm->row.expired_revision) {
		vm->row.expired_revision = 0;
		vm->row.created_ms = clock_wall_ms(); /* its time begins anew */
		converge_schedule_ttl(vm->d);
	}
}

static int want_state(struct vm *vm, enum vm_state_wanted state, struct revision *revision,
		      struct error *err)
{
	if (vm->want->state == state)
		return 0;
	if (check_unowned(vm, state == STATE_RUNNING ? "start" : "stop", err) < 0)
		return -1;
	auto_ptr(vm_spec) spec = vm_spec_copy(vm->want);
	spec->state = state;
	if (!vm->row.ephemeral)
		revision_add(revision, vm->d, vm, spec, "");
	vm_want(vm, spec);
	return 0;
}

static int start_one(struct request *request, struct vm *vm, const struct op **ret_op,
		     struct error *err)
{
	auto_revision struct revision revision = revision_of(request, "start");
	if (check_stays(vm, err) < 0)
		return -1;
	if (want_state(vm, STATE_RUNNING, &revision, err) < 0)
		return -1;
	lift_marks(vm);
	if (revision_save(vm, &revision, err) < 0)
		return -1;
	pull_forget_failures(vm->d);
	vm_mark_now(vm);
	bool runs = vm->pid && vm->ready && !vm->job && !vm->op;
	*ret_op = runs ? NULL : vm_begin_op(vm, "start");
	return 0;
}

HANDLER(rpc_vm_start)
{
	(void)err;
	*ret = each_name(request, start_one, false);
	return 0;
}

static int hold(struct vm *vm, enum hold_kind kind, struct error *err)
{
	if (check_stays(vm, err) < 0)
		return -1;
	int before = vm->row.hold;
	ballast_give(vm->d);
	vm->row.hold = kind;
	if (vm_save(vm, err) < 0) {
		vm->row.hold = before;
		return -1;
	}
	/* A start that is under way is given up at its next step. */
	if (vm->job && vm->job->kind != ACTION_STOP)
		atomic_store(&vm->job->cancel, true);
	return 0;
}

static int stop_one(struct request *request, struct vm *vm, const struct op **ret_op,
		    struct error *err)
{
	(void)request;
	if (hold(vm, HOLD_STOP, err) < 0)
		return -1;
	vm_mark_now(vm);
	*ret_op = vm->pid || vm->job || vm->op ? vm_begin_op(vm, "stop") : NULL;
	return 0;
}

HANDLER(rpc_vm_stop)
{
	(void)err;
	*ret = each_name(request, stop_one, false);
	return 0;
}

static int restart_one(struct request *request, struct vm *vm, const struct op **ret_op,
		       struct error *err)
{
	if (start_one(request, vm, ret_op, err) < 0)
		return -1;
	if (vm->pid)
		vm->restart_asked = true;
	if (!*ret_op)
		*ret_op = vm_begin_op(vm, "restart");
	return 0;
}

HANDLER(rpc_vm_restart)
{
	(void)err;
	*ret = each_name(request, restart_one, false);
	return 0;
}

static int signal_number(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = { { "KILL", SIGKILL }, { "TERM", SIGTERM }, { "INT", SIGINT },
			{ "HUP", SIGHUP },   { "QUIT", SIGQUIT }, { "ABRT", SIGABRT } };
	if (!strncmp(name, "SIG", 3))
		name += 3;
	for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
		if (!strcmp(name, signals[i].name))
			return signals[i].number;
	return -1;
}

static int kill_one(struct request *request, struct vm *vm, const struct op **ret_op,
		    struct error *err)
{
	const char *name = json_str(request->params, "signal", "KILL");
	int number = signal_number(name);
	if (number < 0) {
		return error_set(
			err, ERROR_INVALID,
			"'%.20s' is no signal for a VM: KILL, TERM, INT, HUP, QUIT or ABRT", name);
	}
	if (!vm->pid)
		return error_set(err, ERROR_CONFLICT, "vm '%s' is not running", vm->row.name);
	if (hold(vm, HOLD_KILL, err) < 0)
		return -1;
	/* Not marked: should it survive the signal, the next resync ends it as a stop does. */
	vm->touched = true;
	*ret_op = vm_begin_op(vm, "kill");
	proc_signal(vm->pidfd, number);
	return 0;
}

HANDLER(rpc_vm_kill)
{
	(void)err;
	*ret = each_name(request, kill_one, true);
	return 0;
}

static int delete_vm(struct request *request, struct vm *vm, const struct op **ret_op,
		     struct error *err)
{
	if (vm->want->protect || (vm->applied && vm->applied->protect)) {
		vm_event(vm, EVENT_REFUSED, "delete: it is protected");
		snprintf(vm->note, sizeof(vm->note), "delete was refused: it is protected");
		vm->d->any_note = true;
		return error_set(err, ERROR_CONFLICT,
				 "vm '%s' is protected: banger set %s protect=false first",
				 vm->row.name, vm->row.name);
	}
	bool before = vm->row.deleting;
	auto_revision struct revision revision = revision_of(request, "delete");
	if (!vm->row.ephemeral)
		revision_add(&revision, vm->d, vm, NULL, "");
	ballast_give(vm->d);
	vm->row.deleting = true;
	if (revision_save(vm, &revision, err) < 0) {
		vm->row.deleting = before;
		return -1;
	}
	vm_mark_now(vm);
	*ret_op = vm_begin_op(vm, "delete");
	return 0;
}

static int delete_one(struct request *request, struct vm *vm, const struct op **ret_op,
		      struct error *err)
{
	if (check_unowned(vm, "delete", err) < 0)
		return -1;
	return delete_vm(request, vm, ret_op, err);
}

HANDLER(rpc_vm_delete)
{
	(void)err;
	*ret = each_name(request, delete_one, true);
	return 0;
}

HANDLER(rpc_vm_prune)
{
	(void)err;
	struct bangerd *d = request->d;
	*ret = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(*ret, "items");
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		struct error bad = { 0 };
		bool starting = vm->dirty || vm->op || (vm->retry && loop_timer_is_set(vm->retry));
		if (vm->row.stack[0] || vm->pid || vm->job || vm->row.deleting || starting)
			continue;
		const struct op *op = NULL;
		int failed = delete_vm(request, vm, &op, &bad);
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "name", vm->row.name);
		if (failed == 0)
			json_add_str(item, "op", op->id);
		else
			cJSON_AddItemToObject(item, "error", error_to_json(&bad));
		cJSON_AddItemToArray(items, item);
	}
	return 0;
}
