/* Theory of operation: what a guest sends is checked twice. In the bridge's family, where the tap
 * is known that it came from: it must be IPv4 or ARP in the VM's own name. In the family inet, by
 * that name: VMs without nat reach nothing, not even this host, but answer whoever came to them.
 * ("ct direction reply", not "established": a connection that was made while nat was given does not
 * outlive it.) An accept here is no end: tables of others are asked as well. The bridge's own
 * address answers for names, but to this host alone: who else is here is no guest's business.
 *
 * Whether VMs reach each other the bridge decides, whose ports are isolated or not; the rule for it
 * is about what takes the way over the host instead: by its gateway, or, where the host passes
 * bridged packets to IP's tables as well (br_netfilter), all of it.
 *
 * A port of the host on loopback is the reason for "raw": the kernel is told (route_localnet) that
 * packets of 127.0.0.1 may travel over the bridge, where they get the bridge's address, and nothing
 * that claims to be one of those may come from there. */
#include "driver/net_bridge.h"
#include "driver/net_rules.h"

#include <string.h>

static void add_set(struct buf *to, const struct net_rule *rules, size_t count)
{
	const char *between = "";
	buf_add(to, "\tset nat {\n\t\ttype ipv4_addr\n");
	for (size_t i = 0; i < count; i++)
		if (rules[i].nat) {
			buf_addf(to, "%s%s", *between ? between : "\t\telements = { ",
				 rules[i].address);
			between = ", ";
		}
	buf_add(to, *between ? " }\n\t}\n" : "\t}\n");
}

static void add_port(struct buf *to, const struct net_rule *rule, const struct port_spec *port)
{
	buf_add(to, "\t\t");
	if (strcmp(port->address, "0.0.0.0") != 0)
		buf_addf(to, "ip daddr %s ", port->address);
	else
		buf_add(to, "meta nfproto ipv4 fib daddr type local ");
	buf_addf(to, "%s dport %u dnat ip to %s:%u comment \"bgr-%s\"\n",
		 port->proto == PORT_UDP ? "udp" : "tcp", port->host, rule->address, port->guest,
		 rule->id);
}

static void add_ports(struct buf *to, const char *hook, const struct net_rule *rules, size_t count)
{
	buf_addf(to, "\tchain ports_%s {\n\t\ttype nat hook %s priority -100;\n", hook, hook);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; rules[i].ports && j < rules[i].ports->count; j++)
			add_port(to, &rules[i], &rules[i].ports->at[j]);
	buf_add(to, "\t}\n");
}

static void add_masquerade(struct buf *to, const struct net_rule *rules, size_t count)
{
	buf_add(to, "\tchain outgoing {\n\t\ttype nat hook postrouting priority srcnat;\n"
		    "\t\toifname \"" NET_BRIDGE "\" ip saddr 127.0.0.0/8 masquerade\n");
	for (size_t i = 0; i < count; i++)
		if (rules[i].nat)
			buf_addf(to,
				 "\t\tip saddr %s/32 oifname != \"" NET_BRIDGE
				 "\" masquerade comment \"bgr-%s\"\n",
				 rules[i].address, rules[i].id);
	buf_add(to, "\t}\n");
}

static void add_forward(struct buf *to, bool vm_to_vm)
{
	buf_addf(to,
		 "\tchain forward {\n\t\ttype filter hook forward priority filter;\n"
		 "\t\tiifname \"" NET_BRIDGE "\" oifname \"" NET_BRIDGE "\" %s\n"
		 "\t\tiifname \"" NET_BRIDGE "\" ct direction reply accept\n"
		 "\t\tiifname \"" NET_BRIDGE "\" ip saddr != @nat drop\n"
		 "\t\toifname \"" NET_BRIDGE "\" ct direction reply accept\n"
		 "\t\toifname \"" NET_BRIDGE "\" ct status dnat accept\n"
		 "\t\toifname \"" NET_BRIDGE "\" drop\n\t}\n",
		 vm_to_vm ? "accept" : "drop");
}

/* In the bridge's family a tap has a chain of its own. */
static void add_tap(struct buf *to, const struct net_rule *rule)
{
	buf_addf(to,
		 "\tchain bgr-%s {\n"
		 "\t\tether saddr != %s drop\n"
		 "\t\tether type ip ip saddr %s accept\n"
		 "\t\tether type arp arp saddr ether %s arp saddr ip %s accept\n"
		 "\t\tdrop\n"
		 "\t}\n",
		 rule->id, rule->mac, rule->address, rule->mac, rule->address);
}

static void add_taps(struct buf *to, const struct net_rule *rules, size_t count)
{
	buf_add(to, "table bridge banger {\n");
	for (size_t i = 0; i < count; i++)
		add_tap(to, &rules[i]);
	buf_add(to, "\tchain from {\n\t\ttype filter hook prerouting priority filter;\n");
	buf_add(to, "\t\tiifname vmap { ");
	for (size_t i = 0; i < count; i++)
		buf_addf(to, "%s\"bgr-%s\" : jump bgr-%s", i ? ", " : "", rules[i].id, rules[i].id);
	/* Also of one that has no rules yet. */
	buf_add(to, " }\n\t\tiifname \"bgr-*\" drop\n\t}\n}\n");
}

void net_rules_text(const struct net_rule *rules, size_t count, bool vm_to_vm, struct buf *ret)
{
	/* What is not there cannot be deleted; added, it is. */
	buf_add(ret, "add table inet banger\ndelete table inet banger\n"
		     "add table bridge banger\ndelete table bridge banger\n");
	if (!count)
		return;
	buf_add(ret, "table inet banger {\n");
	add_set(ret, rules, count);
	buf_add(ret, "\tchain raw {\n\t\ttype filter hook prerouting priority raw;\n"
		     "\t\tiifname \"" NET_BRIDGE "\" ip daddr 127.0.0.0/8 drop\n\t}\n");
	add_ports(ret, "prerouting", rules, count);
	add_ports(ret, "output", rules, count);
	add_masquerade(ret, rules, count);
	buf_add(ret, "\tchain input {\n\t\ttype filter hook input priority filter;\n"
		     "\t\tiifname != \"" NET_BRIDGE "\" accept\n"
		     "\t\tct direction reply accept\n"
		     "\t\tfib daddr . iif type local meta l4proto { tcp, udp } th dport 53 reject\n"
		     "\t\tip saddr @nat accept\n"
		     "\t\ticmp type echo-request accept\n"
		     "\t\tdrop\n\t}\n");
	add_forward(ret, vm_to_vm);
	buf_add(ret, "}\n");
	add_taps(ret, rules, count);
}
