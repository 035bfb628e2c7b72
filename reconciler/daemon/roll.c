/* A change that interrupts the replicas of a set, a few at a time: the daemon's eyes for
 * plan/roll.c.
 *
 * Theory of operation: nothing is scheduled and nothing about a roll is kept. A replica that is to
 * be changed asks whether it may; if not, it is left as it is, and judged again whenever another
 * VM was looked at. While it waits it is kept going by the spec it was made from (`vm->keeps_old`):
 * one that dies meanwhile comes back as it was, not as what may just have failed on another. */
#include "daemon/sets.h"
#include "plan/roll.h"

#include <stdio.h>
#include <string.h>

#define UNKNOWN_MS 15000 /* for agents to answer a daemon that has just begun */

void vm_compare(struct vm *vm)
{
	struct capabilities can = vm_capabilities(vm->d);
	vm->behind =
		vm->applied && vm_spec_diff(vm->applied, vm->want, &can, NULL) >= CLASS_RESTART;
}

/* --- what is known of the replicas --- */

static bool is_final(const struct vm *vm)
{
	return vm->row.exit_reason && vm->row.exit_revision == vm->row.revision &&
	       !plan_restarts_after(vm->want->restart, exit_reason_parse(vm->row.exit_reason));
}

/* A daemon that has just begun hears from its guests only in a moment. */
static bool is_unknown(const struct vm *vm)
{
	const struct agent_state *state = vm->feed ? agent_feed_state(vm->feed) : NULL;
	return !vm->d->agents_known && vm->pid && !vm->ready && !vm->booting &&
	       !(state && state->phase[0]);
}

bool roll_is_pending(const struct vm *vm)
{
	return vm->applied && (vm->behind || vm->reimage_asked);
}

static struct roll_member member_of(const struct vm *vm)
{
	bool interrupts = vm->job && vm->job->kind != ACTION_LIVE;
	bool pending = roll_is_pending(vm);
	return (struct roll_member){
		.counts = vm->want->state == STATE_RUNNING && vm->row.hold == HOLD_NONE &&
			  !vm->row.deleting && !is_final(vm),
		.ready = vm->pid && vm->ready && !interrupts,
		.unknown = is_unknown(vm),
		.pending = pending,
		.changing = interrupts && !vm->keeps_old,
		.failed = change_has_failed(vm),
	};
}

/* Replicas lie side by side: their names begin alike. */
static size_t gather(const struct vm *vm, const struct vm **vms, struct roll_member *members,
		     size_t *ret_self)
{
	const struct bangerd *d = vm->d;
	size_t len = strlen(vm->want->set), count = 0;
	for (size_t i = vms_from(d, vm->want->set); i < d->vm_count; i++) {
		const struct vm *other = d->vms[i];
		if (strncmp(other->row.name, vm->want->set, len) != 0)
			break;
		if (strcmp(other->want->set, vm->want->set) != 0 ||
		    strcmp(other->row.stack, vm->row.stack) != 0)
			continue;
		if (other == vm)
			*ret_self = count;
		vms[count] = other;
		members[count++] = member_of(other);
	}
	return count;
}

static void say_why(struct vm *vm, const struct vm *other, enum roll_verdict verdict)
{
	char *text = vm->waiting;
	size_t size = sizeof(vm->waiting);
	if (other == vm)
		snprintf(text, size, "roll: waits for its agent to tell how it is");
	else if (verdict == ROLL_STOPPED)
		snprintf(text, size, "roll stopped by %s: %.*s", other->row.name, 180,
			 vm_failure_text(other));
	else
		snprintf(text, size, "roll: waits for %s (%s), at most %u of set '%s' at a time",
			 other->row.name, vm_phase_name(other), vm->want->max_unavailable,
			 vm->want->set);
}

/* It was off because its spec said so: switching it on takes nothing from anybody. */
static bool was_off(const struct vm *vm)
{
	return !vm->pid && vm->applied && vm->applied->state == STATE_STOPPED;
}

enum gate roll_gate(struct vm *vm, enum action_kind kind)
{
	bool concerns = kind == ACTION_RESTART || kind == ACTION_REIMAGE || kind == ACTION_START;
	if (!concerns || !*vm->want->set || vm->want->state != STATE_RUNNING ||
	    !roll_is_pending(vm) || was_off(vm))
		return GATE_OPEN;
	auto_free const struct vm **vms = xcalloc(vm->d->vm_count, sizeof(*vms));
	auto_free struct roll_member *members = xcalloc(vm->d->vm_count, sizeof(*members));
	size_t self = 0, other = 0;
	size_t count = gather(vm, vms, members, &self);
	enum roll_verdict verdict =
		roll_may_go(members, count, self, vm->want->max_unavailable, &other);
	if (verdict == ROLL_GO)
		return GATE_OPEN;
	say_why(vm, vms[other], verdict);
	return verdict == ROLL_WAIT ? GATE_WAIT : GATE_BLOCKED;
}

/* --- a daemon that has just begun --- */

static void agents_are_known(void *data)
{
	struct bangerd *d = data;
	d->agents_known = true;
	d->any_dirty |= d->any_gated;
}

void roll_begin(struct bangerd *d)
{
	bool any = false;
	for (size_t i = 0; i < d->vm_count; i++)
		any |= d->vms[i]->want->set[0] != '\0';
	d->agents_grace = loop_timer_new(d->loop, agents_are_known, d);
	d->agents_known = !any; /* without replicas nobody is asked about, nor woken up for */
	if (any)
		loop_timer_set(d->agents_grace, UNKNOWN_MS);
}
