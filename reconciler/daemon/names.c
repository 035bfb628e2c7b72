/* Names of the machine's VMs: answered as long as the bridge is there, as its address is where.
 * Whoever makes and removes it is a worker, so it is looked for after each job. What blocks,
 * telling systemd-resolved, is a worker's. */
#include "daemon/bridge.h"
#include "base/log.h"
#include "driver/net_dns.h"

#include <net/if.h>
#include <string.h>

struct names {
	struct net_dns_zone zone;
	struct net_dns *dns;
	unsigned link;	     /* index of the bridge that this is about; 0: none */
	struct routing *now; /* under way */
	bool routed;	     /* systemd-resolved asks us, or is not there */
	char said[200];	     /* the last complaint, which is not repeated */
};

struct routing {
	struct work work;
	struct bangerd *d;
	struct net_subnet subnet;
	unsigned link;
	bool told;
	struct error err;
};

/* --- who runs --- */

static bool address_of(const void *data, const char *name, char ret[16])
{
	const struct vm *vm = vm_find((struct bangerd *)data, name);
	return vm && vm->pid && vm->row.address && str_copy(ret, 16, vm->row.address);
}

static bool name_of(const void *data, const char *address, char ret[NET_DNS_NAME_MAX])
{
	const struct bangerd *d = data;
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i]->pid && d->vms[i]->row.address &&
		    !strcmp(d->vms[i]->row.address, address))
			return str_copy(ret, NET_DNS_NAME_MAX, d->vms[i]->row.name);
	return false;
}

/* --- systemd-resolved --- */

static void complain(struct names *names, const char *text)
{
	if (strncmp(names->said, text, sizeof(names->said) - 1) != 0)
		log_warn(NULL, "%s", text);
	str_copy(names->said, sizeof(names->said), text);
}

static void route(struct work *work)
{
	struct routing *routing = (struct routing *)work;
	routing->told = net_resolved_state() != RESOLVED_ABSENT;
	if (routing->told)
		net_resolved_route(&routing->subnet, &routing->err);
}

static void routed(struct work *work)
{
	struct routing *routing = (struct routing *)work;
	struct names *names = routing->d->names;
	names->now = NULL;
	/* The bridge may have gone meanwhile, and its settings with it. */
	if (routing->link == names->link && routing->err.code == ERROR_NONE) {
		names->routed = true;
		if (routing->told)
			log_info(NULL, "systemd-resolved asks us for names in ." NET_DNS_ZONE);
		else
			log_info(NULL,
				 "systemd-resolved does not run, so nobody asks us for names in "
				 "." NET_DNS_ZONE ": have your resolver do so at the bridge's "
				 "address (dnsmasq: server=/" NET_DNS_ZONE "/ADDRESS)");
	} else if (routing->link == if_nametoindex(NET_BRIDGE)) {
		complain(names, routing->err.text);
	}
	free(routing);
}

static void begin_routing(struct bangerd *d)
{
	struct routing *routing = xcalloc(1, sizeof(*routing));
	routing->work = (struct work){ .run = route, .done = routed };
	routing->d = d;
	routing->subnet = d->subnet;
	routing->link = d->names->link;
	d->names->now = routing;
	pool_submit(d->pool, &routing->work);
}

/* --- with the bridge --- */

static void open_server(struct bangerd *d)
{
	char gateway[16];
	struct error err = { 0 };
	struct names *names = d->names;
	net_subnet_gateway(&d->subnet, gateway);
	names->dns = net_dns_open(d->loop, gateway, NET_DNS_PORT, &names->zone, &err);
	/* Made a moment ago, and not given its address yet: whoever makes it ends a job soon. */
	if (!names->dns && err.sys != EADDRNOTAVAIL)
		complain(names, err.text);
}

void names_settle(struct bangerd *d, unsigned link)
{
	struct names *names = d->names;
	if (link != names->link || !link) {
		net_dns_close(names->dns);
		names->dns = NULL;
		names->routed = false;
		names->link = link;
	}
	if (link && !names->dns)
		open_server(d);
	if (names->dns && !names->routed && !names->now)
		begin_routing(d);
}

void names_resync(struct bangerd *d)
{
	if (d->names->link && d->names->routed && net_resolved_state() == RESOLVED_ASKS_OTHERS)
		d->names->routed = false;
}

void names_open(struct bangerd *d)
{
	d->names = xcalloc(1, sizeof(*d->names));
	d->names->zone = (struct net_dns_zone){
		.subnet = &d->subnet, .address_of = address_of, .name_of = name_of, .data = d
	};
}

void names_free(struct bangerd *d)
{
	if (!d->names)
		return;
	net_dns_close(d->names->dns);
	free(d->names->now);
	free(d->names);
	d->names = NULL;
}
