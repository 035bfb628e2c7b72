#include "plan/pending.h"
#include "base/cleanup.h"
#include "base/json.h"

#include <stdio.h>

/* want, with the pending keys as they are now. NULL: the two do not go together (a memory_max below
 * the memory that stays, say). */
static struct vm_spec *without_pending(const struct vm_plan *plan, const struct vm_spec *want,
				       const struct vm_spec *have)
{
	struct error ignored;
	auto_json cJSON *to = vm_spec_to_json_full(want);
	auto_json cJSON *from = vm_spec_to_json_full(have);
	for (size_t i = 0; i < plan->changes.count; i++) {
		const struct field_change *change = &plan->changes.at[i];
		cJSON *value = change->pending
				       ? cJSON_DetachItemFromObjectCaseSensitive(from, change->key)
				       : NULL;
		if (value)
			cJSON_ReplaceItemInObjectCaseSensitive(to, change->key, value);
	}
	return vm_spec_from_json(to, &ignored);
}

static enum change_class worst_of_rest(const struct vm_plan *plan)
{
	enum change_class worst = CLASS_NONE;
	for (size_t i = 0; i < plan->changes.count; i++)
		if (!plan->changes.at[i].pending && plan->changes.at[i].class > worst)
			worst = plan->changes.at[i].class;
	return worst;
}

static void set_pending(struct vm_plan *plan, enum change_class from)
{
	for (size_t i = 0; i < plan->changes.count; i++)
		plan->changes.at[i].pending = plan->changes.at[i].class >= from;
}

void plan_leave_restarts(struct vm_plan *plan, const struct vm_spec *want,
			 const struct vm_spec *have)
{
	set_pending(plan, CLASS_RESTART);
	plan->instead = without_pending(plan, want, have);
	if (!plan->instead) {
		set_pending(plan, CLASS_NONE);
		plan->instead = vm_spec_copy(have);
	}
	plan->instead->file = want->file;     /* which outlives the plan, as all of want does */
	plan->instead->reader = have->reader; /* its `files` are those it has */
	plan->pending = true;
	plan->worst = worst_of_rest(plan);
	plan->kind = plan->worst == CLASS_NONE ? ACTION_KEEP : ACTION_LIVE;
	if (plan->kind == ACTION_KEEP)
		snprintf(plan->reason, sizeof(plan->reason), "left as it is by --no-restart");
}
