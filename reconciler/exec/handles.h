/* exec/handles.h - vms/<id>/handles.json: a cache of what a scan of the host would find.
 *
 * It may be missing, stale or rubbish at any time; whoever reads it checks pid and start time
 * against the process that was found. Only the start's wall clock is worth having. */
#ifndef EXEC_HANDLES_H
#define EXEC_HANDLES_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct handles {
	pid_t pid;
	uint64_t start_ticks;
	int64_t started_ms;
};

int handles_write(int vm_dirfd, const struct handles *handles, struct error *err);
/* -1 when there is nothing usable. */
int handles_read(int vm_dirfd, struct handles *ret);

#endif
