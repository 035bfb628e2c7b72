/* agent/minimal.h - an init for images that have none, such as most container images. */
#ifndef AGENT_MINIMAL_H
#define AGENT_MINIMAL_H

#include <stdbool.h>

/* As process 1: mounts /run, /dev/pts and /dev/shm, runs /etc/rc once if there is one and keeps
 * OpenSSH's server running if it is there, reaps what is left behind, and powers off on SIGUSR2 or
 * SIGTERM as busybox's init does; by_reset: agent/power.h. */
_Noreturn void minimal_run(bool by_reset);

#endif
