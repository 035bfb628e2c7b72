/* What the kernel has of our tables, asked by netlink: libnftables, which writes them, is not
 * loaded only to find that there are none (include/uapi/linux/netfilter/nf_tables.h). */
#include "driver/net_bridge.h"
#include "driver/net_rules.h"
#include "driver/net_tables.h"
#include "driver/driver.h"

#include <netinet/in.h> /* before linux/in.h */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>

static int hear_chain(struct nl_msg *message, void *cookie)
{
	struct nlattr *attrs[NFTA_CHAIN_MAX + 1];
	struct net_rules_id id;
	if (nlmsg_parse(nlmsg_hdr(message), sizeof(struct nfgenmsg), attrs, NFTA_CHAIN_MAX, NULL) <
		    0 ||
	    !attrs[NFTA_CHAIN_TABLE] || !attrs[NFTA_CHAIN_NAME] ||
	    strcmp(nla_get_string(attrs[NFTA_CHAIN_TABLE]), NET_TABLE) != 0)
		return NL_OK;
	const char *name = nla_get_string(attrs[NFTA_CHAIN_NAME]);
	if (strncmp(name, NET_TAP_PREFIX, strlen(NET_TAP_PREFIX)) != 0 ||
	    !vm_id_fits(name + strlen(NET_TAP_PREFIX)))
		return NL_OK;
	str_copy(id.text, sizeof(id.text), name + strlen(NET_TAP_PREFIX));
	net_rules_id_vec_push(cookie, id);
	return NL_OK;
}

int net_rules_find(struct net_rules_id_vec *ret, struct error *err)
{
	if (!net_table_handle(NFPROTO_BRIDGE))
		return 0;
	struct nl_sock *sock = nl_socket_alloc();
	struct nl_msg *message = net_tables_ask(NFPROTO_BRIDGE, NFT_MSG_GETCHAIN, NLM_F_DUMP);
	int number = sock && message ? nl_connect(sock, NETLINK_NETFILTER) : -NLE_NOMEM;
	if (number == 0)
		number = nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, hear_chain, ret);
	if (number == 0)
		number = nl_send_auto(sock, message);
	if (number > 0)
		number = nl_recvmsgs_default(sock);
	nlmsg_free(message);
	nl_socket_free(sock);
	if (number < 0)
		return error_set(err, ERROR_SYSTEM, "cannot list the chains of '" NET_TABLE "': %s",
				 nl_geterror(number));
	return 0;
}
