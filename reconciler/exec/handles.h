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

/* vms/<id>/made: the digest of the image its system disk was made from, written when a creation is
 * complete; so a daemon that died before it could record that finds it out. */
int made_write(int vm_dirfd, const char *digest, struct error *err);
int made_read(int vm_dirfd, char ret_digest[65]);

#endif
