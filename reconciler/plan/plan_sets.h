/* plan/plan_sets.h - what only a VM's neighbours in its stack can tell: private to plan/. */
#ifndef PLAN_PLAN_SETS_H
#define PLAN_PLAN_SETS_H

#include "plan/plan.h"

/* A VM that left the source because an entry of its name makes a set now, or its set a VM: its
 * disks would go without having been meant, so that is a loss of data. ret: its planned deletion,
 * which becomes a refusal unless it is allowed. False: it is none of these. */
bool plan_changed_nature(const struct plan_member *members, size_t count,
			 const struct plan_member *member, const struct plan_policy *policy,
			 struct vm_plan *ret);
/* Fills in set, at_a_time and after of the entries; both lists are sorted by name. */
void plan_order(struct plan *plan, const struct plan_member *members, size_t count);

#endif
