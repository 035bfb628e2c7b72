/* driver/net_bridge.h - the machine's own network: a bridge with an address, and a tap on it for
 * every VM that runs.
 *
 * Needs root. Blocks, from any worker: one lock is around what changes the host. The bridge is
 * there as long as a tap is, so a host where no VM runs looks as it did before. A tap is named
 * after its VM ("bgr-<id>"), which is all that is known of it. VMs do not see each other there:
 * taps are isolated ports, which reach the host and nothing else, unless the host is set to let
 * them (BANGER_VM_TO_VM). */
#ifndef DRIVER_NET_BRIDGE_H
#define DRIVER_NET_BRIDGE_H

#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NET_BRIDGE	   "banger0"
#define NET_SUBNET_DEFAULT "10.183.0.0/16"
#define NET_TAP_PREFIX	   "bgr-"
#define NET_TAP_POOLED	   NET_TAP_PREFIX "pool-" /* and a number */
#define NET_TAP_MAX	   16			  /* with its end */

/* Host byte order. The first address is the bridge's, the guests' gateway. */
struct net_subnet {
	uint32_t network;
	unsigned prefix;
};

/* "10.183.0.0/16": /8 to /28, no bits beyond the prefix; else INVALID. */
int net_subnet_parse(const char *text, struct net_subnet *ret, struct error *err);
/* What BANGER_VM_TO_VM says: "allow", or "block" as when it is not set (NULL, ""); else INVALID. */
int net_vm_to_vm_parse(const char *text, bool *ret_allowed, struct error *err);
bool net_subnet_has(const struct net_subnet *subnet, const char *address);
void net_subnet_gateway(const struct net_subnet *subnet, char ret[16]);
/* An address for a VM, the same for the same id unless it is taken. BUSY: all of them are. */
int net_bridge_address(const struct net_subnet *subnet, const char *id, const char *const *taken,
		       size_t count, char ret[16], struct error *err);

/* Is this address one of user networking? Else it is one on the bridge. NULL is as if it were. */
bool net_address_is_user(const char *address);
/* Where SSH of a guest is reached at that address. */
unsigned net_ssh_port(const char *address);

/* The first IPv4 resolver of this host that is not on its loopback; "": none. */
void net_upstream_dns(char ret[16]);
bool net_resolv_conf_parse(const char *text, char ret[16]);

/* CONFLICT: see net_tap_make(). */
int net_subnet_free(const struct net_subnet *subnet, struct error *err);
void net_tap_name(const char *id, char ret[NET_TAP_MAX]);
/* The tap of the VM, for its hypervisor's user, and the bridge, both up. CONFLICT when the subnet
 * is somewhere else already as far as the host's routes say; that is only asked while there is no
 * bridge. */
int net_tap_make(const struct net_subnet *subnet, const char *id, uid_t owner, bool isolated,
		 struct error *err);
/* All that are on the bridge, if they are not so already. */
int net_taps_isolate(bool isolated, struct error *err);
/* The bridge goes with the last, and the taps that are kept for others. */
int net_tap_remove(const char *id, struct error *err);
/* These, also when somebody else took the last away. Not while one is in use. */
int net_tap_drop_kept(struct error *err);

/* --- what is there: net_find.c --- */
/* A link of ours: a tap that is named after a VM, or the bridge. */
struct net_link {
	char name[NET_TAP_MAX], id[16]; /* "": of no VM alone */
	unsigned index;
	bool used; /* a process has it open; it has ports */
};
DEFINE_VEC(net_link_vec, struct net_link)

/* The bridge comes last. */
void net_links_find(struct net_link_vec *ret);
bool net_link_is_used(const char *name);
/* Already gone is success, and the bridge goes with the last tap. CONFLICT: of that name there is
 * another; BUSY: it is used. */
int net_link_discard(const struct net_link *link, struct error *err);
/* Takes away the taps whose VM's lock, below vms_dir, nobody holds: what a crash left. Never fails
 * as a whole: the first error is kept, the others go on. */
int net_tap_sweep(const char *vms_dir, struct error *err);

#endif
