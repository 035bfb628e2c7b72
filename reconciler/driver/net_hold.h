/* driver/net_hold.h - ports of the host that lead to guests on the bridge, kept from others.
 *
 * Rules send away what arrives at such a port before any socket of the host sees it. Whoever
 * listened there would wonder for long; so a socket of ours, which never listens, is bound to it.
 */
#ifndef DRIVER_NET_HOLD_H
#define DRIVER_NET_HOLD_H

#include "base/error.h"
#include "base/vec.h"
#include "schema/vm_spec.h"

struct net_hold {
	char id[16], address[16];
	unsigned host;
	enum port_proto proto;
	int fd;
};
DEFINE_VEC(net_hold_vec, struct net_hold)

/* Also those that the VM holds already. BUSY: who has the port is named; those before it are held.
 * ports may be NULL: none. */
int net_hold_ports(struct net_hold_vec *holds, const char *id, const struct port_list *ports,
		   struct error *err);
/* The VM lets go of all others; NULL: of all. */
void net_hold_only(struct net_hold_vec *holds, const char *id, const struct port_list *ports);
void net_hold_clear(struct net_hold_vec *holds);

#endif
