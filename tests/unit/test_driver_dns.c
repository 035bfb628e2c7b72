/* driver: names of VMs, message by message, and the server with real sockets. */
#include "driver/net_dns.h"
#include "test_dice_help.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static const struct net_subnet subnet = { 0x0ab70000, 16 }; /* 10.183.0.0/16 */

static const struct {
	const char *name, *address;
} running[] = { { "web", "10.183.4.5" }, { "db-1", "10.183.0.77" }, { "user", "127.65.4.3" } };

static bool address_of(const void *data, const char *name, char ret[16])
{
	(void)data;
	for (size_t i = 0; i < ARRAY_COUNT(running); i++)
		if (!strcmp(running[i].name, name))
			return str_copy(ret, 16, running[i].address);
	return false;
}

static bool name_of(const void *data, const char *address, char ret[NET_DNS_NAME_MAX])
{
	(void)data;
	for (size_t i = 0; i < ARRAY_COUNT(running); i++)
		if (!strcmp(running[i].address, address))
			return str_copy(ret, NET_DNS_NAME_MAX, running[i].name);
	return false;
}

static const struct net_dns_zone zone = { &subnet, address_of, name_of, NULL };

/* --- asking --- */

struct message {
	uint8_t at[NET_DNS_QUERY_MAX];
	size_t len;
};

static struct message question(const char *name, int class, int type)
{
	struct message m = { 0 };
	struct __res_state state = { 0 };
	state.options = RES_INIT | RES_RECURSE;
	int len = res_nmkquery(&state, ns_o_query, name, class, type, NULL, 0, NULL, m.at,
			       sizeof(m.at));
	assert_true(len > 0);
	m.len = (size_t)len;
	return m;
}

static void add_edns(struct message *m, unsigned version)
{
	const uint8_t opt[] = { 0, 0, ns_t_opt, 4, 208, 0, (uint8_t)version, 0x80, 0, 0, 0 };
	memcpy(m->at + m->len, opt, sizeof(opt));
	m->len += sizeof(opt);
	m->at[11]++; /* ARCOUNT */
}

struct answer {
	uint8_t at[NET_DNS_REPLY_MAX];
	size_t len;
	ns_msg msg;
	unsigned rcode, flags;
};

static struct answer ask_raw(const uint8_t *query, size_t len)
{
	struct answer a = { 0 };
	/* Exactly as large, so that a sanitizer sees one byte too many. */
	auto_free uint8_t *exact = xmalloc(len ? len : 1);
	memcpy(exact, query, len);
	a.len = net_dns_answer(&zone, exact, len, a.at);
	if (!a.len)
		return a;
	assert_int_equal(ns_initparse(a.at, (int)a.len, &a.msg), 0);
	assert_memory_equal(a.at, query, 2);
	assert_true(ns_msg_getflag(a.msg, ns_f_qr));
	assert_false(ns_msg_getflag(a.msg, ns_f_tc));
	a.rcode = (unsigned)ns_msg_getflag(a.msg, ns_f_rcode);
	return a;
}

static struct answer ask(const char *name, int type)
{
	struct message m = question(name, ns_c_in, type);
	return ask_raw(m.at, m.len);
}

static ns_rr record(struct answer *a, ns_sect section)
{
	ns_rr rr;
	assert_int_equal(ns_msg_count(a->msg, section), 1);
	assert_int_equal(ns_initparse(a->at, (int)a->len, &a->msg), 0); /* it moved */
	assert_int_equal(ns_parserr(&a->msg, section, 0, &rr), 0);
	return rr;
}

static void assert_address(struct answer a, const char *address)
{
	char text[INET_ADDRSTRLEN];
	ns_rr rr = record(&a, ns_s_an);
	assert_int_equal(a.rcode, ns_r_noerror);
	assert_true(ns_msg_getflag(a.msg, ns_f_aa));
	assert_int_equal(rr.type, ns_t_a);
	assert_int_equal(rr.rdlength, 4);
	assert_true(rr.ttl > 0 && rr.ttl <= 5);
	assert_string_equal(inet_ntop(AF_INET, rr.rdata, text, sizeof(text)), address);
}

static void assert_pointer(struct answer a, const char *name)
{
	char text[NS_MAXDNAME];
	ns_rr rr = record(&a, ns_s_an);
	assert_int_equal(rr.type, ns_t_ptr);
	assert_true(ns_name_uncompress(ns_msg_base(a.msg), ns_msg_end(a.msg), rr.rdata, text,
				       sizeof(text)) > 0);
	assert_string_equal(text, name);
}

/* Nothing, and how long that is true. */
static void assert_nothing(struct answer a, unsigned rcode, const char *apex)
{
	ns_rr rr = record(&a, ns_s_ns);
	assert_int_equal(a.rcode, rcode);
	assert_int_equal(ns_msg_count(a.msg, ns_s_an), 0);
	assert_int_equal(rr.type, ns_t_soa);
	assert_string_equal(rr.name, apex);
	assert_true(rr.ttl <= 5);
}

static void assert_bare(struct answer a, unsigned rcode)
{
	assert_true(a.len > 0);
	assert_int_equal(a.rcode, rcode);
	assert_int_equal(ns_msg_count(a.msg, ns_s_an), 0);
	assert_int_equal(ns_msg_count(a.msg, ns_s_ns), 0);
}

/* --- what is answered --- */

static void a_running_vm_has_its_address(void **state)
{
	(void)state;
	assert_address(ask("web.vm", ns_t_a), "10.183.4.5");
	assert_address(ask("db-1.vm.", ns_t_a), "10.183.0.77");
	assert_address(ask("web.vm", ns_t_any), "10.183.4.5");
	assert_address(ask("user.vm", ns_t_a), "127.65.4.3");
}

/* Resolvers mix the case on purpose and compare what comes back. */
static void the_question_comes_back_as_it_was(void **state)
{
	(void)state;
	struct message m = question("wEb.Vm", ns_c_in, ns_t_a);
	struct answer a = ask_raw(m.at, m.len);
	assert_address(a, "10.183.4.5");
	assert_memory_equal(a.at + NS_HFIXEDSZ, m.at + NS_HFIXEDSZ, m.len - NS_HFIXEDSZ);
	assert_true(ns_msg_getflag(a.msg, ns_f_rd));
	assert_false(ns_msg_getflag(a.msg, ns_f_ra));
}

static void nobody_has_that_name(void **state)
{
	(void)state;
	static const char *const names[] = { "db.vm",  "x.web.vm",    "web.web.vm", "a.b.c.d.vm",
					     "w_b.vm", "web\\.vm.vm", "web\\000.vm" };
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		assert_nothing(ask(names[i], ns_t_a), ns_r_nxdomain, "vm");
	assert_nothing(ask("db.vm", ns_t_aaaa), ns_r_nxdomain, "vm");
}

static void a_name_that_is_there_has_nothing_else(void **state)
{
	(void)state;
	static const int types[] = { ns_t_aaaa, ns_t_mx, ns_t_txt, ns_t_ptr, ns_t_soa, 65 };
	for (size_t i = 0; i < ARRAY_COUNT(types); i++)
		assert_nothing(ask("web.vm", types[i]), ns_r_noerror, "vm");
	assert_nothing(ask("vm", ns_t_a), ns_r_noerror, "vm");
	struct answer a = ask("vm", ns_t_soa);
	assert_int_equal(record(&a, ns_s_an).type, ns_t_soa);
}

static void an_address_leads_back_to_its_name(void **state)
{
	(void)state;
	assert_pointer(ask("5.4.183.10.in-addr.arpa", ns_t_ptr), "web.vm");
	assert_pointer(ask("3.4.65.127.IN-ADDR.ARPA", ns_t_ptr), "user.vm");
	assert_nothing(ask("6.4.183.10.in-addr.arpa", ns_t_ptr), ns_r_nxdomain,
		       "183.10.in-addr.arpa");
	assert_nothing(ask("5.4.183.10.in-addr.arpa", ns_t_a), ns_r_noerror, "183.10.in-addr.arpa");
	assert_nothing(ask("4.183.10.in-addr.arpa", ns_t_ptr), ns_r_noerror, "183.10.in-addr.arpa");
	struct answer a = ask("183.10.in-addr.arpa", ns_t_soa);
	assert_int_equal(record(&a, ns_s_an).type, ns_t_soa);
}

static void what_is_not_ours_is_refused(void **state)
{
	(void)state;
	static const char *const names[] = { ".",
					     "example.com",
					     "vm.example",
					     "web\\.vm",
					     "arpa",
					     "in-addr.arpa",
					     "10.in-addr.arpa",
					     "8.8.8.8.in-addr.arpa",
					     "4.4.65.127.in-addr.arpa",
					     "05.4.183.10.in-addr.arpa",
					     "256.4.183.10.in-addr.arpa",
					     "1.5.4.183.10.in-addr.arpa",
					     "x.4.183.10.in-addr.arpa",
					     "5.4.183.10.ip6.arpa" };
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		assert_bare(ask(names[i], ns_t_ptr), ns_r_refused);
	assert_bare(ask("web.vm", ns_t_axfr), ns_r_refused);
	assert_bare(ask("web.vm", ns_t_ixfr), ns_r_refused);
	struct message chaos = question("web.vm", ns_c_chaos, ns_t_a);
	assert_bare(ask_raw(chaos.at, chaos.len), ns_r_refused);
}

static void extensions_are_answered_in_kind(void **state)
{
	(void)state;
	struct message m = question("web.vm", ns_c_in, ns_t_a);
	add_edns(&m, 0);
	struct answer a = ask_raw(m.at, m.len);
	assert_address(a, "10.183.4.5");
	assert_int_equal(record(&a, ns_s_ar).type, ns_t_opt);
	struct message later = question("web.vm", ns_c_in, ns_t_a);
	add_edns(&later, 1);
	a = ask_raw(later.at, later.len);
	assert_int_equal(a.rcode, 0);
	assert_int_equal(record(&a, ns_s_ar).ttl >> 24, 1); /* BADVERS */
	assert_int_equal(ns_msg_count(a.msg, ns_s_an), 0);
	add_edns(&m, 0);
	assert_bare(ask_raw(m.at, m.len), ns_r_formerr);
}

static void what_cannot_be_read_is_said_to_be_so(void **state)
{
	(void)state;
	struct message m = question("web.vm", ns_c_in, ns_t_a), bad;
	for (size_t len = 0; len < NS_HFIXEDSZ; len++)
		assert_int_equal(ask_raw(m.at, len).len, 0);
	for (size_t len = NS_HFIXEDSZ; len < m.len; len++)
		assert_bare(ask_raw(m.at, len), ns_r_formerr);
	bad = m;
	bad.at[2] |= 0x80; /* an answer */
	assert_int_equal(ask_raw(bad.at, bad.len).len, 0);
	bad = m;
	bad.at[2] |= ns_o_notify << 3;
	assert_bare(ask_raw(bad.at, bad.len), ns_r_notimpl);
	for (size_t count = 5; count <= 9; count += 2) { /* of questions, answers, … */
		bad = m;
		bad.at[count]++;
		assert_bare(ask_raw(bad.at, bad.len), ns_r_formerr);
	}
	bad = m;
	bad.at[12] = 0xc0; /* a name that is itself */
	bad.at[13] = 12;
	assert_bare(ask_raw(bad.at, bad.len), ns_r_formerr);
	auto_free uint8_t *long_one = xcalloc(1, NET_DNS_QUERY_MAX + 1);
	assert_int_equal(net_dns_answer(&zone, long_one, NET_DNS_QUERY_MAX + 1, bad.at), 0);
}

static void the_longest_names_fit(void **state)
{
	(void)state;
	auto_buf struct buf name = BUF_INIT;
	for (int i = 0; i < 4; i++)
		buf_addf(&name, "%.*s.", i < 3 ? 63 : 57,
			 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	buf_add(&name, "vm"); /* 253 */
	struct message m = question(name.data, ns_c_in, ns_t_a);
	add_edns(&m, 0);
	assert_nothing(ask_raw(m.at, m.len), ns_r_nxdomain, "vm");
}

static void garbage_gets_nowhere(void **state)
{
	(void)state;
	static const char *const names[] = { "web.vm", "5.4.183.10.in-addr.arpa", "example.com" };
	seed = 20;
	for (int i = 0; i < 60000; i++) {
		struct message m = question(names[roll(3)], ns_c_in, roll(2) ? ns_t_a : ns_t_ptr);
		if (roll(2))
			add_edns(&m, roll(3) ? 0 : roll(256));
		for (unsigned changes = roll(6); changes > 0; changes--)
			m.at[roll((unsigned)m.len)] = (uint8_t)roll(256);
		if (roll(4) == 0)
			m.len = roll((unsigned)m.len + 1);
		if (roll(8) == 0)
			for (m.len = roll(sizeof(m.at)); m.len < 4; m.len++)
				continue;
		ask_raw(m.at, m.len);
	}
}

/* --- where systemd-resolved shall ask --- */

static void assert_domains(uint32_t network, unsigned prefix, size_t count, const char *first,
			   const char *last)
{
	const struct net_subnet net = { network, prefix };
	char **domains = net_resolved_domains(&net);
	size_t used = 0;
	assert_string_equal(domains[0], "~vm");
	assert_string_equal(domains[1], first);
	assert_string_equal(domains[count], last);
	while (domains[used])
		free(domains[used++]);
	free(domains);
	assert_int_equal(used, count + 1);
}

static void no_more_is_routed_than_is_ours(void **state)
{
	(void)state;
	assert_domains(0x0ab70000, 16, 1, "~183.10.in-addr.arpa", "~183.10.in-addr.arpa");
	assert_domains(0x0a000000, 8, 1, "~10.in-addr.arpa", "~10.in-addr.arpa");
	assert_domains(0xac100000, 12, 16, "~16.172.in-addr.arpa", "~31.172.in-addr.arpa");
	assert_domains(0xc0a80410, 28, 16, "~16.4.168.192.in-addr.arpa",
		       "~31.4.168.192.in-addr.arpa");
}

/* --- the server --- */

#define ADDRESS "127.83.0.1"

struct client {
	struct loop *loop;
	struct net_dns *dns;
	struct sockaddr_in at;
	int fd;
	uint8_t in[2048];
	size_t len, wanted;
	bool ended;
};

static int teardown(void **state)
{
	struct client *c = *state;
	net_dns_close(c->dns);
	cleanup_close(&c->fd);
	loop_free(c->loop);
	free(c);
	return 0;
}

static int setup(void **state)
{
	struct error err;
	struct client *c = xcalloc(1, sizeof(*c));
	socklen_t size = sizeof(c->at);
	*state = c;
	c->fd = -1;
	c->loop = loop_new(&err);
	/* A port that nobody has. */
	auto_close int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	c->at.sin_family = AF_INET;
	inet_pton(AF_INET, ADDRESS, &c->at.sin_addr);
	if (bind(probe, (struct sockaddr *)&c->at, size) < 0 ||
	    getsockname(probe, (struct sockaddr *)&c->at, &size) < 0)
		return -1;
	cleanup_close(&probe);
	probe = -1;
	c->dns = net_dns_open(c->loop, ADDRESS, ntohs(c->at.sin_port), &zone, &err);
	return c->dns ? 0 : -1;
}

static void readable(void *data, uint32_t events)
{
	struct client *c = data;
	(void)events;
	ssize_t got = recv(c->fd, c->in + c->len, sizeof(c->in) - c->len, 0);
	c->ended = got <= 0;
	c->len += got > 0 ? (size_t)got : 0;
	if (c->ended || c->len >= c->wanted)
		loop_quit(c->loop);
}

static void too_late(void *data)
{
	(void)data;
	fail_msg("no answer");
}

static int connected(const struct client *c, int type)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&c->at, sizeof(c->at)), 0);
	return fd;
}

static void wait_for(struct client *c, size_t wanted)
{
	struct error err;
	c->wanted = wanted;
	struct loop_watch *watch = loop_watch(c->loop, c->fd, EPOLLIN, readable, c, &err);
	struct loop_timer *timer = loop_timer_new(c->loop, too_late, NULL);
	loop_timer_set(timer, 20000);
	loop_run(c->loop);
	loop_unwatch(watch);
	loop_timer_free(timer);
}

static void datagrams_are_answered(void **state)
{
	struct client *c = *state;
	struct message m = question("web.vm", ns_c_in, ns_t_a);
	uint8_t flood[NET_DNS_QUERY_MAX + 100] = { 0 };
	c->fd = connected(c, SOCK_DGRAM);
	send(c->fd, flood, sizeof(flood), 0);
	send(c->fd, flood, 0, 0);
	send(c->fd, flood, 5, 0);
	assert_int_equal(send(c->fd, m.at, m.len, 0), m.len);
	wait_for(c, 1);
	struct answer a = { .len = c->len };
	memcpy(a.at, c->in, c->len);
	assert_int_equal(ns_initparse(a.at, (int)a.len, &a.msg), 0);
	assert_address(a, "10.183.4.5");
}

static size_t framed(const struct message *m, uint8_t *ret)
{
	ns_put16((unsigned)m->len, ret);
	memcpy(ret + 2, m->at, m->len);
	return m->len + 2;
}

static void streams_are_answered_in_their_order(void **state)
{
	struct client *c = *state;
	struct message first = question("web.vm", ns_c_in, ns_t_a);
	struct message second = question("nobody.vm", ns_c_in, ns_t_a);
	uint8_t out[2 * sizeof(first.at)];
	size_t len = framed(&first, out), half = len + 5;
	len += framed(&second, out + len);
	c->fd = connected(c, SOCK_STREAM);
	assert_int_equal(send(c->fd, out, half, 0), half);
	wait_for(c, 2);
	size_t answered = c->len;
	assert_int_equal(ns_get16(c->in), answered - 2);
	assert_int_equal(send(c->fd, out + half, len - half, 0), len - half);
	wait_for(c, answered + 1);
	struct answer a = { .len = c->len - answered - 2 };
	memcpy(a.at, c->in + answered + 2, a.len);
	assert_int_equal(ns_initparse(a.at, (int)a.len, &a.msg), 0);
	a.rcode = (unsigned)ns_msg_getflag(a.msg, ns_f_rcode);
	assert_nothing(a, ns_r_nxdomain, "vm");
}

static void a_stream_that_makes_no_sense_ends(void **state)
{
	struct client *c = *state;
	c->fd = connected(c, SOCK_STREAM);
	assert_int_equal(send(c->fd, "\xff\xff", 2, 0), 2);
	wait_for(c, 1);
	assert_true(c->ended);
}

/* Connections that say nothing keep nobody out for longer than they are allowed to last; one that
 * ends makes room at once. */
static void silent_streams_are_few(void **state)
{
	struct client *c = *state;
	struct message m = question("web.vm", ns_c_in, ns_t_a);
	uint8_t out[sizeof(m.at)];
	size_t len = framed(&m, out);
	int silent[16];
	for (size_t i = 0; i < ARRAY_COUNT(silent); i++)
		silent[i] = connected(c, SOCK_STREAM);
	c->fd = connected(c, SOCK_STREAM);
	assert_int_equal(send(c->fd, out, len, 0), len);
	close(silent[3]);
	wait_for(c, 2);
	assert_false(c->ended);
	for (size_t i = 0; i < ARRAY_COUNT(silent); i++)
		if (i != 3)
			close(silent[i]);
}

static void an_address_that_is_not_there(void **state)
{
	struct client *c = *state;
	struct error err;
	assert_null(net_dns_open(c->loop, "192.0.2.1", 5300, &zone, &err));
	assert_int_equal(err.sys, EADDRNOTAVAIL);
	assert_null(net_dns_open(c->loop, ADDRESS, ntohs(c->at.sin_port), &zone, &err));
	assert_int_equal(err.sys, EADDRINUSE);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_running_vm_has_its_address),
		cmocka_unit_test(the_question_comes_back_as_it_was),
		cmocka_unit_test(nobody_has_that_name),
		cmocka_unit_test(a_name_that_is_there_has_nothing_else),
		cmocka_unit_test(an_address_leads_back_to_its_name),
		cmocka_unit_test(what_is_not_ours_is_refused),
		cmocka_unit_test(extensions_are_answered_in_kind),
		cmocka_unit_test(what_cannot_be_read_is_said_to_be_so),
		cmocka_unit_test(the_longest_names_fit),
		cmocka_unit_test(garbage_gets_nowhere),
		cmocka_unit_test(no_more_is_routed_than_is_ours),
		WITH_SERVER(datagrams_are_answered),
		WITH_SERVER(streams_are_answered_in_their_order),
		WITH_SERVER(a_stream_that_makes_no_sense_ends),
		WITH_SERVER(silent_streams_are_few),
		WITH_SERVER(an_address_that_is_not_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
