/* What only the neighbours of a VM can tell about it: that it became a set, that its set is changed
 * a few at a time, whom it waits for. */
#include "plan/plan_sets.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

static const struct plan_member *find_member(const struct plan_member *members, size_t count,
					     const char *name)
{
	for (size_t low = 0, high = count; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, members[middle].name);
		if (!order)
			return &members[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* --- a VM that became a set, a set that became a VM --- */

static void say_disk(const struct vm_spec *have, char *text, size_t size)
{
	char bytes[UNITS_TEXT_MAX];
	snprintf(text, size, "its %s disk of %s", have->work_disk ? "work" : "system",
		 units_format_size(have->work_disk ? have->work_disk : have->system_disk, bytes));
}

/* Every set has a replica of number 1, unless it is empty. */
static bool became_set(const struct plan_member *members, size_t count, const char *name)
{
	char first[VM_NAME_MAX + 3];
	snprintf(first, sizeof(first), "%s-1", name);
	const struct plan_member *member = find_member(members, count, first);
	return member && member->want && !strcmp(member->want->set, name);
}

static bool became_vm(const struct plan_member *members, size_t count, const char *set)
{
	const struct plan_member *member = *set ? find_member(members, count, set) : NULL;
	return member && member->want && !*member->want->set;
}

bool plan_changed_nature(const struct plan_member *members, size_t count,
			 const struct plan_member *member, const struct plan_policy *policy,
			 struct vm_plan *ret)
{
	const struct vm_spec *have = member->have.have;
	if (!have || ret->kind != ACTION_DELETE)
		return false;
	bool into_set = !*have->set && became_set(members, count, member->name);
	if (!into_set && !became_vm(members, count, have->set))
		return false;
	char disk[64];
	say_disk(have, disk, sizeof(disk));
	ret->worst = CLASS_DATA_LOSS;
	if (policy->allow_data_loss) {
		snprintf(ret->reason, sizeof(ret->reason), "%s: %s is lost",
			 into_set ? "a set takes its place" : "a single VM takes its set's place",
			 disk);
		return true;
	}
	ret->kind = ACTION_REFUSE;
	ret->disruptive = false;
	snprintf(ret->reason, sizeof(ret->reason),
		 "%s: %s would be lost, --allow-data-loss allows it",
		 into_set ? "a set takes its place" : "a single VM takes its set's place", disk);
	return true;
}

/* --- who goes when --- */

static bool starts(const struct vm_plan *vm)
{
	return vm->kind == ACTION_CREATE || vm->kind == ACTION_START ||
	       vm->kind == ACTION_RESTART || vm->kind == ACTION_REIMAGE;
}

static bool ends(const struct vm_plan *vm)
{
	return vm->kind == ACTION_STOP || vm->kind == ACTION_DELETE;
}

static struct vm_plan *find_plan(const struct plan *plan, const char *name)
{
	for (size_t low = 0, high = plan->count; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, plan->vms[middle].name);
		if (!order)
			return &plan->vms[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The VM of this name, or the first replica of the set. */
static struct vm_plan *find_named(const struct plan *plan, const char *name)
{
	char first[VM_NAME_MAX + 3];
	struct vm_plan *vm = find_plan(plan, name);
	snprintf(first, sizeof(first), "%s-1", name);
	return vm ? vm : find_plan(plan, first);
}

static void add_after(struct vm_plan *vm, const char *name)
{
	size_t len = strlen(vm->after), room = sizeof(vm->after) - len;
	if (len + strlen(name) + sizeof(", ...") < sizeof(vm->after))
		snprintf(vm->after + len, room, "%s%s", len ? ", " : "", name);
	else if (room > sizeof(", ...") && strcmp(vm->after + len - 3, "...") != 0)
		snprintf(vm->after + len, room, ", ...");
}

static void order_one(struct plan *plan, struct vm_plan *vm, const struct vm_spec *spec)
{
	for (size_t i = 0; i < spec->depends_on.count; i++) {
		const char *name = spec->depends_on.at[i];
		struct vm_plan *other = find_named(plan, name);
		if (!other)
			continue;
		if (starts(vm) && starts(other))
			add_after(vm, name);
		else if (ends(vm) && ends(other))
			add_after(other, vm->name);
	}
}

void plan_order(struct plan *plan, const struct plan_member *members, size_t count)
{
	for (size_t i = 0, m = 0; i < plan->count; i++) {
		struct vm_plan *vm = &plan->vms[i];
		while (m < count && strcmp(members[m].name, vm->name) != 0)
			m++;
		if (m == count)
			return;
		const struct vm_spec *want = members[m].want, *have = members[m].have.have;
		bool interrupts = vm->kind == ACTION_RESTART || vm->kind == ACTION_REIMAGE;
		if (want && *want->set && interrupts && members[m].have.running) {
			str_copy(vm->set, sizeof(vm->set), want->set);
			vm->at_a_time = want->max_unavailable;
		}
		if (want || have)
			order_one(plan, vm, want ? want : have);
	}
}
