/* daemon/bridge.h - what is done as long as there is a bridge: bridge.c. Workers make it and take
 * it away, so it is looked for after each job.
 *
 * names.c  <name>.vm for the machine's running VMs
 * rules.c  the rules, against others that change them */
#ifndef DAEMON_BRIDGE_H
#define DAEMON_BRIDGE_H

#include "daemon/bangerd.h"

void bridge_open(struct bangerd *d);   /* what runs is known */
void bridge_settle(struct bangerd *d); /* it may have come or gone */
void bridge_resync(struct bangerd *d); /* what is around it, too */
void bridge_free(struct bangerd *d);   /* when the pool is gone */

/* --- for bridge.c; link: its index, 0: there is none --- */
void names_open(struct bangerd *d);
void names_settle(struct bangerd *d, unsigned link);
void names_resync(struct bangerd *d);
void names_free(struct bangerd *d);
void rules_settle(struct bangerd *d, unsigned link);
void rules_resync(struct bangerd *d);
void rules_free(struct bangerd *d);

#endif
