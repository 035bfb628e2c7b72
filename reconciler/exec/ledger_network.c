/* What VMs on the bridge have beside their files: taps, the bridge while one is there, and their
 * rules. Rules of a VM that the daemon's own set does not have are nobody's; the set as a whole
 * replaces them. */
#include "exec/ledger.h"
#include "driver/net_tables.h"

#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

/* --- links --- */

static int probe_links(struct ledger *ledger, struct error *err)
{
	struct net_link_vec found = { 0 };
	(void)err;
	if (ledger->host->subnet)
		net_links_find(&found);
	for (size_t i = 0; i < found.count; i++) {
		const struct net_link *link = &found.at[i];
		struct object *object = ledger_add(
			ledger, &ledger_links, link->id[0] ? "tap" : "bridge", xstrdup(link->name));
		/* A look later than its making makes it younger, never older. */
		auto_free char *path = xasprintf("/sys/class/net/%s/", link->name);
		object_made_when(object, path);
		object->number = link->index;
		object->need = NEED_USER;
		object->held = link->used;
		if (link->id[0])
			object_of_vm(object, ledger, link->id);
	}
	net_link_vec_clear(&found);
	return 0;
}

static int discard_link(const struct ledger *ledger, const struct object *object, struct error *err)
{
	struct net_link link = { .index = (unsigned)object->number };
	auto_close int lock = -1;
	if (ledger_lock_vm(ledger, object, &lock, err) < 0)
		return -1;
	str_copy(link.name, sizeof(link.name), object->what);
	return net_link_discard(&link, err);
}

const struct ledger_kind ledger_links = { "links", probe_links, discard_link };

/* --- rules --- */

static void add_tables(struct ledger *ledger)
{
	static const struct {
		int family;
		const char *name;
	} tables[] = { { NFPROTO_INET, "inet" }, { NFPROTO_BRIDGE, "bridge" } };
	for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
		if (!net_table_handle(tables[i].family))
			continue;
		struct object *object =
			ledger_add(ledger, &ledger_rules, "nft table",
				   xasprintf("table %s " NET_TABLE, tables[i].name));
		object->since_ms = 0;
		object->need = NEED_USER;
		object->held = net_rules_has(ledger->host->rules, NULL);
	}
}

static int probe_rules(struct ledger *ledger, struct error *err)
{
	struct net_rules_id_vec found = { 0 };
	if (!ledger->host->rules)
		return 0;
	int result = net_rules_find(&found, err);
	for (size_t i = 0; i < found.count; i++) {
		const char *id = found.at[i].text;
		struct object *object = ledger_add(
			ledger, &ledger_rules, "nft rules",
			xasprintf("chain bridge " NET_TABLE " " NET_TAP_PREFIX "%s", id));
		object_of_vm(object, ledger, id);
		object->since_ms = 0;
		object->held |= net_rules_has(ledger->host->rules, id);
	}
	net_rules_id_vec_clear(&found);
	add_tables(ledger);
	return result;
}

/* Written anew from the set, they are gone: what is in the set is somebody's. */
static int discard_rules(const struct ledger *ledger, const struct object *object,
			 struct error *err)
{
	const char *id = object->id[0] ? object->id : NULL;
	if (net_rules_has(ledger->host->rules, id))
		return error_set(err, ERROR_BUSY, "'%s' is in use", object->what);
	return net_rules_apply(ledger->host->rules, err);
}

const struct ledger_kind ledger_rules = { "rules", probe_rules, discard_rules };
