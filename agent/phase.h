/* agent/phase.h - how far a boot has come. */
#ifndef AGENT_PHASE_H
#define AGENT_PHASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PHASES(X)                                                                                  \
	X(KERNEL, "kernel")   /* the kernel has given way to its first process */                  \
	X(MOUNTED, "mounted") /* root and work disk, files of the seed in place */                 \
	X(NETWORK, "network") /* interface up, address set */                                      \
	X(INIT, "init")	      /* the image's own init takes over */                                \
	X(SSH, "ssh")	      /* port 22 listens */                                                \
	X(READY, "ready")     /* what the seed's "ready" asks for */

enum phase {
#define X(name, text) PHASE_##name,
	PHASES(X)
#undef X
		PHASE_COUNT_
};

struct phases {
	uint64_t at_ms[PHASE_COUNT_]; /* since the kernel started; 0: not reached */
};

const char *phase_name(enum phase phase);
/* The furthest that was reached; PHASE_COUNT_ when none. */
enum phase phases_furthest(const struct phases *phases);
/* Milliseconds since the kernel started, suspended time counted; never 0. */
uint64_t uptime_ms(void);

/* Whether a socket listens on that port, by the text of /proc/net/tcp or tcp6. */
bool tcp_table_listens(const char *table, uint16_t port);
/* The same by this guest's own tables. */
bool tcp_port_listens(uint16_t port);

#endif
