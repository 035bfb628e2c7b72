/* Watched directories: standing stacks.
 *
 * Theory of operation: an event on the directory leads to a scan; what the scan wants made or
 * changed is written down at once. What is absent goes another way: it needs a scan that is
 * complete, QUIET_MS without an event, a second, fresh scan that is complete too, and the guard of
 * plan_stack(). Whenever deletions are held back the log says why, once. */
#include "daemon/bangerd.h"
#include "base/log.h"

#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#define FAULTS_SAID 10 /* as events, of one look */
#define QUIET_MS    2000
#define WRITTEN_MS  100 /* a writer that has not closed by then is worth a look */

struct watch {
	struct watch *next;
	struct bangerd *d;
	char *path, *stack;
	struct source_dir *dir;
	struct loop_watch *events;
	struct loop_timer *quiet, *written;
	bool complete, unwatched_said;
	char *refused; /* the last refusals that were logged */
	char *renamed; /* what the directory calls itself now, when that was logged */
	char *reason;  /* why nothing is deleted; NULL: nothing is held back */
	char *said;    /* the last reason that was logged */
	cJSON *faults; /* array */
	struct string_list empty_sets; /* owned, strings too */
};

static void keep_empty_sets(struct watch *watch, const struct string_list *sets)
{
	for (size_t i = 0; i < watch->empty_sets.count; i++)
		free((char *)watch->empty_sets.at[i]);
	free(watch->empty_sets.at);
	watch->empty_sets = (struct string_list){ .count = sets->count };
	if (!sets->count)
		return;
	watch->empty_sets.at = xcalloc(sets->count, sizeof(char *));
	for (size_t i = 0; i < sets->count; i++)
		watch->empty_sets.at[i] = xstrdup(sets->at[i]);
}

bool watch_has_empty_set(const struct bangerd *d, const char *stack, const char *name)
{
	for (const struct watch *watch = d->watches; watch; watch = watch->next)
		for (size_t i = 0; i < watch->empty_sets.count; i++)
			if (!strcmp(watch->stack, stack) && !strcmp(watch->empty_sets.at[i], name))
				return true;
	return false;
}

static void watch_free(struct watch *watch)
{
	keep_empty_sets(watch, &(struct string_list){ 0 });
	loop_unwatch(watch->events);
	loop_timer_free(watch->quiet);
	loop_timer_free(watch->written);
	source_dir_free(watch->dir);
	cJSON_Delete(watch->faults);
	free(watch->path);
	free(watch->stack);
	free(watch->reason);
	free(watch->said);
	free(watch->refused);
	free(watch->renamed);
	free(watch);
}

static void say(struct watch *watch, const char *reason)
{
	free(watch->reason);
	watch->reason = xstrdup(reason);
	if (reason && (!watch->said || strcmp(watch->said, reason))) {
		log_warn(NULL, "stack '%s': nothing is deleted: %s", watch->stack, reason);
		event_add(watch->d, EVENT_HELD_BACK, watch->stack, "nothing is deleted: %s",
			  reason);
		free(watch->said);
		watch->said = xstrdup(reason);
	}
	if (!reason) {
		free(watch->said);
		watch->said = NULL;
	}
}

static void keep_faults(struct watch *watch, const struct fault_vec *faults)
{
	bool changed = (size_t)cJSON_GetArraySize(watch->faults) != faults->count;
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < faults->count; i++)
		cJSON_AddItemToArray(list, fault_to_json(&faults->at[i]));
	if (!changed)
		changed = !cJSON_Compare(list, watch->faults, true);
	cJSON_Delete(watch->faults);
	watch->faults = list;
	for (size_t i = 0; changed && i < faults->count; i++) {
		auto_free char *text = fault_format(&faults->at[i]);
		log_warn(NULL, "%s", text);
		if (i < FAULTS_SAID)
			event_add(watch->d, EVENT_INVALID, watch->stack, "%s", text);
	}
}

/* Does the complete result lack a VM of this stack? */
static bool lacks_some(struct watch *watch, const struct source_result *result)
{
	size_t at = 0;
	for (size_t i = 0; i < watch->d->vm_count; i++) {
		const struct vm *vm = watch->d->vms[i];
		if (vm->row.deleting || strcmp(vm->row.stack, watch->stack))
			continue;
		while (at < result->count && strcmp(result->vms[at]->name, vm->row.name) < 0)
			at++;
		if (at == result->count || strcmp(result->vms[at]->name, vm->row.name))
			return true;
	}
	return false;
}

/* Said once, not at every look. */
static bool refusals_are_new(struct watch *watch, const struct plan *plan)
{
	auto_buf struct buf all = BUF_INIT;
	for (size_t i = 0; i < plan->count; i++)
		if (plan->vms[i].kind == ACTION_REFUSE || plan->vms[i].kind == ACTION_ADOPT)
			buf_addf(&all, "%s: %s\n", plan->vms[i].name, plan->vms[i].reason);
	if (watch->refused && !strcmp(watch->refused, all.data))
		return false;
	free(watch->refused);
	watch->refused = buf_take(&all);
	return true;
}

static void log_refusals(struct watch *watch, const struct plan *plan)
{
	if (!refusals_are_new(watch, plan))
		return;
	for (size_t i = 0; i < plan->count; i++) {
		const struct vm_plan *vm = &plan->vms[i];
		if (vm->kind == ACTION_REFUSE || vm->kind == ACTION_ADOPT)
			vm_event_named(watch->d, EVENT_REFUSED, vm->name, watch->stack,
				       "stack '%s': refused: %s", watch->stack,
				       vm->reason[0] ? vm->reason : "it exists and has no owner");
		if (vm->kind == ACTION_REFUSE)
			log_warn(vm->name, "stack '%s': refused: %s", watch->stack, vm->reason);
		else if (vm->kind == ACTION_ADOPT)
			log_warn(vm->name,
				 "stack '%s': a VM of this name exists and has no owner, run "
				 "banger apply -f %s --adopt",
				 watch->stack, watch->path);
	}
}

/* Unowned VMs of the same name stay unowned: a watch never adopts by itself. */
static void drop_adoptions(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (plan->vms[i].kind == ACTION_ADOPT)
			plan->vms[i].kind = ACTION_REFUSE;
}

static void act(struct watch *watch, const struct source_result *result, bool deleting)
{
	struct error err = { 0 };
	struct apply_options options = { .watched = true,
					 .prune = deleting,
					 .by = own_actor(watch->d, "watch") };
	struct stack_plan plan;
	if (stack_plan_make(watch->d, watch->stack, watch->path,
			    (const struct vm_spec *const *)result->vms, result->count, deleting,
			    &options, &plan, &err) < 0) {
		log_error(NULL, "stack '%s': %s", watch->stack, err.text);
		return;
	}
	log_refusals(watch, &plan.plan);
	drop_adoptions(&plan.plan);
	vm_note_plan(watch->d, &plan.plan, watch->stack);
	if (deleting)
		say(watch, plan.plan.guard[0] ? plan.plan.guard : NULL);
	if (stack_plan_commit(watch->d, watch->stack, watch->path, &plan, &options, NULL, &err) < 0)
		log_error(NULL, "stack '%s': %s", watch->stack, err.text);
	stack_plan_clear(&plan);
}

static void contradicts(struct source_result *result, const char *why)
{
	if (!result->complete)
		return;
	result->complete = false;
	result->incomplete_reason = xstrdup(why);
}

/* Each file is valid for itself; ports and who depends on whom are all files' together. While some
 * file is missing or broken, so may be a VM that others depend on: that is not said then. */
static void check_together(struct source_result *result)
{
	if (spec_ports_check(result->vms, result->count, &result->faults))
		contradicts(result, "two files want one port of the host");
	if (result->complete &&
	    spec_depends_check(result->vms, result->count, &result->empty_sets, &result->faults))
		contradicts(result, "depends_on is not valid");
}

/* The VMs stay with the stack that the directory was watched as: another name would take all of
 * them away from it at once. */
static void check_name(struct watch *watch, const struct source_result *result)
{
	bool same = !strcmp(result->stack, watch->stack);
	if (!same && (!watch->renamed || strcmp(watch->renamed, result->stack)))
		log_warn(NULL,
			 "'%s' says stack '%s' now but is watched as '%s': it stays that, until "
			 "banger unwatch and banger watch",
			 watch->path, result->stack, watch->stack);
	free(watch->renamed);
	watch->renamed = same ? NULL : xstrdup(result->stack);
}

enum look {
	LOOK_EVENT, /* on the word of inotify */
	LOOK_FULL,
	LOOK_FINAL, /* the quiet time is over: a deletion may follow */
};

static void look(struct watch *watch, enum look how)
{
	struct source_result result;
	loop_timer_stop(watch->written);
	if (how == LOOK_EVENT)
		source_dir_glance(watch->dir, &result);
	else
		source_dir_scan(watch->dir, &result);
	if (result.closing)
		loop_timer_set(watch->written, WRITTEN_MS);
	check_together(&result);
	keep_empty_sets(watch, &result.empty_sets);
	check_name(watch, &result);
	watch->complete = result.complete;
	if (result.unwatched && !watch->unwatched_said)
		log_warn(NULL, "stack '%s': changes may go unseen for up to %d s: %s", watch->stack,
			 RESYNC_MS / 1000, result.unwatched);
	watch->unwatched_said = result.unwatched != NULL;
	keep_faults(watch, &result.faults);
	if (!result.complete)
		say(watch, result.incomplete_reason);
	act(watch, &result, false);
	bool lacks = lacks_some(watch, &result);
	if (result.complete && lacks && how == LOOK_FINAL)
		act(watch, &result, true);
	else if (result.complete && lacks)
		loop_timer_set(watch->quiet, QUIET_MS);
	else if (result.complete)
		say(watch, NULL);
	source_result_clear(&result);
}

static void directory_changed(void *data, uint32_t events)
{
	struct watch *watch = data;
	(void)events;
	enum source_news news = source_dir_drain(watch->dir);
	if (news == SOURCE_QUIET)
		return;
	loop_timer_stop(watch->quiet);
	if (news == SOURCE_CHANGED)
		look(watch, LOOK_EVENT);
	else
		loop_timer_set(watch->written, WRITTEN_MS);
}

static void written_at_last(void *data)
{
	look(data, LOOK_EVENT);
}

static void quiet_is_over(void *data)
{
	struct watch *watch = data;
	/* An event may be waiting in the queue, unread: then it was not quiet. */
	look(watch, source_dir_drain(watch->dir) == SOURCE_QUIET ? LOOK_FINAL : LOOK_FULL);
}

static struct watch *watch_find(struct bangerd *d, const char *path_or_stack)
{
	for (struct watch *watch = d->watches; watch; watch = watch->next)
		if (!strcmp(watch->path, path_or_stack) || !strcmp(watch->stack, path_or_stack))
			return watch;
	return NULL;
}

/* stack NULL: what the directory says. */
static struct watch *watch_open(struct bangerd *d, const char *path, const char *stack,
				struct error *err)
{
	struct spec_context context = stack_context(d);
	struct watch *watch = xcalloc(1, sizeof(*watch));
	watch->d = d;
	watch->path = xstrdup(path);
	watch->faults = cJSON_CreateArray();
	watch->quiet = loop_timer_new(d->loop, quiet_is_over, watch);
	watch->written = loop_timer_new(d->loop, written_at_last, watch);
	watch->dir = source_dir_new(path, &context, err);
	if (watch->dir)
		watch->events = loop_watch(d->loop, source_dir_fd(watch->dir), EPOLLIN,
					   directory_changed, watch, err);
	if (!watch->events) {
		watch_free(watch);
		return NULL;
	}
	if (stack) {
		watch->stack = xstrdup(stack);
		return watch;
	}
	struct source_result result;
	source_dir_scan(watch->dir, &result);
	watch->stack = xstrdup(result.stack);
	source_result_clear(&result);
	return watch;
}

static void watch_begin(struct watch *watch)
{
	watch->next = watch->d->watches;
	watch->d->watches = watch;
	look(watch, LOOK_FULL);
}

/* Those whose stack comes from elsewhere now: they would only be refused from here on. */
void watches_drop_lost(struct bangerd *d)
{
	for (struct watch **at = &d->watches; *at;) {
		struct watch *watch = *at;
		const struct store_stack *stack = stack_find(d, watch->stack);
		if (stack && stack->watched && !strcmp(stack->source, watch->path)) {
			at = &watch->next;
			continue;
		}
		*at = watch->next;
		log_info(NULL, "stack '%s' was taken over, no longer watching '%s'", watch->stack,
			 watch->path);
		event_add(d, EVENT_UNWATCHED, watch->stack,
			  "taken over from elsewhere, no longer watching '%s'", watch->path);
		watch_free(watch);
	}
}

static int check_directory(const char *path, struct error *err)
{
	struct stat st;
	if (path[0] != '/')
		return error_set(err, ERROR_INVALID, "'%s' is not an absolute path", path);
	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return error_set(err, ERROR_INVALID, "'%s' is not a directory", path);
	return 0;
}

int watch_add(struct bangerd *d, const char *path, bool take_over, char **ret_stack,
	      struct error *err)
{
	if (check_directory(path, err) < 0)
		return -1;
	struct watch *known = watch_find(d, path);
	if (known) {
		*ret_stack = xstrdup(known->stack);
		look(known, LOOK_FULL);
		return 0;
	}
	struct watch *watch = watch_open(d, path, NULL, err);
	if (!watch)
		return -1;
	const struct store_stack *stack = stack_find(d, watch->stack);
	int failed = 0;
	if (!vm_name_valid(watch->stack))
		failed = error_set(
			err, ERROR_INVALID,
			"'%.63s' cannot name a stack (a-z, 0-9, '-'): put `stack: NAME` into "
			"a file of '%s'",
			watch->stack, path);
	else if (stack && strcmp(stack->source, path) && !take_over)
		failed = error_set(
			err, ERROR_CONFLICT,
			"stack '%s' comes from '%s': name this one otherwise (stack:), or "
			"move the stack here with --take-over",
			watch->stack, stack->source);
	if (failed == 0)
		failed = stack_put(d, watch->stack, path, true, err);
	if (failed < 0) {
		watch_free(watch);
		return -1;
	}
	*ret_stack = xstrdup(watch->stack);
	watches_drop_lost(d);
	log_info(NULL, "watching '%s' as stack '%s'", path, watch->stack);
	event_add(d, EVENT_WATCHING, watch->stack, "watching '%s'", path);
	watch_begin(watch);
	return 0;
}

/* The VMs stay and are nobody's now. */
static int disown(struct bangerd *d, const char *stack, struct revision *revision, size_t *ret_vms,
		  struct error *err)
{
	*ret_vms = 0;
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		if (strcmp(vm->row.stack, stack))
			continue;
		*ret_vms += !vm->row.deleting;
		if (!vm->row.deleting)
			revision_add(revision, d, vm, vm->want, "");
		free(vm->row.stack);
		vm->row.stack = xstrdup("");
		if (vm_save(vm, err) < 0)
			return -1;
	}
	return 0;
}

int watch_remove(struct bangerd *d, const char *path_or_stack, const struct actor *by,
		 size_t *ret_vms, struct error *err)
{
	struct watch *watch = watch_find(d, path_or_stack);
	if (!watch)
		return error_set(err, ERROR_NOT_FOUND,
				 "'%s' is not watched, see banger watch --list", path_or_stack);
	auto_revision struct revision revision = {
		.by = *by, .kind = "unwatch", .stack = watch->stack, .source = watch->path
	};
	if (disown(d, watch->stack, &revision, ret_vms, err) < 0 ||
	    revision_write(d, &revision, err) < 0 || stack_remove(d, watch->stack, err) < 0)
		return -1;
	struct watch **at = &d->watches;
	while (*at != watch)
		at = &(*at)->next;
	*at = watch->next;
	log_info(NULL, "no longer watching '%s'", watch->path);
	event_add(d, EVENT_UNWATCHED, watch->stack, "no longer watching '%s', its %zu VMs stay",
		  watch->path, *ret_vms);
	watch_free(watch);
	return 0;
}

cJSON *watch_list(struct bangerd *d)
{
	cJSON *items = cJSON_CreateArray();
	for (struct watch *watch = d->watches; watch; watch = watch->next) {
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "stack", watch->stack);
		json_add_str(item, "path", watch->path);
		json_add_int(item, "vms", (int64_t)stack_size(d, watch->stack));
		json_add_bool(item, "complete", watch->complete);
		json_add_str(item, "reason", watch->reason);
		cJSON_AddItemToObject(item, "faults", cJSON_Duplicate(watch->faults, true));
		cJSON_AddItemToArray(items, item);
	}
	return items;
}

/* What cannot be watched at this moment (inotify instances are few, and a user's together) is no
 * reason to leave its VMs alone: it is tried again at every resync. */
void watch_resume(struct bangerd *d)
{
	for (size_t i = 0; i < d->stacks.count; i++) {
		const struct store_stack *stack = &d->stacks.at[i];
		struct error err = { 0 };
		if (!stack->watched || watch_find(d, stack->name))
			continue;
		struct watch *watch = watch_open(d, stack->source, stack->name, &err);
		if (watch)
			watch_begin(watch);
		else
			log_error(NULL, "stack '%s': cannot watch '%s': %s", stack->name,
				  stack->source, err.text);
	}
}

void watch_resync(struct bangerd *d)
{
	for (struct watch *watch = d->watches; watch; watch = watch->next)
		if (!loop_timer_is_set(watch->quiet))
			look(watch, LOOK_FULL);
	watch_resume(d);
}

void watches_free(struct bangerd *d)
{
	while (d->watches) {
		struct watch *next = d->watches->next;
		watch_free(d->watches);
		d->watches = next;
	}
}
