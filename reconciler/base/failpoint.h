/* base/failpoint.h - places where a test build can die.
 *
 * FAILPOINT("name") is nothing unless compiled with -DBANGER_FAILPOINTS, as the sanitized builds of
 * the tests are and a build that anybody installs is not; then the process kills
 * itself there with SIGKILL (no destructors, no flushing: what a power cut or the OOM killer leaves
 * behind) when BANGER_FAILPOINT=name, or name@3 for the third passage. */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#include <stdbool.h>
#include <stdint.h>

/* Any thread; only defined in a test build. */
void failpoint_hit(const char *name);
void failpoint_step(const char *when, const char *step);
/* Is there a file of this name in the directory $BANGER_FAULTS, and which number stands in it (0:
 * none)? So a test makes a host fail, and mend, under a running process. */
bool fault_active(const char *name, int64_t *ret_number);

#ifdef BANGER_FAILPOINTS
#define FAILPOINT(name) failpoint_hit(name)
/* "before" or "after" a step of a table that `bangerd --list-steps` prints. */
#define FAILPOINT_STEP(when, step) failpoint_step(when, step)
/* "fork": no process can be made. "clock": so many ms are added to the wall clock. */
#define FAULT(name, ret_number) fault_active(name, ret_number)
#else
#define FAILPOINT(name)		   ((void)0)
#define FAILPOINT_STEP(when, step) ((void)(step))
#define FAULT(name, ret_number)	   false
#endif

#endif
