/* agent/agent.h - the running agent: everything it holds, and its loop.
 *
 * One thread, one loop; nothing in it blocks. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "agent/channel.h"
#include "agent/jobs.h"
#include "agent/phase.h"
#include "agent/power.h"
#include "agent/seed.h"

#define AGENT_PROTOCOL	   1
#define AGENT_BOOT_ID_SIZE 40

/* When to look next whether a port listens: often at first, then ever less, then no more. */
struct watch {
	uint64_t next_ms; /* uptime; 0: nothing to watch */
	unsigned wait_ms;
};

struct agent {
	struct seed *seed; /* owned */
	const char *home;  /* root's, where authorized_keys is: "/root" */
	struct phases phases;
	struct channel channel;
	struct jobs jobs;
	struct power power;
	struct watch watch;
	char *name;    /* argv[0] of the process, borrowed */
	int boot_root; /* the initrd's root while it is still needed, owned; else -1 */
};

/* Marks the phase and tells the host; a second time is nothing. */
void agent_reach(struct agent *agent, enum phase phase);
bool agent_is_ready(const struct agent *agent);
/* The kernel's name for this boot, "" when it does not tell. */
void agent_boot_id(char id[AGENT_BOOT_ID_SIZE]);
/* Looks at what the seed's "ready" waits for; sets when to look again. now: uptime. */
void agent_watch(struct agent *agent, uint64_t now_ms);
/* Under Firecracker: listens for the host. Else its port is found by agent_run(). */
void agent_open_line(struct agent *agent);
/* Tells the host of a failure, waiting at most wait_ms for it to be written. */
void agent_tell_failure(struct agent *agent, const char *step, const struct error *err,
			unsigned wait_ms);

/* Serves until the machine is off. boot_root: the initrd's root, owned; its late modules are
 * loaded, then its files are removed. */
_Noreturn void agent_run(struct agent *agent, int boot_root);

#endif
