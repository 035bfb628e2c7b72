/* plan/roll.h - which replicas of a set may be interrupted now (`max_unavailable`), decided purely.
 *
 * A change that interrupts a running guest (restart, reimage) rolls over its set: at no time are
 * more than max_unavailable replicas away because of it, and each has to be ready again before the
 * next one goes. The first goes alone, whatever the limit: what is wrong with the change shows on
 * one. A changed one that fails stops the roll; those that were not reached stay as they are.
 * Nothing is remembered from one question to the next: the states of the replicas tell all, so a
 * roll goes on after a restart of whoever asks. */
#ifndef PLAN_ROLL_H
#define PLAN_ROLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct roll_member {
	bool counts;  /* shall run; one that is held, stopped or deleted on purpose is not missed */
	bool ready;   /* and is, untouched: no job is about to interrupt it */
	bool unknown; /* it runs, and whether it is ready will be known in a moment */
	bool pending; /* it is still to be changed in a way that interrupts it */
	bool changing; /* a job of ours has begun to change it */
	bool failed;   /* its change failed: the job, or it does not get ready afterwards */
};

enum roll_verdict {
	ROLL_GO,
	ROLL_WAIT,
	ROLL_STOPPED,
};

/* May members[self], which is pending, be changed now? *ret_for: the member that keeps it from it,
 * not set for ROLL_GO. max_unavailable 0 counts as 1. */
enum roll_verdict roll_may_go(const struct roll_member *members, size_t count, size_t self,
			      uint32_t max_unavailable, size_t *ret_for);

#endif
