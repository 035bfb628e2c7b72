/* plan, apply, delete: spec sources from a client against the store. */
#include "daemon/bangerd.h"
#include "base/fs.h"
#include "base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DOCUMENTS_MAX 10000
#define SOURCES_MAX   (64u << 20) /* bytes of all documents */
#define SOURCE_SEALS  (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

struct sources {
	struct buf text;
	struct spec_source *at;
	size_t count;
};

static void sources_clear(struct sources *sources)
{
	buf_clear(&sources->text);
	free(sources->at);
}

/* The documents lie back to back in one sealed memfd; their lengths are in the request. */
static int sources_read(struct request *request, struct sources *ret, struct error *err)
{
	const cJSON *documents = json_get(request->params, "documents");
	size_t count = (size_t)cJSON_GetArraySize(documents);
	*ret = (struct sources){ .text = BUF_INIT };
	if (!cJSON_IsArray(documents) || count > DOCUMENTS_MAX || request->fd_count != 1)
		return error_set(
			err, ERROR_INVALID,
			"a request with sources needs documents (at most %d) and one descriptor",
			DOCUMENTS_MAX);
	/* Reading from anything else (a pipe, a terminal, a slow mount) could keep everybody
	 * waiting, and a text that still changes could be one thing when it is planned and another
	 * later. */
	int seals = fcntl(request->fds[0], F_GET_SEALS);
	if (seals < 0 || (seals & SOURCE_SEALS) != SOURCE_SEALS)
		return error_set(err, ERROR_INVALID, "the descriptor is not a sealed memory file");
	ret->at = xcalloc(count, sizeof(*ret->at));
	lseek(request->fds[0], 0, SEEK_SET);
	if (fs_read_fd(request->fds[0], "the sources", SOURCES_MAX, &ret->text, err) < 0)
		return -1;
	size_t offset = 0;
	const cJSON *document;
	cJSON_ArrayForEach(document, documents)
	{
		int64_t length = json_int(document, "length", -1);
		const char *name = json_str(document, "name", NULL);
		if (!name || length < 0 || (uint64_t)length > ret->text.len - offset)
			return error_set(err, ERROR_INVALID,
					 "the documents do not fit their lengths");
		ret->at[ret->count++] = (struct spec_source){
			.name = name,
			.text = ret->text.data + offset,
			.len = (size_t)length,
			.directory = json_str(document, "directory", NULL),
		};
		offset += (size_t)length;
	}
	return 0;
}

static struct apply_options options_of(const cJSON *params)
{
	return (struct apply_options){
		.prune = json_bool(params, "prune", false),
		.prune_all = json_bool(params, "prune_all", false),
		.adopt = json_bool(params, "adopt", false),
		.take_over = json_bool(params, "take_over", false),
		.allow_data_loss = json_bool(params, "allow_data_loss", false),
		.return_on_failure = json_bool(params, "return_on_failure", false),
		.update_images = json_bool(params, "update_images", false),
		.workspaces = json_get(params, "workspaces"),
		.no_restart = json_bool(params, "no_restart", false),
		.may_restart = json_bool(params, "may_restart", false),
	};
}

struct wanted { /* what a request with sources is about */
	struct spec_set set;
	const char *stack, *source;
	struct apply_options options;
	struct stack_plan plan;
	struct past past; /* of a rollback: where set, stack and source come from */
	cJSON *faults;	  /* non-NULL: the sources are not valid, nothing else is set */
};

static void wanted_clear(struct wanted *wanted)
{
	stack_plan_clear(&wanted->plan);
	spec_set_clear(&wanted->set);
	past_clear(&wanted->past);
	cJSON_Delete(wanted->faults);
}

static int load(struct request *request, struct wanted *wanted, struct error *err)
{
	struct sources sources;
	struct fault_vec faults = { 0 };
	struct spec_context context = request_context(request);
	int failed = sources_read(request, &sources, err);
	if (failed == 0 &&
	    spec_load(sources.at, sources.count, &context, &wanted->set, &faults) < 0) {
		wanted->faults = cJSON_CreateArray();
		for (size_t i = 0; i < faults.count; i++)
			cJSON_AddItemToArray(wanted->faults, fault_to_json(&faults.at[i]));
	}
	faults_clear(&faults);
	sources_clear(&sources);
	return failed;
}

/* A revision that is wanted again. */
static int wanted_past(struct request *request, int64_t rev, struct wanted *wanted,
		       struct error *err)
{
	struct past *past = &wanted->past;
	if (past_load(request->d, rev, past, err) < 0 || past_check(request->d, past, err) < 0)
		return -1;
	for (size_t i = 0; i < past->set.count; i++)
		if (past->set.vms[i]->files.count &&
		    past->set.vms[i]->reader != conn_actor(request->conn).uid &&
		    conn_check_trusted(request->conn,
				       "to go back to a spec with 'files' of somebody else's",
				       err) < 0)
			return -1;
	wanted->options.rollback = rev;
	wanted->stack = past->set.stack;
	wanted->source = past->source;
	return stack_plan_make(request->d, wanted->stack, wanted->source,
			       (const struct vm_spec *const *)past->set.vms, past->set.count,
			       past->complete, &wanted->options, &wanted->plan, err);
}

static int wanted_read(struct request *request, bool delete_named, struct wanted *wanted,
		       struct error *err)
{
	const cJSON *params = request->params;
	*wanted = (struct wanted){ .options = options_of(params) };
	wanted->options.delete_named = delete_named;
	wanted->options.by = conn_actor(request->conn);
	int64_t rollback = json_int(params, "rollback", 0);
	if (rollback)
		return wanted_past(request, rollback, wanted, err);
	if (load(request, wanted, err) < 0)
		return -1;
	if (wanted->faults)
		return 0;
	wanted->stack = wanted->set.stack ? wanted->set.stack : json_str(params, "stack", "");
	wanted->source = json_str(params, "path", "");
	if (!vm_name_valid(wanted->stack))
		return error_set(err, ERROR_INVALID,
				 wanted->stack[0]
					 ? "'%.63s' cannot name a stack (a-z, 0-9, '-'): put "
					   "`stack: NAME` into the file"
					 : "standard input needs `stack: NAME`%s",
				 wanted->stack);
	return stack_plan_make(request->d, wanted->stack, wanted->source,
			       (const struct vm_spec *const *)wanted->set.vms, wanted->set.count,
			       true, &wanted->options, &wanted->plan, err);
}

/* Meant to be applied and not done: nothing else of it remains. */
static void say_refused(struct bangerd *d, const struct wanted *wanted)
{
	const struct plan *plan = &wanted->plan.plan;
	vm_note_plan(d, plan, wanted->stack);
	for (size_t i = 0; i < plan->count; i++) {
		const struct vm_plan *vm = &plan->vms[i];
		if (vm->kind == ACTION_REFUSE || (vm->kind == ACTION_ADOPT && plan->needs_adopt))
			vm_event_named(d, EVENT_REFUSED, vm->name, wanted->stack,
				       "stack '%s': refused: %s", wanted->stack,
				       vm->reason[0] ? vm->reason
						     : "it exists and has no owner, needs --adopt");
	}
	if (plan->guard[0])
		event_add(d, EVENT_REFUSED, wanted->stack, "nothing is deleted: %s", plan->guard);
}

static void add_state(struct bangerd *d, const struct wanted *wanted, cJSON *reply)
{
	cJSON *plan = cJSON_GetObjectItemCaseSensitive(reply, "plan");
	struct plan_state state;
	plan_state(d, &wanted->plan, wanted->source, &state);
	json_add_str(plan, "host", state.host);
	json_add_str(plan, "specs", state.specs);
}

static int check_state(struct request *request, const struct wanted *wanted, struct error *err)
{
	struct plan_state now;
	if (!json_get(request->params, "host"))
		return 0;
	plan_state(request->d, &wanted->plan, wanted->source, &now);
	return plan_state_check(&now, request->params, err);
}

HANDLER(rpc_plan)
{
	struct wanted wanted;
	int64_t offset = json_int(request->params, "offset", 0);
	bool delete_named = json_bool(request->params, "delete", false);
	int failed = wanted_read(request, delete_named, &wanted, err);
	if (failed == 0 && !wanted.faults && !offset && json_bool(request->params, "meant", false))
		say_refused(request->d, &wanted);
	if (failed == 0) {
		*ret = cJSON_CreateObject();
		if (wanted.faults)
			cJSON_AddItemToObject(*ret, "faults", take_ptr(&wanted.faults));
		else
			cJSON_AddItemToObject(*ret, "plan",
					      plan_page_to_json(&wanted.plan.plan,
								offset > 0 ? (size_t)offset : 0));
		if (json_get(*ret, "plan") && json_bool(request->params, "state", false))
			add_state(request->d, &wanted, *ret);
		auto_free char *note = wanted.past.rev && !offset ? past_note(&wanted.past) : NULL;
		if (note && !plan_is_empty(&wanted.plan.plan))
			json_add_str(*ret, "note", note);
	}
	wanted_clear(&wanted);
	return failed;
}

static int check_digest(struct request *request, const struct wanted *wanted, struct error *err)
{
	const char *digest = json_str(request->params, "digest", NULL);
	char now[17];
	snprintf(now, sizeof(now), "%016" PRIx64, plan_digest(&wanted->plan.plan));
	if (!digest || !strcmp(digest, now))
		return 0;
	return error_set(err, ERROR_CONFLICT,
			 "the plan has moved since it was shown: look at it again");
}

/* A person's apply is all or nothing, but for deletions that the guard holds back. */
static int check_refusals(const struct wanted *wanted, struct error *err)
{
	const struct plan *plan = &wanted->plan.plan;
	for (size_t i = 0; i < plan->count; i++) {
		const struct vm_plan *vm = &plan->vms[i];
		if (vm->kind == ACTION_REFUSE)
			return error_set(err, ERROR_CONFLICT, "vm '%s': %s", vm->name, vm->reason);
		if (vm->kind == ACTION_ADOPT && plan->needs_adopt)
			return error_set(
				err, ERROR_CONFLICT,
				"vm '%s' exists and has no owner: --adopt takes it into stack "
				"'%s'",
				vm->name, wanted->stack);
	}
	return 0;
}

static int first_fault(const struct wanted *wanted, struct error *err)
{
	const cJSON *fault = cJSON_GetArrayItem(wanted->faults, 0);
	return error_set(err, ERROR_INVALID, "%s:%d:%d: %s: %s", json_str(fault, "file", ""),
			 (int)json_int(fault, "line", 0), (int)json_int(fault, "column", 0),
			 json_str(fault, "path", ""), json_str(fault, "text", ""));
}

static int apply_wanted(struct request *request, struct wanted *wanted, cJSON **ret,
			struct error *err)
{
	if (wanted->faults)
		return first_fault(wanted, err);
	if (check_state(request, wanted, err) < 0 || check_digest(request, wanted, err) < 0)
		return -1;
	if (check_refusals(wanted, err) < 0)
		return -1;
	auto_json cJSON *ops = cJSON_CreateArray();
	if (stack_plan_commit(request->d, wanted->stack, wanted->source, &wanted->plan,
			      &wanted->options, ops, err) < 0)
		return -1;
	*ret = cJSON_CreateObject();
	cJSON_AddItemToObject(*ret, "plan", plan_head_to_json(&wanted->plan.plan));
	cJSON_AddItemToObject(*ret, "ops", take_ptr(&ops));
	return 0;
}

static int apply_request(struct request *request, bool delete_named, cJSON **ret, struct error *err)
{
	struct wanted wanted;
	int failed = wanted_read(request, delete_named, &wanted, err);
	if (failed == 0)
		failed = apply_wanted(request, &wanted, ret, err);
	wanted_clear(&wanted);
	return failed;
}

HANDLER(rpc_apply)
{
	return apply_request(request, json_bool(request->params, "delete", false), ret, err);
}

HANDLER(rpc_delete)
{
	return apply_request(request, json_bool(request->params, "delete", true), ret, err);
}
