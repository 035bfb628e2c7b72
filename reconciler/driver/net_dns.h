/* driver/net_dns.h - names for the machine's VMs: <name>.vm leads to the address of one that runs,
 * its address back to the name.
 *
 * Only this host is answered, at the bridge's address: guests reach nothing of each other, so they
 * are not told who is there either. What is not ours is refused: this is no resolver. */
#ifndef DRIVER_NET_DNS_H
#define DRIVER_NET_DNS_H

#include "driver/net_bridge.h"
#include "sys/loop.h"

#include <sys/types.h>

#define NET_DNS_ZONE	  "vm"
#define NET_DNS_PORT	  53
#define NET_DNS_QUERY_MAX 1024
#define NET_DNS_REPLY_MAX 512
#define NET_DNS_NAME_MAX  64 /* a label, with its end */

/* Who runs now. Names are in small letters, addresses as text. */
struct net_dns_zone {
	const struct net_subnet *subnet;
	bool (*address_of)(const void *data, const char *name, char ret[16]);
	bool (*name_of)(const void *data, const char *address, char ret[NET_DNS_NAME_MAX]);
	const void *data;
};

/* One message for another (RFC 1035, 2308, 6891); pure. 0: there is nothing to say to that. */
size_t net_dns_answer(const struct net_dns_zone *zone, const uint8_t *query, size_t len,
		      uint8_t reply[NET_DNS_REPLY_MAX]);

/* The server: UDP and TCP at that address of ours, in the loop. zone is borrowed. err->sys says
 * EADDRNOTAVAIL when nobody has that address yet. */
struct net_dns *net_dns_open(struct loop *loop, const char *address, uint16_t port,
			     const struct net_dns_zone *zone, struct error *err);
void net_dns_close(struct net_dns *dns); /* NULL is fine */

/* systemd-resolved, which forgets a link's settings with the link. */
enum resolved_state { RESOLVED_ABSENT, RESOLVED_ASKS_OTHERS, RESOLVED_ASKS_US };
enum resolved_state net_resolved_state(void);
/* From now on it asks us for the names and addresses that are ours, and for no others. Blocks. */
int net_resolved_route(const struct net_subnet *subnet, struct error *err);
/* Its zones: "~vm", "~183.10.in-addr.arpa", … as many as the subnet has whole octets' worth of;
 * NULL at the end. The caller frees each and all. */
char **net_resolved_domains(const struct net_subnet *subnet);

#endif
