/* daemon/names.h - <name>.vm for the machine's running VMs: names.c; nothing of it without a
 * bridge. */
#ifndef DAEMON_NAMES_H
#define DAEMON_NAMES_H

#include "daemon/bangerd.h"
#include "driver/net_dns.h"

void names_open(struct bangerd *d);
void names_settle(struct bangerd *d); /* the bridge may have come or gone */
void names_resync(struct bangerd *d); /* so may systemd-resolved */
void names_free(struct bangerd *d);   /* when the pool is gone */

#endif
