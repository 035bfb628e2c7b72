#include "daemon/bridge.h"

#include "base/log.h"

#include <net/if.h>

/* What was found running is as this daemon is set, whatever the last one was. */
static void apply_settings(const struct bangerd *d)
{
	struct error err;
	if (net_taps_isolate(!d->host.vm_to_vm, &err) < 0)
		log_warn(NULL, "%s", err.text);
	if (net_rules_apply(d->host.rules, &err) < 0)
		log_warn(NULL, "%s", err.text);
}

void bridge_open(struct bangerd *d)
{
	if (!d->host.subnet)
		return;
	apply_settings(d);
	names_open(d);
	bridge_settle(d);
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
