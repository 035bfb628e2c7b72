/* Who waits for whom (`depends_on`): the daemon's eyes for plan/order.c.
 *
 * Theory of operation: nothing is scheduled. A VM whose action has to wait keeps it, is marked as
 * waiting, and is judged again whenever any VM was looked at; so the order comes about by itself,
 * also after a restart of the daemon. */
#include "daemon/sets.h"
#include "plan/order.h"

#include <stdio.h>
#include <string.h>

static bool is_leaving(const struct vm *vm)
{
	return vm->d->draining || vm->row.deleting || vm->row.hold != HOLD_NONE ||
	       vm->want->state == STATE_STOPPED ||
	       (vm->row.expired_revision && vm->row.expired_revision == vm->row.revision);
}

static struct order_vm order_of(const struct vm *vm)
{
	bool interrupts = vm->job && vm->job->kind != ACTION_LIVE;
	return (struct order_vm){
		.up = vm->pid != 0,
		.ready = vm->ready,
		.changing = interrupts || vm->dirty || vm->gate == GATE_WAIT,
		.leaving = is_leaving(vm),
		.failed = !vm->job && (vm->stuck || vm->failure),
	};
}

/* --- starting --- */

struct obstacle {
	enum order_verdict verdict;
	const struct vm *vm; /* NULL: nobody has the name */
	const char *name;
};

/* The first that blocks counts, else the first that is waited for. */
static void meet(struct obstacle *worst, enum order_verdict verdict, const char *name,
		 const struct vm *vm)
{
	if (verdict > worst->verdict)
		*worst = (struct obstacle){ verdict, vm, name };
}

static bool is_replica_of(const struct vm *vm, const char *stack, const char *set)
{
	return !strcmp(vm->want->set, set) && !strcmp(vm->row.stack, stack) && !vm->row.deleting;
}

/* Replicas lie side by side: their names begin alike. */
static size_t meet_set(const struct vm *vm, const char *set, struct obstacle *worst)
{
	const struct bangerd *d = vm->d;
	size_t len = strlen(set), met = 0;
	for (size_t i = vms_from(d, set); i < d->vm_count; i++) {
		const struct vm *other = d->vms[i];
		if (strncmp(other->row.name, set, len) != 0)
			break;
		if (!is_replica_of(other, vm->row.stack, set))
			continue;
		const struct order_vm state = order_of(other);
		meet(worst, order_start(&state), other->row.name, other);
		met++;
	}
	return met;
}

static void meet_name(const struct vm *vm, const char *name, struct obstacle *worst)
{
	const struct vm *other = vm_find(vm->d, name);
	if (other && !strcmp(other->row.stack, vm->row.stack)) {
		const struct order_vm state = order_of(other);
		meet(worst, order_start(&state), name, other);
		return;
	}
	if (!meet_set(vm, name, worst) && !watch_has_empty_set(vm->d, vm->row.stack, name))
		meet(worst, ORDER_BLOCKED, name, NULL);
}

static void say_why(const struct obstacle *obstacle, char *text, size_t size)
{
	const struct vm *vm = obstacle->vm;
	char reason[160] = "";
	if (!vm)
		snprintf(reason, sizeof(reason), "no VM of its stack is called so");
	else if (vm->row.deleting)
		snprintf(reason, sizeof(reason), "it is being deleted");
	else if (vm->row.hold != HOLD_NONE)
		snprintf(reason, sizeof(reason), "stopped by 'banger %s', 'banger start %s' helps",
			 vm->row.hold == HOLD_KILL ? "kill" : "stop", vm->row.name);
	else if (vm->want->state == STATE_STOPPED)
		snprintf(reason, sizeof(reason), "its spec says 'state: stopped'");
	else if (obstacle->verdict == ORDER_BLOCKED)
		snprintf(reason, sizeof(reason), "%.*s", (int)sizeof(reason) - 1,
			 vm->failure ? vm->failure->text : "it failed");
	else
		snprintf(reason, sizeof(reason), "not ready yet (%s)", vm_phase_name(vm));
	snprintf(text, size, "waits for %s: %s", obstacle->name, reason);
}

static enum gate gate_start(struct vm *vm)
{
	struct obstacle worst = { .verdict = ORDER_GO };
	for (size_t i = 0; i < vm->want->depends_on.count; i++)
		meet_name(vm, vm->want->depends_on.at[i], &worst);
	if (worst.verdict == ORDER_GO)
		return GATE_OPEN;
	say_why(&worst, vm->waiting, sizeof(vm->waiting));
	return worst.verdict == ORDER_WAIT ? GATE_WAIT : GATE_BLOCKED;
}

/* --- stopping --- */

static enum gate gate_stop(struct vm *vm)
{
	const struct bangerd *d = vm->d;
	for (size_t i = 0; i < d->vm_count; i++) {
		const struct vm *other = d->vms[i];
		if (!other->want->depends_on.count || other == vm || !other->pid ||
		    strcmp(other->row.stack, vm->row.stack) != 0 ||
		    !order_depends(other->want, vm->want))
			continue;
		const struct order_vm state = order_of(other);
		if (order_stop(&state) == ORDER_GO)
			continue;
		snprintf(vm->waiting, sizeof(vm->waiting), "waits for %s to stop first",
			 other->row.name);
		return GATE_WAIT;
	}
	return GATE_OPEN;
}

static bool starts_guest(const struct vm *vm, enum action_kind kind)
{
	bool may = kind == ACTION_CREATE || kind == ACTION_START || kind == ACTION_RESTART ||
		   kind == ACTION_REIMAGE;
	return may && vm->want->state == STATE_RUNNING;
}

enum gate order_gate(struct vm *vm, enum action_kind kind)
{
	if (starts_guest(vm, kind))
		return vm->want->depends_on.count ? gate_start(vm) : GATE_OPEN;
	return vm->pid && is_leaving(vm) ? gate_stop(vm) : GATE_OPEN;
}

/* --- for VMs without a file --- */

/* The stack as it would be; others may have lost whom they depend on long ago, and say so
 * themselves. */
int order_check(struct bangerd *d, const char *stack, const struct vm_spec *spec, struct error *err)
{
	static const struct string_list none;
	if (!spec->depends_on.count)
		return 0;
	auto_free const struct vm_spec **specs = xcalloc(d->vm_count + 1, sizeof(*specs));
	struct fault_vec faults = { 0 };
	size_t count = 0;
	bool placed = false;
	for (size_t i = 0; i < d->vm_count; i++) {
		const struct vm *vm = d->vms[i];
		int order = strcmp(vm->row.name, spec->name);
		if (order >= 0 && !placed) {
			specs[count++] = spec;
			placed = true;
		}
		if (order && !vm->row.deleting && !strcmp(vm->row.stack, stack))
			specs[count++] = vm->want;
	}
	if (!placed)
		specs[count++] = spec;
	spec_depends_check(specs, count, &none, &faults);
	auto_free char *path = xasprintf("vms.%s.depends_on", spec->name);
	int failed = 0;
	for (size_t i = 0; failed == 0 && i < faults.count; i++)
		if (!strcmp(faults.at[i].path, path) || !strncmp(faults.at[i].text, "a cycle", 7))
			failed = error_set(err, ERROR_INVALID, "vm '%s': depends_on: %s",
					   spec->name, faults.at[i].text);
	faults_clear(&faults);
	return failed;
}
