/* agent/power.h - turn the machine off: orderly, and in any case.
 *
 * Theory of operation. A request is answered first. Then a child syncs and runs the image's own
 * poweroff, which its init (systemd, busybox, …) knows how to do; the agent goes on answering.
 * When that fails, or POWER_IMAGE_MS have passed, the agent does it itself: SIGTERM to all,
 * SIGKILL to all, sync, remount read-only, power off, each bounded.
 * busybox's init ends by SIGTERM to all and then sleeps for two seconds to be sure. The agent gets
 * that signal too: everything orderly is done by then, so it waits until the others are really
 * gone and ends the sleep. For other inits it just ends then.
 * Some machines cannot be powered off from inside (Firecracker): they end by a reset, so there
 * everything is a reboot. */
#ifndef AGENT_POWER_H
#define AGENT_POWER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define POWER_IMAGE_MS	 8000
#define POWER_SYSTEMD_MS 30000 /* it has services to stop, each with its own time */

enum power_state { POWER_ON, POWER_ASKED, POWER_IMAGE };

struct power {
	bool by_reset; /* the machine ends when it reboots, and only then */
	enum power_state state;
	pid_t child;	      /* runs the image's poweroff; 0: none */
	uint64_t deadline_ms; /* uptime at which the state is over */
};

/* Only notes it; a second time is nothing. */
void power_request(struct power *power, uint64_t now_ms);
/* What to do by now, called at each turn of the loop. flushed: the reply has been written. */
void power_step(struct power *power, uint64_t now_ms, bool flushed);
/* SIGTERM has come, from whoever ends the other processes as well. */
void power_terminated(const struct power *power);

/* All processes, disks, power. Returns only when the kernel refuses. */
void power_off_now(bool by_reset);

#endif
