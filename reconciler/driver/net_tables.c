/* Theory of operation: the kernel tells a transaction's changes one by one, each with the name of
 * its table as the first attribute, and then that there is a new generation. We replace our tables
 * as a whole, so a transaction of ours always has a table in it that comes or goes; one that only
 * changes what is in it is somebody else's. Who replaced one shows its handle. */
#include "driver/net_tables.h"
#include "base/cleanup.h"

#include <netinet/in.h> /* before linux/in.h */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

#define TABLE_NAME 1 /* NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, … are all the same */

static int take_handle(struct nl_msg *message, void *arg)
{
	const struct nlattr *handle =
		nlmsg_find_attr(nlmsg_hdr(message), sizeof(struct nfgenmsg), NFTA_TABLE_HANDLE);
	if (handle && nla_len(handle) == sizeof(uint64_t))
		*(uint64_t *)arg = __builtin_bswap64(nla_get_u64(handle));
	return NL_OK;
}

struct nl_msg *net_tables_ask(int family, int what, int flags)
{
	struct nfgenmsg header = { .nfgen_family = (unsigned char)family };
	struct nl_msg *message =
		nlmsg_alloc_simple(NFNL_SUBSYS_NFTABLES << 8 | what, NLM_F_REQUEST | flags);
	if (message && nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

/* *ret_answer: 0, or what was wrong with the question; 1 when it could not be asked. */
static uint64_t ask_for_table(int family, int *ret_answer)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct nl_msg *message = net_tables_ask(family, NFT_MSG_GETTABLE, NLM_F_ACK);
	uint64_t handle = NET_TABLE_UNKNOWN;
	*ret_answer = 1;
	if (sock && message && nl_connect(sock, NETLINK_NETFILTER) == 0 &&
	    nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, take_handle, &handle) == 0 &&
	    nla_put_string(message, NFTA_TABLE_NAME, NET_TABLE) == 0 &&
	    nl_send_auto(sock, message) > 0)
		*ret_answer = nl_wait_for_ack(sock);
	nlmsg_free(message);
	nl_socket_free(sock);
	return *ret_answer < 0 ? 0 : handle; /* there is none; or nobody ever loaded nf_tables */
}

uint64_t net_table_handle(int family)
{
	int ignored;
	return ask_for_table(family, &ignored);
}

bool net_tables_possible(void)
{
	int answer;
	ask_for_table(NFPROTO_INET, &answer);
	return answer == 0 || answer == -NLE_OBJ_NOTFOUND;
}

int net_tables_watch(struct error *err)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK };
	const int group = NFNLGRP_NFTABLES;
	auto_close int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return error_sys(err, "cannot be told of changes in nftables");
	return take_fd(&fd);
}

static bool is_ours(struct nlmsghdr *message)
{
	const struct nlattr *name;
	if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return false;
	name = nlmsg_find_attr(message, sizeof(struct nfgenmsg), TABLE_NAME);
	return name && nla_strcmp(name, NET_TABLE) == 0;
}

static enum net_tables_news end_of(struct net_tables_talk *talk)
{
	enum net_tables_news news = talk->replaced  ? TABLES_REPLACED
				    : talk->touched ? TABLES_EDITED
						    : TABLES_QUIET;
	*talk = (struct net_tables_talk){ 0 };
	return news;
}

enum net_tables_news net_tables_parse(struct net_tables_talk *talk, const void *messages,
				      size_t len)
{
	enum net_tables_news worst = TABLES_QUIET;
	int left = (int)len;
	struct nlmsghdr *at = (struct nlmsghdr *)messages; /* libnl knows no const */
	for (; nlmsg_ok(at, left); at = nlmsg_next(at, &left)) {
		if (at->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
			continue;
		unsigned type = at->nlmsg_type & 0xff;
		if (type == NFT_MSG_NEWGEN) {
			enum net_tables_news news = end_of(talk);
			worst = news > worst ? news : worst;
		} else if (is_ours(at)) {
			talk->touched = true;
			talk->replaced |= type == NFT_MSG_NEWTABLE || type == NFT_MSG_DELTABLE;
		}
	}
	return worst;
}

enum net_tables_news net_tables_read(int fd, struct net_tables_talk *talk)
{
	enum net_tables_news worst = TABLES_QUIET;
	_Alignas(struct nlmsghdr) unsigned char messages[NET_TABLES_MESSAGES_MAX];
	for (;;) {
		ssize_t len = recv(fd, messages, sizeof(messages), MSG_TRUNC);
		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return worst;
		if (len < 0 && errno != ENOBUFS)
			return worst;
		enum net_tables_news news = len < 0 || (size_t)len > sizeof(messages)
						    ? TABLES_REPLACED
						    : net_tables_parse(talk, messages, (size_t)len);
		worst = news > worst ? news : worst;
	}
}
