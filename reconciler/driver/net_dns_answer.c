/* Theory of operation: the C library takes the message apart and checks every length of it; the
 * question's name is looked at label by label, as it is on the wire, where a dot is no riddle. An
 * answer is the question again, at most one record and, where there is none, the zone's SOA, which
 * says how long that may be believed: seconds, as VMs come and go. */
#include "driver/net_dns.h"
#include "driver/scan.h"
#include "base/fs.h"
#include "base/vec.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TTL_S	       5
#define TTL_ABSENT_S   1
#define LABELS_MAX     128
#define EDNS_SIZE      1232
#define RCODE_BADVERS  16
#define FLAG_RESPONSE  0x8000u
#define FLAG_AUTHORITY 0x0400u
#define FLAG_RECURSE   0x0100u
#define MASK_OPCODE    0x7800u
#define REVERSE_LABELS 2 /* in-addr.arpa */

struct question {
	uint8_t name[NS_MAXCDNAME];
	const uint8_t *labels[LABELS_MAX]; /* each begins with its length */
	size_t count;
	unsigned type, class;
	bool edns;
	unsigned edns_version;
};

struct reply {
	uint8_t *start, *at, *end;
	const uint8_t *names[16]; /* to compress by */
	unsigned rcode;
	unsigned answers, authorities;
	bool ours, failed;
	char apex[NS_MAXDNAME];
};

/* --- what is asked --- */

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static bool split(struct question *q)
{
	for (const uint8_t *at = q->name; *at; at += *at + 1) {
		if (q->count == LABELS_MAX)
			return false;
		q->labels[q->count++] = at;
	}
	return true;
}

/* At most one OPT, and it is the root's. */
static bool parse_edns(ns_msg *msg, struct question *q)
{
	ns_rr rr;
	for (int i = 0; i < ns_msg_count(*msg, ns_s_ar); i++) {
		if (ns_parserr(msg, ns_s_ar, i, &rr) < 0)
			return false;
		if (rr.type != ns_t_opt)
			continue;
		if (q->edns || rr.name[0])
			return false;
		q->edns = true;
		q->edns_version = rr.ttl >> 16 & 0xff;
	}
	return true;
}

static bool parse(const uint8_t *query, size_t len, struct question *ret)
{
	ns_msg msg;
	ns_rr rr;
	*ret = (struct question){ 0 };
	if (ns_initparse(query, (int)len, &msg) < 0 || ns_msg_count(msg, ns_s_qd) != 1 ||
	    ns_msg_count(msg, ns_s_an) || ns_msg_count(msg, ns_s_ns) ||
	    ns_parserr(&msg, ns_s_qd, 0, &rr) < 0 ||
	    ns_name_unpack(query, query + len, query + NS_HFIXEDSZ, ret->name, sizeof(ret->name)) <
		    0)
		return false;
	ret->type = rr.type;
	ret->class = rr.rr_class;
	return split(ret) && parse_edns(&msg, ret);
}

static bool label_is(const uint8_t *label, const char *text)
{
	return *label == strlen(text) && !strncasecmp((const char *)label + 1, text, *label);
}

/* In small letters; false when no VM is called so, whatever runs. */
static bool label_name(const uint8_t *label, char ret[NET_DNS_NAME_MAX])
{
	for (size_t i = 0; i < *label; i++) {
		unsigned char c = label[i + 1];
		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
		ret[i] = (char)c;
	}
	ret[*label] = '\0';
	return true;
}

/* --- what is said --- */

static void put(struct reply *r, unsigned value, size_t bytes)
{
	if ((size_t)(r->end - r->at) < bytes) {
		r->failed = true;
		return;
	}
	if (bytes == NS_INT32SZ)
		ns_put32(value, r->at);
	else if (bytes == NS_INT16SZ)
		ns_put16(value, r->at);
	else
		*r->at = (uint8_t)value;
	r->at += bytes;
}

static void put_wire_name(struct reply *r, const uint8_t *name)
{
	int len = ns_name_pack(name, r->at, (int)(r->end - r->at), r->names,
			       r->names + ARRAY_COUNT(r->names));
	if (len < 0)
		r->failed = true;
	else
		r->at += len;
}

static void put_name(struct reply *r, const char *name)
{
	uint8_t wire[NS_MAXCDNAME];
	if (ns_name_pton(name, wire, sizeof(wire)) < 0)
		r->failed = true;
	else
		put_wire_name(r, wire);
}

/* Up to the length of what follows, which record_end() fills in. */
static uint8_t *record_begin(struct reply *r, unsigned type, unsigned ttl)
{
	put(r, type, NS_INT16SZ);
	put(r, ns_c_in, NS_INT16SZ);
	put(r, ttl, NS_INT32SZ);
	uint8_t *length = r->at;
	put(r, 0, NS_INT16SZ);
	return length;
}

static void record_end(struct reply *r, uint8_t *length)
{
	if (!r->failed)
		ns_put16((unsigned)(r->at - length - NS_INT16SZ), length);
}

static void put_soa(struct reply *r)
{
	put_name(r, r->apex);
	uint8_t *length = record_begin(r, ns_t_soa, TTL_ABSENT_S);
	put_name(r, r->apex);
	put_name(r, "nobody.invalid"); /* RFC 6303 */
	static const unsigned numbers[] = { 1, 3600, 1200, 604800, TTL_ABSENT_S };
	for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
		put(r, numbers[i], NS_INT32SZ);
	record_end(r, length);
}

static void put_address(struct reply *r, const struct question *q, const char *address)
{
	struct in_addr in;
	if (inet_pton(AF_INET, address, &in) != 1) {
		r->failed = true;
		return;
	}
	put_wire_name(r, q->name);
	uint8_t *length = record_begin(r, ns_t_a, TTL_S);
	put(r, ntohl(in.s_addr), NS_INT32SZ);
	record_end(r, length);
	r->answers++;
}

static void put_pointer(struct reply *r, const struct question *q, const char *name)
{
	char whole[NET_DNS_NAME_MAX + sizeof("." NET_DNS_ZONE)];
	snprintf(whole, sizeof(whole), "%s." NET_DNS_ZONE, name);
	put_wire_name(r, q->name);
	uint8_t *length = record_begin(r, ns_t_ptr, TTL_S);
	put_name(r, whole);
	record_end(r, length);
	r->answers++;
}

/* --- ours? --- */

static bool asks_for(const struct question *q, unsigned type)
{
	return q->type == type || q->type == ns_t_any;
}

static void answer_apex(struct reply *r, const struct question *q)
{
	if (!asks_for(q, ns_t_soa))
		return;
	put_soa(r);
	r->answers++;
}

/* The labels end with "vm". */
static void answer_forward(const struct net_dns_zone *zone, const struct question *q,
			   struct reply *r)
{
	char name[NET_DNS_NAME_MAX], address[16];
	r->ours = true;
	str_copy(r->apex, sizeof(r->apex), NET_DNS_ZONE);
	if (q->count == 1)
		answer_apex(r, q);
	else if (q->count > 2 || !label_name(q->labels[0], name) ||
		 !zone->address_of(zone->data, name, address))
		r->rcode = ns_r_nxdomain;
	else if (asks_for(q, ns_t_a))
		put_address(r, q, address);
}

/* The octets that a name below in-addr.arpa has, the first of them first: "7.0.183.10" is 10, 183,
 * 0, 7. */
static bool parse_octets(const struct question *q, uint8_t octets[4], size_t *ret_count)
{
	*ret_count = q->count - REVERSE_LABELS;
	if (*ret_count < 1 || *ret_count > 4)
		return false;
	for (size_t i = 0; i < *ret_count; i++) {
		char text[NET_DNS_NAME_MAX] = "";
		const char *at = text;
		uint64_t value;
		if (!label_name(q->labels[*ret_count - 1 - i], text) ||
		    (text[0] == '0' && text[1]) || !scan_number(&at, 10, 255, &value) || *at)
			return false;
		octets[i] = (uint8_t)value;
	}
	return true;
}

static void reverse_apex(const uint8_t octets[4], size_t count, struct reply *r)
{
	char *at = r->apex, *end = r->apex + sizeof(r->apex);
	while (count-- > 0)
		at += snprintf(at, (size_t)(end - at), "%u.", octets[count]);
	snprintf(at, (size_t)(end - at), "in-addr.arpa");
}

/* The labels end with "in-addr.arpa": what the subnet has is ours, and the loopback addresses of
 * VMs off the bridge. What is above an address that is ours is there, without any record. */
static void answer_reverse(const struct net_dns_zone *zone, const struct question *q,
			   struct reply *r)
{
	uint8_t octets[4] = { 0 };
	char address[16], name[NET_DNS_NAME_MAX] = "";
	size_t count, apex = (zone->subnet->prefix + 7) / 8;
	if (!parse_octets(q, octets, &count))
		return;
	inet_ntop(AF_INET, octets, address, sizeof(address));
	bool found = count == 4 && zone->name_of(zone->data, address, name);
	bool within = count >= apex && net_subnet_has(zone->subnet, address);
	if (!within && !found)
		return;
	r->ours = true;
	reverse_apex(octets, within ? apex : 4, r);
	if (found && asks_for(q, ns_t_ptr))
		put_pointer(r, q, name);
	else if (count == 4 && !found)
		r->rcode = ns_r_nxdomain;
	else if (count == apex)
		answer_apex(r, q);
}

static void look_up(const struct net_dns_zone *zone, const struct question *q, struct reply *r)
{
	bool transfer = q->type == ns_t_axfr || q->type == ns_t_ixfr;
	bool may_be_ours = q->count > 0 && q->class == ns_c_in && !transfer;
	if (may_be_ours && label_is(q->labels[q->count - 1], NET_DNS_ZONE))
		answer_forward(zone, q, r);
	else if (may_be_ours && q->count > REVERSE_LABELS &&
		 label_is(q->labels[q->count - 1], "arpa") &&
		 label_is(q->labels[q->count - 2], "in-addr"))
		answer_reverse(zone, q, r);
	if (!r->ours)
		r->rcode = ns_r_refused;
	if (!r->ours || r->answers)
		return;
	put_soa(r);
	r->authorities++;
}

static void put_edns(struct reply *r)
{
	put(r, 0, 1); /* the root */
	put(r, ns_t_opt, NS_INT16SZ);
	put(r, EDNS_SIZE, NS_INT16SZ);
	put(r, (r->rcode >> 4) << 24, NS_INT32SZ);
	put(r, 0, NS_INT16SZ);
}

static size_t finish(struct reply *r, const uint8_t *query, unsigned questions, unsigned additional)
{
	unsigned flags = FLAG_RESPONSE | (get16(query + 2) & (MASK_OPCODE | FLAG_RECURSE)) |
			 (r->ours ? FLAG_AUTHORITY : 0) | (r->rcode & 0xf);
	const unsigned head[] = { get16(query), flags,		questions,
				  r->answers,	r->authorities, additional };
	if (r->failed)
		return 0;
	for (size_t i = 0; i < ARRAY_COUNT(head); i++)
		ns_put16(head[i], r->start + i * NS_INT16SZ);
	return (size_t)(r->at - r->start);
}

size_t net_dns_answer(const struct net_dns_zone *zone, const uint8_t *query, size_t len,
		      uint8_t reply[NET_DNS_REPLY_MAX])
{
	struct question q;
	struct reply r = { .start = reply,
			   .at = reply + NS_HFIXEDSZ,
			   .end = reply + NET_DNS_REPLY_MAX,
			   .names = { reply } };
	/* An answer is never answered, or two servers may talk for ever. */
	if (len < NS_HFIXEDSZ || len > NET_DNS_QUERY_MAX || get16(query + 2) & FLAG_RESPONSE)
		return 0;
	if (get16(query + 2) & MASK_OPCODE) {
		r.rcode = ns_r_notimpl;
		return finish(&r, query, 0, 0);
	}
	if (!parse(query, len, &q)) {
		r.rcode = ns_r_formerr;
		return finish(&r, query, 0, 0);
	}
	put_wire_name(&r, q.name);
	put(&r, q.type, NS_INT16SZ);
	put(&r, q.class, NS_INT16SZ);
	if (q.edns_version > 0)
		r.rcode = RCODE_BADVERS;
	else
		look_up(zone, &q, &r);
	if (q.edns)
		put_edns(&r);
	return finish(&r, query, 1, q.edns);
}
