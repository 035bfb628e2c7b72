/* daemon/host.h - what workers do about the host as a whole: rpc_host.c, rpc_adopt.c. */
#ifndef DAEMON_HOST_H
#define DAEMON_HOST_H

#include "daemon/bangerd.h"

void host_sweep(struct bangerd *d); /* orphans go that hold nobody's data */
/* When the pool is gone: what it had not finished. */
void host_looks_free(struct bangerd *d);
void adoptions_free(struct bangerd *d);

#endif
