/* apply --rollback: when a change fails, every VM that the apply changed goes back to what it was
 * last ready with.
 *
 * Theory of operation: the apply writes down, with each VM that it changes, the spec to return to.
 * The first of them whose change fails gives all of them that spec back, in one transaction and as
 * a revision like any other; once all are as they shall be, the notes are dropped. What the apply
 * made anew stays, and what it deleted is gone: neither has anything to return to. */
#include "daemon/sets.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char *last_good(const struct vm *vm)
{
	return vm->row.good ? vm->row.good : vm->row.applied;
}

bool rollback_note(struct vm *vm)
{
	struct error ignored;
	const char *good = last_good(vm);
	if (!good || vm->row.rollback)
		return false;
	auto_ptr(vm_spec) spec = spec_from_text(good, NULL, &ignored);
	if (!spec || vm_spec_equal(spec, vm->want))
		return false;
	vm->row.rollback = xstrdup(good);
	return true;
}

/* --- what it was ready with --- */

void good_unproven(struct vm *vm)
{
	if (!vm->row.good)
		vm->row.good = xstrdup(vm->row.applied);
}

bool good_proven(struct vm *vm)
{
	bool was_open = vm->row.good != NULL;
	free(vm->row.good);
	vm->row.good = NULL;
	return was_open;
}

/* --- failure --- */

bool change_has_failed(const struct vm *vm)
{
	if (vm->job || vm->want->state != STATE_RUNNING)
		return false;
	if (roll_is_pending(vm))
		return vm->change_failed;
	return vm->change_failed || (!vm->ready && vm->failure);
}

static bool same_stack(const struct vm *a, const struct vm *b)
{
	return !strcmp(a->row.stack, b->row.stack);
}

static int return_one(struct vm *vm, struct revision *revision, struct error *err)
{
	auto_free char *file = xstrdup(vm->file);
	auto_ptr(vm_spec) spec = spec_from_text(vm->row.rollback, NULL, err);
	if (!spec)
		return error_wrap(err, "vm '%s': the spec to return to", vm->row.name);
	spec->file = file;
	revision_add(revision, vm->d, vm, spec, vm->row.stack);
	vm_want(vm, spec);
	spec->file = NULL;
	return vm_save(vm, err);
}

static int write_back(struct bangerd *d, const struct vm *cause, struct revision *revision,
		      struct vm **ret_vms, size_t *ret_count, struct error *err)
{
	if (store_begin(d->store, err) < 0)
		return -1;
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		if (!vm->row.rollback || vm->row.deleting || !same_stack(vm, cause))
			continue;
		if (return_one(vm, revision, err) < 0)
			return -1;
		ret_vms[(*ret_count)++] = vm;
	}
	if (revision_write(d, revision, err) < 0)
		return -1;
	return store_commit(d->store, err);
}

/* Those that wait for the apply are told; what follows is an operation of its own. */
static void begin_return(struct vm *vm, const struct vm *cause, const char *why)
{
	struct error err;
	if (vm == cause)
		error_set(&err, ERROR_SYSTEM, "%s", why);
	else
		error_set(&err, ERROR_SYSTEM, "vm '%s': rolled back, because of %s", vm->row.name,
			  cause->row.name);
	vm_op_done(vm, &err);
	vm_event(vm, EVENT_ROLLED_BACK, "to what it was last ready with, because %s failed",
		 cause->row.name);
	vm_mark_now(vm);
	vm_begin_op(vm, "rollback");
}

bool rollback_if_due(struct vm *vm)
{
	struct bangerd *d = vm->d;
	struct error err = { 0 };
	if (!vm->row.rollback || vm->row.deleting || !change_has_failed(vm))
		return false;
	auto_free struct vm **vms = xcalloc(d->vm_count, sizeof(*vms));
	auto_free char *why = xstrdup(vm_failure_text(vm));
	size_t count = 0;
	const struct store_stack *stack = stack_find(d, vm->row.stack);
	auto_revision struct revision revision = { .by = own_actor(d, "apply --rollback"),
						   .kind = "return",
						   .stack = vm->row.stack,
						   .source = stack ? stack->source : "" };
	log_warn(vm->row.name, "its change failed, the stack returns to what was good: %s", why);
	if (write_back(d, vm, &revision, vms, &count, &err) < 0) {
		store_rollback(d->store);
		log_error(NULL, "cannot write the store, starting over: %s", err.text);
		d->failed = true;
		loop_quit(d->loop);
		return true;
	}
	for (size_t i = 0; i < count; i++)
		begin_return(vms[i], vm, why);
	return true;
}

/* --- success --- */

static bool is_settled(const struct vm *vm)
{
	if (vm->job || !vm->applied || !vm_spec_equal(vm->applied, vm->want))
		return false;
	return vm->want->state == STATE_STOPPED || (vm->pid && vm->ready);
}

void rollback_forget_if_done(struct vm *cause)
{
	struct bangerd *d = cause->d;
	if (!cause->row.rollback)
		return;
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i]->row.rollback && same_stack(d->vms[i], cause) &&
		    !is_settled(d->vms[i]))
			return;
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		if (!vm->row.rollback || !same_stack(vm, cause))
			continue;
		free(vm->row.rollback);
		vm->row.rollback = NULL;
		vm_save_or_log(vm);
	}
}
