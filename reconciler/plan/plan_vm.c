/* Theory of operation
 *
 * plan_vm() first compares (the rows of vm_spec_diff(), and one for a newer image), then judges by
 * the first question whose answer settles it:
 *
 *   not wanted            delete, unless protected
 *   ttl passed            delete what is there, then stay away
 *   nothing there yet     create; also a creation that was cut short, its steps are idempotent
 *   would lose data       refuse, unless allowed
 *   shall be off          stop, or change it where it lies
 *   held, or its exit     wait: a person or the restart policy wants it off, and only they (or a
 *   was final             new spec, then exit_current is false) turn that over
 *   otherwise             the worst class among the changes decides
 *
 * The `state` row never decides: whether the guest runs is seen on the host, the row only says that
 * a record must follow. An action carries out all listed changes, whatever its kind, so planning
 * again after it finds nothing. */
#include "plan/pending.h"
#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

struct judgement {
	const struct vm_spec *want;
	const struct plan_vm_state *have;
	const struct plan_policy *policy;
	struct vm_plan *plan;
	bool reimage; /* some change needs a new system disk, even when a worse class hides it */
};

static void settle(struct vm_plan *plan, enum action_kind kind, const char *reason)
{
	plan->kind = kind;
	snprintf(plan->reason, sizeof(plan->reason), "%s", reason);
}

static void raise_worst(struct vm_plan *plan, enum change_class class)
{
	if (class > plan->worst)
		plan->worst = class;
}

static bool lists(const struct vm_plan *plan, const char *key)
{
	for (size_t i = 0; i < plan->changes.count; i++)
		if (!strcmp(plan->changes.at[i].key, key))
			return true;
	return false;
}

/* A guest that shall be off has none to be brought up to date. */
static void compare_workspace(struct judgement *j)
{
	const struct plan_workspace *is = &j->have->workspace;
	const char *source = j->want->workspace.source;
	char *from;
	if (!is->known || !source[0] || j->want->state == STATE_STOPPED ||
	    lists(j->plan, "workspace") || (is->as_wanted && !strcmp(is->prepared, is->host)))
		return;
	if (!is->prepared[0])
		from = xstrdup("not prepared");
	else
		from = xasprintf("%s%s", is->as_wanted ? "" : "another at ", is->prepared);
	field_change_vec_push(
		&j->plan->changes,
		(struct field_change){ .key = "workspace",
				       .from = from,
				       .to = xasprintf("%s of %.150s", is->host, source),
				       .class = CLASS_LIVE });
	raise_worst(j->plan, CLASS_LIVE);
}

static void compare(struct judgement *j)
{
	struct vm_plan *plan = j->plan;
	struct capabilities can = j->policy->can;
	if (j->have->adopted && j->have->running)
		can = (struct capabilities){ 0 };
	bool memory = can.live_memory && j->have->running;
	can.memory_floor = memory ? j->have->memory_floor : 0;
	can.memory_ceiling = memory ? j->have->memory_ceiling : 0;
	can.live_nat |= j->have->running && j->have->bridged;
	plan->worst = vm_spec_diff(j->have->have, j->want, &can, &plan->changes);
	for (size_t i = 0; i < plan->changes.count; i++) {
		const struct field_change *change = &plan->changes.at[i];
		j->reimage |= change->class == CLASS_REIMAGE;
	}
	compare_workspace(j);
	if (!j->have->image_outdated || lists(plan, "image"))
		return;
	field_change_vec_push(&plan->changes,
			      (struct field_change){ .key = "image",
						     .from = xstrdup(j->want->image),
						     .to = xasprintf("%s (newer)", j->want->image),
						     .class = CLASS_REIMAGE });
	raise_worst(plan, CLASS_REIMAGE);
	j->reimage = true;
}

static void plan_delete(struct vm_plan *plan, const struct plan_vm_state *have, const char *reason)
{
	settle(plan, ACTION_DELETE, reason);
	plan->disruptive = have->running || have->disks_made;
}

/* It has gone from the source; who wrote `protect` there wanted it to outlive that. */
static void plan_unwanted(struct vm_plan *plan, const struct plan_vm_state *have)
{
	if (have->exists && have->have && have->have->protect)
		settle(plan, ACTION_REFUSE, "protected, set protect: false first");
	else if (have->exists)
		plan_delete(plan, have, "");
}

static void plan_create(struct judgement *j)
{
	bool again = j->have->exists;
	settle(j->plan, ACTION_CREATE, again ? "its creation was cut short" : "");
	char *summary = vm_spec_summary(j->want);
	snprintf(j->plan->summary, sizeof(j->plan->summary), "%s", summary);
	free(summary);
}

/* Why a VM that shall run and does not is left alone; false: it is not. */
static bool must_wait(const struct judgement *j)
{
	const struct plan_vm_state *have = j->have;
	struct vm_plan *plan = j->plan;
	if (have->hold != HOLD_NONE && !j->policy->lift_hold) {
		plan->kind = ACTION_WAIT;
		snprintf(plan->reason, sizeof(plan->reason),
			 "on hold: stopped by 'banger %s', 'banger start' lifts it",
			 have->hold == HOLD_KILL ? "kill" : "stop");
		return true;
	}
	if (have->exit == EXIT_NONE || !have->exit_current ||
	    plan_restarts_after(j->want->restart, have->exit))
		return false;
	plan->kind = ACTION_WAIT;
	snprintf(plan->reason, sizeof(plan->reason), "exited (%s), restart: %s",
		 exit_reason_name(have->exit),
		 j->want->restart == RESTART_NEVER ? "never" : "on-failure");
	return true;
}

static void plan_start(struct judgement *j)
{
	struct vm_plan *plan = j->plan;
	plan->kind = ACTION_START;
	raise_worst(plan, CLASS_START);
	if (j->have->hold != HOLD_NONE)
		settle(plan, ACTION_START, "lifts the hold");
	else if (j->have->exit != EXIT_NONE)
		snprintf(plan->reason, sizeof(plan->reason), "exited (%s)",
			 exit_reason_name(j->have->exit));
}

static void plan_off(struct judgement *j)
{
	struct vm_plan *plan = j->plan;
	if (j->reimage) {
		plan->kind = ACTION_REIMAGE;
	} else if (j->have->running) {
		plan->kind = ACTION_STOP;
		raise_worst(plan, CLASS_STOP);
	} else if (plan->worst != CLASS_NONE) {
		plan->kind = ACTION_LIVE;
	}
}

/* Would these changes restart a guest whose hypervisor could do nothing live? */
static bool could_be_a_restart(const struct judgement *j)
{
	static const struct capabilities none = { 0 };
	return vm_spec_diff(j->have->have, j->want, &none, NULL) >= CLASS_RESTART;
}

static void plan_running(struct judgement *j)
{
	struct vm_plan *plan = j->plan;
	if (j->policy->no_restart && plan->worst >= CLASS_RESTART)
		plan_leave_restarts(plan, j->want, j->have->have);
	else if (j->reimage)
		plan->kind = ACTION_REIMAGE;
	else if (plan->worst >= CLASS_RESTART)
		plan->kind = ACTION_RESTART;
	else if (plan->worst != CLASS_NONE)
		plan->kind = ACTION_LIVE;
	if (plan->kind == ACTION_LIVE && j->policy->may_restart && could_be_a_restart(j))
		settle(plan, ACTION_LIVE, "restarted if the guest does not go along");
}

/* Names what would go: the fields of that class are disks. */
static void refuse_loss(struct vm_plan *plan)
{
	const struct field_change *lost = NULL;
	for (size_t i = 0; i < plan->changes.count; i++)
		if (plan->changes.at[i].class == CLASS_DATA_LOSS)
			lost = &plan->changes.at[i];
	plan->kind = ACTION_REFUSE;
	snprintf(plan->reason, sizeof(plan->reason),
		 "would lose the data of its %s (%.40s), --allow-data-loss allows it",
		 lost ? lost->key : "disks", lost ? lost->from : "all of it");
}

static void plan_existing(struct judgement *j)
{
	struct vm_plan *plan = j->plan;
	const struct plan_vm_state *have = j->have;
	bool held = have->hold != HOLD_NONE && !j->policy->lift_hold;

	if (plan->worst == CLASS_DATA_LOSS && !j->policy->allow_data_loss) {
		refuse_loss(plan);
		return;
	}
	if (j->want->state == STATE_STOPPED) {
		plan_off(j);
	} else if (have->running && held) {
		settle(plan, ACTION_STOP, "on hold: 'banger stop' was not finished");
		raise_worst(plan, CLASS_STOP);
	} else if (have->running) {
		plan_running(j);
	} else if (must_wait(j)) {
		return;
	} else if (j->reimage) {
		plan->kind = ACTION_REIMAGE;
	} else {
		plan_start(j);
	}
	bool interrupts = plan->kind == ACTION_RESTART || plan->kind == ACTION_STOP;
	plan->disruptive = (interrupts && have->running) || plan->kind == ACTION_REIMAGE ||
			   plan->worst == CLASS_DATA_LOSS;
	bool comes_back = plan->kind == ACTION_RESTART || plan->kind == ACTION_REIMAGE;
	if (comes_back && have->running && j->want->state == STATE_RUNNING)
		plan->downtime_ms = have->boot_ms;
}

void plan_vm(const char *name, const struct vm_spec *want, const struct plan_vm_state *have,
	     const struct plan_policy *policy, struct vm_plan *ret)
{
	*ret = (struct vm_plan){ .kind = ACTION_NONE };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	struct judgement j = { .want = want, .have = have, .policy = policy, .plan = ret };
	bool there = have->exists && have->disks_made && have->have;

	if (!want) {
		plan_unwanted(ret, have);
		return;
	}
	/* protect wins over ttl: such a VM lives on as if it had none. */
	if (have->expired_current && !want->protect) {
		if (have->running || (have->exists && have->disks_made))
			plan_delete(ret, have, "its ttl has passed");
		else
			settle(ret, ACTION_WAIT, "expired, its ttl has passed");
		return;
	}
	if (there) {
		compare(&j);
		plan_existing(&j);
		return;
	}
	if (have->exists && want->state == STATE_RUNNING && must_wait(&j))
		return;
	plan_create(&j);
}
