/* Theory of operation
 *
 * Every member is judged alone, except where ownership speaks first. Members that left the source
 * are only marked in that walk (ACTION_DELETE); how many there are then decides about all of them
 * at once: beyond the guard's allowance none is deleted, since a half-applied mistake is no better
 * than a whole one. The counts come last, from the entries as they stand. */
#include "plan/plan_sets.h"

#include <stdio.h>
#include <string.h>

/* May lose at most half of its largest recent size, at least one; what is already lost counts. */
size_t plan_guard_allowance(size_t now, size_t largest_recent)
{
	size_t largest = now > largest_recent ? now : largest_recent;
	size_t may_lose = largest / 2 > 1 ? largest / 2 : 1;
	size_t lost = largest - now;
	size_t left = may_lose > lost ? may_lose - lost : 0;
	return left < now ? left : now;
}

static const char *owner_of(const struct plan_member *member)
{
	return member->have.stack ? member->have.stack : "";
}

static void plan_wanted(const char *stack, const struct plan_member *member,
			const struct plan_policy *policy, struct vm_plan *ret)
{
	const char *owner = owner_of(member);
	bool ours = !strcmp(owner, stack);
	plan_vm(member->name, member->want, &member->have, policy, ret);
	if (!member->have.exists || ours)
		return;
	if (*owner) {
		vm_plan_clear(ret);
		str_copy(ret->name, sizeof(ret->name), member->name);
		ret->kind = ACTION_REFUSE;
		snprintf(ret->reason, sizeof(ret->reason), "belongs to stack '%.*s'", 200, owner);
		return;
	}
	if (ret->kind == ACTION_REFUSE)
		return;
	ret->kind = ACTION_ADOPT;
	ret->reason[0] = '\0';
}

static void plan_unwanted(bool prune, const char *absent, struct vm_plan *ret)
{
	if (prune)
		return;
	bool protect = ret->kind == ACTION_REFUSE;
	ret->kind = ACTION_KEEP;
	ret->disruptive = false;
	snprintf(ret->reason, sizeof(ret->reason), "%.100s, %s", absent,
		 protect ? "protected" : "--prune deletes it");
}

static void hold_back(struct plan *plan, size_t leaving, size_t now, const char *absent)
{
	snprintf(plan->guard, sizeof(plan->guard),
		 "would delete %zu of %zu, run banger apply --prune-all", leaving, now);
	for (size_t i = 0; i < plan->count; i++) {
		struct vm_plan *vm = &plan->vms[i];
		bool by_ttl = *vm->reason != '\0'; /* meant, not missed */
		if (vm->kind != ACTION_DELETE || by_ttl)
			continue;
		vm->kind = ACTION_KEEP;
		vm->disruptive = false;
		snprintf(vm->reason, sizeof(vm->reason), "%.100s, kept by the guard", absent);
	}
}

static void tally(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		enum action_kind kind = plan->vms[i].kind;
		plan->unchanged += kind == ACTION_NONE;
		plan->to_create += kind == ACTION_CREATE;
		plan->to_change += kind == ACTION_START || kind == ACTION_STOP ||
				   kind == ACTION_LIVE || kind == ACTION_RESTART ||
				   kind == ACTION_REIMAGE;
		plan->to_restart += kind == ACTION_RESTART;
		plan->to_reimage += kind == ACTION_REIMAGE;
		plan->to_delete += kind == ACTION_DELETE;
		plan->to_adopt += kind == ACTION_ADOPT;
		plan->kept += kind == ACTION_KEEP && !plan->vms[i].pending;
		plan->waiting += kind == ACTION_WAIT;
		plan->refused += kind == ACTION_REFUSE;
		plan->pending += plan->vms[i].pending;
	}
}

void plan_stack(const char *stack, const struct plan_member *members, size_t count,
		const struct plan_options *options, struct plan *ret)
{
	stack = stack ? stack : "";
	struct plan_policy policy = options->policy;
	policy.lift_hold |= !options->watched;
	bool prune = options->watched || options->prune || options->prune_all;
	const char *absent = options->absent ? options->absent : "left the file";
	size_t now = 0, leaving = 0;

	*ret = (struct plan){ .stack = stack, .vms = xcalloc(count + 1, sizeof(*ret->vms)) };
	for (size_t i = 0; i < count; i++) {
		const struct plan_member *member = &members[i];
		bool ours = member->have.exists && !strcmp(owner_of(member), stack);
		now += ours;
		if (!member->want && !ours)
			continue;
		struct vm_plan *vm = &ret->vms[ret->count++];
		if (member->want) {
			plan_wanted(stack, member, &policy, vm);
			continue;
		}
		plan_vm(member->name, NULL, &member->have, &policy, vm);
		if (plan_changed_nature(members, count, member, &policy, vm))
			continue;
		plan_unwanted(prune, absent, vm);
		leaving += vm->kind == ACTION_DELETE;
	}
	if (leaving && !options->prune_all &&
	    leaving > plan_guard_allowance(now, options->largest_recent))
		hold_back(ret, leaving, now, absent);
	plan_order(ret, members, count);
	tally(ret);
	ret->needs_adopt = ret->to_adopt && !options->adopt;
}
