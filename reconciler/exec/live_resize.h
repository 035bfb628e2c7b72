/* exec/live_resize.h - memory and disks of a running VM: the steps of steps_live.c that wait for
 * the guest.
 *
 * None has an undo: what the guest has got already is no harm, it goes on towards what is wanted,
 * and a disk never gets smaller. */
#ifndef EXEC_LIVE_RESIZE_H
#define EXEC_LIVE_RESIZE_H

#include "exec/job.h"

int live_memory(struct job *job, struct error *err);
/* The device, then the file system in it, which is grown again when only that was left undone. */
int live_system_disk(struct job *job, struct error *err);
int live_work_disk(struct job *job, struct error *err);

#endif
