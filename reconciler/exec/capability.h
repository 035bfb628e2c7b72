/* exec/capability.h - what a VM is made of on this host: one file and one row of capabilities[] a
 * thing.
 *
 * A row says by its steps how its thing comes to be, is brought to a run, and goes again. The steps
 * of an action are those of its phases (capability.c), of a phase those of all rows: first row
 * first, but last row first where things go. Everything in a row is idempotent, as a crash may come
 * between an effect and its record, and only steps_run() (job.h) unwinds. */
#ifndef EXEC_CAPABILITY_H
#define EXEC_CAPABILITY_H

#include "exec/job.h"
#include "exec/ledger.h"

#include <stdio.h>

enum phase {
	PHASE_END,     /* of an action */
	PHASE_RELEASE, /* the run ends; last row first. Only when the VM runs */
	PHASE_RETIRE,  /* what the action makes anew goes */
	PHASE_MAKE,    /* what outlives a stop comes to be; what is there stays untouched */
	PHASE_FIT,     /* ... and gets the size that is wanted */
	PHASE_PREPARE, /* what a run needs; fills job->machine. Only when the VM shall run. The undo
			  is of a start that failed: nothing of the run is left */
	PHASE_CHANGE,  /* under the running guest: steps_live, no rows */
	PHASE_REMOVE,  /* everything goes; last row first */
	PHASE_COUNT_
};

/* A file in the VM's directory. What is called so and is of another type is not ours. */
struct vm_file {
	const char *name;
	const char *kind; /* "disk": an object of the ledger; NULL: part of the directory */
	enum need need;
	bool data;   /* a user's */
	mode_t type; /* S_IFSOCK; 0: a regular file */
};

struct capability {
	const char *name;
	/* Does this VM have one? Asked before MAKE and PREPARE, for what was once wanted may have
	 * to be fitted, released and removed still. NULL: every VM. */
	bool (*wanted)(const struct job *job);
	struct step steps[PHASE_COUNT_]; /* run NULL: nothing to do in that phase */
	/* What it leaves in the directory, for the ledger; ends with name NULL. What it has
	 * elsewhere on the host is found by a row of ledger_kinds[]. */
	const struct vm_file *files;
};

extern const struct capability cap_directory, cap_system_disk, cap_work_disk, cap_host_key,
	cap_made, cap_network, cap_rules, cap_seed, cap_sockets, cap_access, cap_hypervisor,
	cap_handles;

/* In the order they come to be; ends with NULL. */
extern const struct capability *const capabilities[];

/* Did a run of this VM begin whose end nobody saw, or not to its end? */
bool vm_run_is_marked(const char *vms_dir, const char *id);

#define STEPS_MAX 64
/* Those of the job's action, in order. */
size_t job_steps(const struct job *job, const struct step *ret[STEPS_MAX]);
/* "restart<TAB>stop" for every step of every action, as a VM that has everything goes through them:
 * twice as many points where a daemon can be killed. */
void steps_print(FILE *to);

#endif
