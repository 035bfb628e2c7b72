/* driver/net_tables.h - our tables in the kernel's nftables: which they are, and whether somebody
 * else has a hand in them. By netlink: what only looks needs no libnftables. */
#ifndef DRIVER_NET_TABLES_H
#define DRIVER_NET_TABLES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_TABLE		"banger"
#define NET_TABLE_UNKNOWN	UINT64_MAX
#define NET_TABLES_MESSAGES_MAX 16384

/* A number that no other table of this name ever has. 0: there is none; or NET_TABLE_UNKNOWN.
 * family: NFPROTO_… */
uint64_t net_table_handle(int family);
/* Does the kernel answer for nftables? Asked, it loads them if it can. */
bool net_tables_possible(void);

/* A question to nftables, NFT_MSG_…; the caller's (nlmsg_free()), NULL when there is no memory. */
struct nl_msg;
struct nl_msg *net_tables_ask(int family, int what, int flags);

/* A descriptor, non-blocking, that says whatever changes in nftables; the caller's. */
int net_tables_watch(struct error *err);

/* What was said up to now of the transaction that is being told of. */
struct net_tables_talk {
	bool touched, replaced;
};
enum net_tables_news {
	TABLES_QUIET,	 /* nothing about ours */
	TABLES_REPLACED, /* made or deleted as a whole, as we do it: the handle tells by whom */
	TABLES_EDITED,	 /* something in one was changed, which we never do */
};
/* The worst of a buffer of messages; pure. */
enum net_tables_news net_tables_parse(struct net_tables_talk *talk, const void *messages,
				      size_t len);
/* All that there is to read. When something was lost: TABLES_REPLACED, so that it is looked at. */
enum net_tables_news net_tables_read(int fd, struct net_tables_talk *talk);

#endif
