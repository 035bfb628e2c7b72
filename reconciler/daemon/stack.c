/* A spec set against the store: which plan it makes, and writing that plan down as intent. */
#include "daemon/sets.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHORT_COMMIT	7
#define GUARD_WINDOW_MS 600000 /* ten minutes */

struct spec_context stack_context(struct bangerd *d)
{
	if (!d->hints) {
		size_t count = 0;
		while (image_catalog[count].name)
			count++;
		d->hints = xcalloc(count, sizeof(*d->hints));
		for (size_t i = 0; i < count; i++)
			d->hints[i] =
				(struct image_hint){ .name = image_catalog[i].name,
						     .min_memory = image_catalog[i].min_memory };
		d->hint_count = count;
	}
	return (struct spec_context){ .images = d->hints, .image_count = d->hint_count };
}

/* What a member of the group names is opened by himself: his client hands the text over. */
static char *handed_key(void *cookie, const char *path, struct error *err)
{
	const cJSON *texts = cookie;
	const char *text =
		cJSON_GetArraySize(texts) <= RPC_KEY_FILES_MAX ? json_str(texts, path, NULL) : NULL;
	if (text)
		return xstrdup(text);
	error_set(err, ERROR_INVALID, "you cannot read '%.200s' (its text did not come along)",
		  path);
	return NULL;
}

struct spec_context request_context(const struct request *request)
{
	struct spec_context context = stack_context(request->d);
	const char *home = json_str(request->params, "home", NULL);
	if (home && home[0] == '/')
		context.home = home;
	if (conn_is_trusted(request->conn))
		return context;
	context.reader = (uint32_t)conn_actor(request->conn).uid;
	context.read_file = handed_key;
	/* Read and no more. */
	context.cookie = (void *)(uintptr_t)json_get(request->params, "key_files");
	return context;
}

struct store_stack *stack_find(struct bangerd *d, const char *name)
{
	for (size_t i = 0; i < d->stacks.count; i++)
		if (!strcmp(d->stacks.at[i].name, name))
			return &d->stacks.at[i];
	return NULL;
}

int stack_put(struct bangerd *d, const char *name, const char *source, bool watched,
	      struct error *err)
{
	struct store_stack *stack = stack_find(d, name);
	if (stack && !strcmp(stack->source, source) && stack->watched == watched)
		return 0;
	if (store_stack_put(d->store, name, source, watched, err) < 0)
		return -1;
	if (!stack)
		stack = store_stack_vec_push(&d->stacks,
					     (struct store_stack){ .name = xstrdup(name) });
	free(stack->source);
	stack->source = xstrdup(source);
	stack->watched = watched;
	return 0;
}

int stack_remove(struct bangerd *d, const char *name, struct error *err)
{
	struct store_stack *stack = stack_find(d, name);
	if (!stack)
		return 0;
	if (store_stack_remove(d->store, name, err) < 0)
		return -1;
	free(stack->name);
	free(stack->source);
	*stack = d->stacks.at[--d->stacks.count];
	return 0;
}

size_t stack_size(const struct bangerd *d, const char *name)
{
	size_t size = 0;
	for (size_t i = 0; i < d->vm_count; i++)
		size += !d->vms[i]->row.deleting && !strcmp(d->vms[i]->row.stack, name);
	return size;
}

/* A watched directory would bring back at its next look what a rollback has just left. */
static int check_rollback(const struct store_stack *known, const char *source,
			  const struct apply_options *options, struct error *err)
{
	if (!options->return_on_failure || !known || !known->watched ||
	    strcmp(known->source, source) != 0)
		return 0;
	return error_set(
		err, ERROR_CONFLICT,
		"'%s' is watched and would undo a rollback at once: change the file back, or "
		"banger unwatch first",
		source);
}

static int check_source(struct bangerd *d, const char *stack, const char *source,
			const struct apply_options *options, struct error *err)
{
	const struct store_stack *known = stack_find(d, stack);
	bool same = known && !strcmp(known->source, source);
	if (check_rollback(known, source, options, err) < 0)
		return -1;
	if (same && known->watched && options->delete_named)
		return error_set(
			err, ERROR_CONFLICT,
			"'%s' is watched and would bring its VMs back: banger unwatch first, or "
			"say `vms: {}` there",
			source);
	if (!known || same || options->take_over)
		return 0;
	return error_set(err, ERROR_CONFLICT,
			 "stack '%s' comes from '%s', not from '%s': name this one otherwise "
			 "(stack:), or move the stack here with --take-over",
			 stack, known->source[0] ? known->source : "standard input",
			 source[0] ? source : "standard input");
}

static bool image_moved_on(struct bangerd *d, const struct vm *vm, const struct vm_spec *want)
{
	struct image image = { 0 };
	struct error err;
	if (!vm->row.image_digest || strcmp(vm->want->image, want->image) ||
	    image_find(&d->host.images, want->image, &image, &err) < 0)
		return false;
	bool moved = strcmp(image.digest, vm->row.image_digest) != 0;
	image_clear(&image);
	return moved;
}

/* The record is the client's word, and so is what lies at the source now. */
static void look_at_workspace(const struct vm *vm, const struct vm_spec *want, const cJSON *found,
			      struct plan_workspace *ret)
{
	const struct workspace_spec *spec = &want->workspace;
	const char *host = json_str(found, "commit", "");
	struct error ignored;
	if (!spec->source[0] || !host[0])
		return;
	ret->known = true;
	snprintf(ret->host, sizeof(ret->host), "%.*s", SHORT_COMMIT, host);
	if (!vm->row.workspace)
		return;
	auto_json cJSON *is = json_parse(vm->row.workspace, strlen(vm->row.workspace), &ignored);
	snprintf(ret->prepared, sizeof(ret->prepared), "%.*s", SHORT_COMMIT,
		 json_str(is, "base", ""));
	ret->as_wanted = workspace_is_as_wanted(spec, json_str(found, "source", ""), is);
}

/* vm: what has the name already, or NULL. */
static void add_member(struct bangerd *d, struct stack_plan *plan, const char *name, struct vm *vm,
		       const struct vm_spec *want, const struct apply_options *options)
{
	struct plan_member *member = &plan->members[plan->count];
	struct vm_spec **have = &plan->haves[plan->count++];
	*member = (struct plan_member){ .name = name, .want = want, .have = { .stack = "" } };
	*have = NULL;
	if (!vm || vm->row.deleting)
		return;
	vm_state(vm, &member->have, have);
	/* A changed spec is a new revision: what was recorded against the old one is past. */
	if (want && !vm_spec_equal(vm->want, want))
		member->have.exit_current = member->have.expired_current = false;
	if (want && options->workspaces)
		look_at_workspace(vm, want, json_get(options->workspaces, name),
				  &member->have.workspace);
	if (want && options->update_images && image_moved_on(d, vm, want))
		member->have.image_outdated = true;
}

/* Both lists are sorted by name: one merge. */
static void collect_members(struct bangerd *d, const char *stack,
			    const struct vm_spec *const *specs, size_t count, bool complete,
			    const struct apply_options *options, struct stack_plan *plan)
{
	size_t s = 0, v = 0;
	while (s < count || (complete && v < d->vm_count)) {
		struct vm *vm = v < d->vm_count ? d->vms[v] : NULL;
		int order = s == count ? 1 : !vm ? -1 : strcmp(specs[s]->name, vm->row.name);
		v += order >= 0;
		if (!vm || order <= 0) {
			const struct vm_spec *want = options->delete_named ? NULL : specs[s];
			add_member(d, plan, specs[s]->name, order ? NULL : vm, want, options);
			s++;
		} else if (complete && !vm->row.deleting && !strcmp(vm->row.stack, stack)) {
			add_member(d, plan, vm->row.name, vm, NULL, options);
		}
	}
}

int stack_plan_make(struct bangerd *d, const char *stack, const char *source,
		    const struct vm_spec *const *specs, size_t count, bool complete,
		    const struct apply_options *options, struct stack_plan *ret, struct error *err)
{
	if (check_source(d, stack, source, options, err) < 0)
		return -1;
	int64_t largest = 0;
	if (store_stack_size_largest(d->store, stack, clock_wall_ms() - GUARD_WINDOW_MS, &largest,
				     err) < 0)
		return -1;
	size_t now = stack_size(d, stack);
	struct plan_options plan_options = {
		.policy = { .can = vm_capabilities(d),
			    .allow_data_loss = options->allow_data_loss,
			    .no_restart = options->no_restart,
			    .may_restart = options->may_restart },
		.prune = options->prune || options->prune_all || options->delete_named,
		.prune_all = options->prune_all || options->delete_named,
		.adopt = options->adopt,
		.watched = options->watched,
		.absent = options->rollback ? "was not there then" : NULL,
		.largest_recent = (size_t)largest > now ? (size_t)largest : now,
	};
	*ret = (struct stack_plan){
		.members = xcalloc(count + d->vm_count, sizeof(*ret->members)),
		.haves = xcalloc(count + d->vm_count, sizeof(struct vm_spec *)),
	};
	collect_members(d, stack, specs, count, complete && !options->delete_named, options, ret);
	plan_stack(stack, ret->members, ret->count, &plan_options, &ret->plan);
	return 0;
}

void stack_plan_clear(struct stack_plan *plan)
{
	plan_clear(&plan->plan);
	for (size_t i = 0; i < plan->count; i++)
		vm_spec_free(plan->haves[i]);
	free(plan->haves);
	free(plan->members);
	*plan = (struct stack_plan){ 0 };
}

static bool same_file(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* Intent for one VM; true when its row changed. */
static bool set_intent(struct bangerd *d, const char *stack, const struct plan_member *member,
		       const struct vm_plan *action, const struct apply_options *options,
		       struct revision *revision, struct vm **ret_vm, struct error *err)
{
	struct vm *vm = *ret_vm = vm_find(d, member->name);
	if (action->kind == ACTION_REFUSE || action->kind == ACTION_KEEP)
		return false;
	if (action->kind == ACTION_DELETE) {
		revision_add(revision, d, vm, NULL, stack);
		vm->row.deleting = true;
		return true;
	}
	if (!vm) {
		revision_add(revision, d, NULL, member->want, stack);
		*ret_vm = vm_create(d, stack, member->want, err);
		if (*ret_vm)
			(*ret_vm)->row.allow_data_loss = options->allow_data_loss;
		return *ret_vm != NULL;
	}
	const struct vm_spec *want = action->instead ? action->instead : member->want;
	bool changed = vm->row.deleting || strcmp(vm->row.stack, stack) != 0 ||
		       !vm_spec_equal(vm->want, want) || !same_file(vm->file, member->want->file);
	vm->forget_on_failure = false;
	if (changed)
		revision_add(revision, d, vm, want, stack);
	if (vm->row.deleting)
		vm_revive(vm);
	if (changed) {
		vm_want(vm, want);
		free(vm->row.stack);
		vm->row.stack = xstrdup(stack);
	}
	if (options->allow_data_loss && !vm->row.allow_data_loss)
		vm->row.allow_data_loss = changed = true;
	if (!options->watched && vm->row.hold) {
		vm->row.hold = HOLD_NONE;
		changed = true;
	}
	vm->may_restart = options->may_restart && action->kind == ACTION_LIVE;
	if (member->have.image_outdated && !action->pending)
		vm->reimage_asked = true;
	if (options->return_on_failure && rollback_note(vm))
		changed = true;
	return changed;
}

static bool has_work(enum action_kind kind)
{
	return kind != ACTION_NONE && kind != ACTION_KEEP && kind != ACTION_WAIT &&
	       kind != ACTION_REFUSE;
}

static void begin_op(struct vm *vm, const struct vm_plan *action, cJSON *ops)
{
	bool under_way = vm->job || (vm->pid && !vm->ready);
	if (!has_work(action->kind) && !under_way)
		return;
	vm_begin_op(vm, action_kind_name(has_work(action->kind) ? action->kind : ACTION_START));
	cJSON *item = cJSON_CreateObject();
	json_add_str(item, "name", vm->row.name);
	json_add_str(item, "op", vm->op->id);
	cJSON_AddItemToArray(ops, item);
}

static int write_intent(struct bangerd *d, const char *stack, struct stack_plan *plan,
			const struct apply_options *options, struct revision *revision, cJSON *ops,
			struct error *err)
{
	size_t m = 0;
	for (size_t i = 0; i < plan->plan.count; i++) {
		const struct vm_plan *action = &plan->plan.vms[i];
		while (m < plan->count && strcmp(plan->members[m].name, action->name))
			m++;
		if (m == plan->count)
			BUG("plan for '%s' without a member", action->name);
		struct vm *vm;
		bool changed = set_intent(d, stack, &plan->members[m], action, options, revision,
					  &vm, err);
		if (!vm)
			return -1; /* only a creation has none, and it says why it failed */
		if (changed && vm_save(vm, err) < 0)
			return -1;
		/* A scan that brings nothing new is no reason to try a failed action at once. */
		if (changed || !options->watched)
			vm_mark_now(vm);
		else if (has_work(action->kind))
			vm_mark(vm);
		if (ops)
			begin_op(vm, action, ops);
	}
	return 0;
}

static const char *kind_of(const struct apply_options *options)
{
	if (options->rollback)
		return "rollback";
	return options->watched ? "watch" : options->delete_named ? "delete" : "apply";
}

static void say_applied(struct bangerd *d, const struct revision *revision,
			const struct apply_options *options)
{
	const char *source = revision->source[0] ? revision->source : "standard input";
	if (revision->rev && options->rollback)
		event_add(d, EVENT_ROLLED_BACK, revision->stack,
			  "revision %" PRId64 " by %s, back to revision %" PRId64 ": %s",
			  revision->rev, revision->by.who, options->rollback, revision->summary);
	else if (revision->rev)
		event_add(d, EVENT_APPLIED, revision->stack,
			  "revision %" PRId64 " by %s (%s of '%s'): %s", revision->rev,
			  revision->by.who, revision->kind, source, revision->summary);
	else if (!options->watched) /* a look that brings nothing new is none to speak of */
		event_add(d, EVENT_APPLIED, revision->stack, "%s of '%s' by %s: wanted as before",
			  revision->kind, source, revision->by.who);
}

int stack_plan_commit(struct bangerd *d, const char *stack, const char *source,
		      struct stack_plan *plan, const struct apply_options *options, cJSON *ops,
		      struct error *err)
{
	const struct store_stack *known = stack_find(d, stack);
	bool watched = known && known->watched && !strcmp(known->source, source);
	size_t size = stack_size(d, stack);
	auto_revision struct revision revision = {
		.by = options->by,
		.kind = kind_of(options),
		.stack = stack,
		.source = source,
		.back_to = options->rollback,
	};
	if (!options->watched)
		pull_forget_failures(d);
	ballast_give(d);
	if (store_begin(d->store, err) < 0)
		return -1;
	if ((stack[0] && stack_put(d, stack, source, watched, err) < 0) ||
	    (stack[0] &&
	     plan->plan.to_delete && /* else it cannot get smaller, and a later note says as much */
	     store_stack_size_note(d->store, stack, clock_wall_ms(), GUARD_WINDOW_MS, (int64_t)size,
				   err) < 0) ||
	    write_intent(d, stack, plan, options, &revision, ops, err) < 0 ||
	    revision_write(d, &revision, err) < 0 || store_commit(d->store, err) < 0) {
		/* Memory may be ahead of the store now. Crash-only: the next bangerd reads the
		 * store, the VMs run on. */
		store_rollback(d->store);
		log_error(NULL, "cannot write the store, starting over: %s", err->text);
		d->failed = true;
		loop_quit(d->loop);
		return -1;
	}
	say_applied(d, &revision, options);
	if (!options->watched)
		watches_drop_lost(d);
	if (options->delete_named && !watched && stack_size(d, stack) == 0)
		stack_remove(d, stack, err);
	converge_schedule_ttl(d);
	return 0;
}
