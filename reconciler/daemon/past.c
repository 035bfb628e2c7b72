/* What was wanted at a revision, so that it can be wanted again.
 *
 * Only what each revision changed is stored. So the past is the present with every later change
 * taken back: a VM that was touched since is what it was before the first of those changes, all
 * others are what they are. */
#include "daemon/bangerd.h"
#include "schema/arena.h"

#include <inttypes.h>
#include <string.h>

void past_clear(struct past *past)
{
	spec_set_clear(&past->set);
	free(past->source);
	*past = (struct past){ 0 };
}

static void push(struct past *past, struct vm_spec *spec)
{
	past->set.vms = xreallocarray(past->set.vms, past->set.count + 1, sizeof(*past->set.vms));
	past->set.vms[past->set.count++] = spec;
}

static struct vm_spec *spec_then(const char *text, struct error *err)
{
	auto_free char *file = NULL;
	struct vm_spec *spec = spec_from_text(text, &file, err);
	if (spec && file)
		spec->file = arena_text(spec->arena, file, strlen(file));
	return spec;
}

static bool is_of(const struct vm *vm, const char *stack)
{
	return vm && !vm->row.deleting && !strcmp(vm->row.stack, stack);
}

/* One name; then: what it was, when that is another thing than what it is. */
static int add_name(const char *stack, const struct vm *vm, const struct store_change *then,
		    struct past *past, struct error *err)
{
	struct vm_spec *spec = NULL;
	/* It was somebody else's: the present is the only thing that can be said of it. */
	bool not_ours = then && then->stack_before && strcmp(then->stack_before, stack) != 0;
	if (then && then->stack_before && !not_ours) {
		spec = spec_then(then->spec_before, err);
		if (!spec)
			return -1;
	} else if ((!then || not_ours) && is_of(vm, stack)) {
		spec = vm_spec_copy(vm->want);
	}
	if (spec)
		push(past, spec);
	return 0;
}

/* Both lists are sorted by name: one merge. */
static int add_stack(struct bangerd *d, const char *stack, const struct store_change_vec *undo,
		     struct past *past, struct error *err)
{
	size_t u = 0, v = 0;
	while (u < undo->count || v < d->vm_count) {
		const struct store_change *then = u < undo->count ? &undo->at[u] : NULL;
		const struct vm *vm = v < d->vm_count ? d->vms[v] : NULL;
		int order = !then ? 1 : !vm ? -1 : strcmp(then->name, vm->row.name);
		u += order <= 0;
		v += order >= 0;
		if (add_name(stack, order >= 0 ? vm : NULL, order <= 0 ? then : NULL, past, err) <
		    0)
			return -1;
	}
	return 0;
}

static const struct store_change *find(const struct store_change_vec *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->at[i].name, name))
			return &list->at[i];
	return NULL;
}

/* Of VMs that no stack owns each is for itself: only those that the revision is about. */
static int add_unowned(struct bangerd *d, int64_t rev, const struct store_change_vec *undo,
		       struct past *past, struct error *err)
{
	struct store_change_vec names = { 0 };
	int failed = store_changes(d->store, rev, "", INT64_MAX, &names, err);
	for (size_t i = 0; failed == 0 && i < names.count; i++) {
		const char *name = names.at[i].name;
		size_t before = past->set.count;
		failed = add_name("", vm_find(d, name), find(undo, name), past, err);
		if (failed == 0 && past->set.count == before)
			failed = error_set(err, ERROR_CONFLICT,
					   "vm '%s' was not there after revision %" PRId64
					   ": banger delete %s",
					   name, rev, name);
	}
	store_changes_clear(&names);
	return failed;
}

int past_load(struct bangerd *d, int64_t rev, struct past *ret, struct error *err)
{
	struct store_revision head;
	struct store_change_vec undo = { 0 };
	if (store_revision(d->store, rev, &head, err) < 0)
		return -1;
	if (store_changes_undo(d->store, rev, &undo, err) < 0) {
		store_revision_clear(&head);
		return -1;
	}
	struct past past = { .rev = rev, .complete = head.stack[0] != '\0' };
	const struct store_stack *known = stack_find(d, head.stack);
	past.set.stack = xstrdup(head.stack);
	past.source = xstrdup(known ? known->source : head.source);
	int failed = past.complete ? add_stack(d, head.stack, &undo, &past, err)
				   : add_unowned(d, rev, &undo, &past, err);
	store_revision_clear(&head);
	store_changes_clear(&undo);
	if (failed < 0) {
		error_wrap(err, "revision %" PRId64, rev);
		past_clear(&past);
		return -1;
	}
	*ret = past;
	return 0;
}

int past_check(struct bangerd *d, const struct past *past, struct error *err)
{
	const struct store_stack *stack = stack_find(d, past->set.stack);
	if (!stack || !stack->watched)
		return 0;
	return error_set(err, ERROR_CONFLICT,
			 "stack '%s' is watched, '%s' would undo this at once: edit its files "
			 "(banger history %" PRId64 " -o yaml says what was wanted then), or "
			 "banger unwatch first",
			 stack->name, stack->source, past->rev);
}

char *past_note(const struct past *past)
{
	if (!past->complete)
		return NULL;
	if (!past->source[0])
		return xasprintf("stack '%s' came from standard input: the next apply of it says "
				 "otherwise",
				 past->set.stack);
	return xasprintf("'%s' stays as it is, the next apply of it undoes this; banger history "
			 "%" PRId64 " -o yaml says what it would have to be",
			 past->source, past->rev);
}
