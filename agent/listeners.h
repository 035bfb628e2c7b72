/* agent/listeners.h - the sockets that somebody outside could speak to, and whose they are. */
#ifndef AGENT_LISTENERS_H
#define AGENT_LISTENERS_H

#include "base/error.h"
#include "base/json.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LISTENERS_MAX 128

struct listener {
	bool udp;
	char address[46]; /* "0.0.0.0", "::1" */
	uint16_t port;
	uint64_t inode;
	pid_t pid;	  /* 0: nobody's that can be seen */
	char process[17]; /* the kernel's short name for it */
};

struct listeners {
	struct listener at[LISTENERS_MAX];
	size_t count;
	bool truncated;
};

/* Adds what listens (TCP) or is bound without a peer (UDP), by the text of /proc/net/tcp, tcp6,
 * udp or udp6. Lines that are none are passed over; the same address and port counts once. */
void listeners_add(struct listeners *found, const char *table, bool udp);
/* Finds the owners below proc ("/proc"). */
void listeners_find_owners(struct listeners *found, const char *proc);
/* The result of `ports`. In a job: it looks at every descriptor of every process. */
int listeners_tell(cJSON *result, struct error *err);

#endif
