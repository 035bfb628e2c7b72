/* plan/pending.h - `--no-restart`: what goes without interrupting the guest, and the rest later. */
#ifndef PLAN_PENDING_H
#define PLAN_PENDING_H

#include "plan/plan.h"

/* plan: of a running VM, its changes listed. Those that need a restart or more become pending, the
 * others are what the plan is about; plan->instead is what is to be wanted until then. */
void plan_leave_restarts(struct vm_plan *plan, const struct vm_spec *want,
			 const struct vm_spec *have);

#endif
