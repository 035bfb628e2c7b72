/* cli/guest_watch.h - an ssh whose guest is gone.
 *
 * A guest on the bridge that dies says nothing more, and nobody says it for it: ssh would wait for
 * three quarters of a minute. That its hypervisor has ended is told by a pidfd of it, which bangerd
 * hands out and which outlives bangerd. */
#ifndef CLI_GUEST_WATCH_H
#define CLI_GUEST_WATCH_H

#include "cli/cli.h"

#include <sys/types.h>

struct guest_watch;
/* Of the run that target (ssh_wait_ready()'s) is about; calls the daemon. */
struct guest_watch *guest_watch_new(struct cli *cli, const cJSON *target);
/* From now on ssh, a child of ours, ends soon after the hypervisor has. */
void guest_watch_start(struct guest_watch *watch, pid_t ssh);
/* When ssh has ended, or was never started. True: that was why. Frees; NULL is false. */
bool guest_watch_end(struct guest_watch *watch);

#endif
