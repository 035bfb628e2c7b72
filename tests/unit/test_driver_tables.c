/* driver: what nftables says of changes, and whose they are. */
#include "driver/net_tables.h"
#include "test_dice_help.h"
#include "base/mem.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <netinet/in.h> /* before linux/in.h */

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

struct messages {
	_Alignas(struct nlmsghdr) unsigned char at[4096];
	size_t len;
};

static void add(struct messages *m, unsigned subsystem, unsigned type, const char *table)
{
	struct nlmsghdr head = { .nlmsg_type = (unsigned short)(subsystem << 8 | type) };
	struct nlattr name = { .nla_type = 1 };
	unsigned char *start = m->at + m->len;
	name.nla_len = (unsigned short)(NLA_HDRLEN + strlen(table) + 1);
	head.nlmsg_len = (unsigned)(NLMSG_LENGTH(sizeof(struct nfgenmsg)) + name.nla_len);
	memcpy(start, &head, sizeof(head));
	memcpy(start + NLMSG_LENGTH(sizeof(struct nfgenmsg)), &name, sizeof(name));
	memcpy(start + NLMSG_LENGTH(sizeof(struct nfgenmsg)) + NLA_HDRLEN, table,
	       strlen(table) + 1);
	m->len += NLMSG_ALIGN(head.nlmsg_len);
	assert_true(m->len < sizeof(m->at));
}

static void add_end(struct messages *m)
{
	/* Its first attribute is a number. */
	add(m, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN, "abc");
}

static enum net_tables_news parse(const struct messages *m)
{
	struct net_tables_talk talk = { 0 };
	return net_tables_parse(&talk, m->at, m->len);
}

static void the_tables_of_others_are_theirs(void **state)
{
	(void)state;
	struct messages m = { .len = 0 };
	assert_int_equal(parse(&m), TABLES_QUIET);
	add(&m, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, "filter");
	add(&m, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE, "bangers");
	add(&m, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE, "bang");
	add(&m, NFNL_SUBSYS_CTNETLINK, NFT_MSG_DELTABLE, "banger");
	add_end(&m);
	assert_int_equal(parse(&m), TABLES_QUIET);
}

static void a_table_that_comes_or_goes_is_looked_at(void **state)
{
	(void)state;
	struct messages flushed = { .len = 0 }, ours = { .len = 0 };
	add(&flushed, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELRULE, "banger");
	add(&flushed, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, "banger");
	add_end(&flushed);
	assert_int_equal(parse(&flushed), TABLES_REPLACED);
	add(&ours, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, "banger");
	add(&ours, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWTABLE, "banger");
	add(&ours, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN, "banger");
	add_end(&ours);
	assert_int_equal(parse(&ours), TABLES_REPLACED);
}

/* In whatever pieces it comes. */
static void a_change_within_is_somebody_elses(void **state)
{
	(void)state;
	struct net_tables_talk talk = { 0 };
	struct messages first = { .len = 0 }, last = { .len = 0 };
	add(&first, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, "filter");
	add(&first, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELRULE, "banger");
	assert_int_equal(net_tables_parse(&talk, first.at, first.len), TABLES_QUIET);
	add_end(&last);
	assert_int_equal(net_tables_parse(&talk, last.at, last.len), TABLES_EDITED);
	assert_int_equal(net_tables_parse(&talk, last.at, last.len), TABLES_QUIET);
}

static void garbage_is_read_to_its_end(void **state)
{
	(void)state;
	seed = 7;
	for (int i = 0; i < 20000; i++) {
		struct messages m = { .len = 0 };
		struct net_tables_talk talk = { 0 };
		for (unsigned count = roll(6); count > 0; count--)
			add(&m, NFNL_SUBSYS_NFTABLES, roll(24), roll(2) ? "banger" : "x");
		for (unsigned changes = m.len ? roll(8) : 0; changes > 0; changes--)
			m.at[roll((unsigned)m.len)] = (unsigned char)roll(256);
		size_t len = m.len ? roll((unsigned)m.len + 1) : 0;
		unsigned char *exact = xmalloc(len + 1);
		memcpy(exact, m.at, len);
		net_tables_parse(&talk, exact, len);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tables_of_others_are_theirs),
		cmocka_unit_test(a_table_that_comes_or_goes_is_looked_at),
		cmocka_unit_test(a_change_within_is_somebody_elses),
		cmocka_unit_test(garbage_is_read_to_its_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
