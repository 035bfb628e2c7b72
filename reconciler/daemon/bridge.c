#include "daemon/bridge.h"

#include <net/if.h>

void bridge_open(struct bangerd *d)
{
	if (d->host.subnet)
		names_open(d);
}

void bridge_settle(struct bangerd *d)
{
	if (!d->host.subnet)
		return;
	unsigned link = if_nametoindex(NET_BRIDGE);
	names_settle(d, link);
	rules_settle(d, link);
}

void bridge_resync(struct bangerd *d)
{
	if (!d->host.subnet)
		return;
	names_resync(d);
	rules_resync(d);
	bridge_settle(d);
}

void bridge_free(struct bangerd *d)
{
	names_free(d);
	rules_free(d);
}
