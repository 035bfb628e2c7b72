/* cli/agent_exec.h - one command over the agent's exec channel (agent/PROTOCOL.md, "Exec"). */
#ifndef CLI_AGENT_EXEC_H
#define CLI_AGENT_EXEC_H

#include "base/error.h"

#include <stdint.h>

struct agent_exec {
	int fd;			 /* the connected channel; hanging up is the caller's */
	const char *const *argv; /* ends with NULL */
	int in, out, err;	 /* of this side; -1: none */
	uint64_t greeting_ms;	 /* how long the guest may take to say its first word */
	/* A further descriptor to be looked after meanwhile, -1: none. Called when there is
	 * something to read or every retry_ms while it is -1; returns the one to look after then.
	 */
	int also;
	int (*on_also)(void *arg, int also);
	void *arg;
};
/* Runs it as root; its exit status, or 128 and the signal, its own or the one that ended us
 * (SIGINT, SIGTERM, SIGHUP; SIGPIPE when nobody reads what it writes): hanging up then kills it.
 * TIMEOUT: no greeting; UNAVAILABLE: the connection ended; SYSTEM: the guest talks nonsense. The
 * caller ignores SIGPIPE. */
int agent_exec(const struct agent_exec *exec, int *ret_status, struct error *err);

#endif
