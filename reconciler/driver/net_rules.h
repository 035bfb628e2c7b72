/* driver/net_rules.h - who on the bridge may reach what: nftables.
 *
 * One table "banger" of the family inet, one of the family bridge, both ours alone and replaced
 * whole, in one transaction, from the set of VMs that run on the bridge; there is none while none
 * does. Other tables are never touched. Needs root; blocks, from any worker. */
#ifndef DRIVER_NET_RULES_H
#define DRIVER_NET_RULES_H

#include "base/buf.h"
#include "base/error.h"
#include "base/vec.h"
#include "schema/vm_spec.h"

#include <stdbool.h>

struct net_rule {
	const char *id;
	const char *address; /* on the bridge */
	const char *mac;
	bool nat;		       /* may reach beyond the host */
	const struct port_list *ports; /* of the host that lead to it; NULL: none */
};

/* The set of one host: borrowed by all its jobs, which tell it what comes and goes. */
struct net_rules;
/* runtime_dir: where it is remembered that forwarding was off, until it is again.
 * vm_to_vm: they may reach each other. */
struct net_rules *net_rules_new(const char *runtime_dir, bool vm_to_vm);
void net_rules_free(struct net_rules *rules); /* those of the kernel stay */

/* A VM that was found running: takes part from the next change on. */
void net_rules_found(struct net_rules *rules, const struct net_rule *rule);
/* Adds or changes one; BUSY when it wants a port that another VM or a process has, and then nothing
 * changed. Its ports are held (net_hold.h) until they are dropped.
 * *ret_forwarding: the host forwards packets from now on, and did not before. */
int net_rules_put(struct net_rules *rules, const struct net_rule *rule, bool *ret_forwarding,
		  struct error *err);
/* Already gone is success. */
int net_rules_drop(struct net_rules *rules, const char *id, struct error *err);
/* Brings the kernel's in agreement with the set; no library is needed for none that is there. */
int net_rules_apply(struct net_rules *rules, struct error *err);

/* The same, when somebody else had a hand in it: the tables are others or gone, something in them
 * was edited, or forwarding is off although it is needed. */
int net_rules_mend(struct net_rules *rules, bool edited, bool *ret_mended, struct error *err);

/* Is that VM in the set? NULL: is any? */
bool net_rules_has(struct net_rules *rules, const char *id);

/* --- what the kernel has: net_rules_find.c --- */
struct net_rules_id {
	char text[16];
};
DEFINE_VEC(net_rules_id_vec, struct net_rules_id)
/* The VMs that have rules there. */
int net_rules_find(struct net_rules_id_vec *ret, struct error *err);

/* The transaction, for nft(8); pure. */
void net_rules_text(const struct net_rule *rules, size_t count, bool vm_to_vm, struct buf *ret);

#endif
