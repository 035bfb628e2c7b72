/* Theory of operation: what QEMU forwards is asked of QEMU ("info usernet"), not remembered: had we
 * died half-way through the last change, the difference to what is there is still the right one.
 * Surplus rules go first, as a new one may want the same host port; when adding fails, everything
 * is put back. The human monitor prints nothing on success and prose otherwise. */
#include "driver/qemu.h"
#include "driver/net_user.h"
#include "driver/qmp.h"
#include "driver/scan.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <string.h>

#define MONITOR_WAIT_MS 2000

struct rule {
	char address[16];
	uint16_t host, guest;
	enum port_proto proto;
};
DEFINE_VEC(rule_vec, struct rule)

static void cleanup_rules(struct rule_vec *rules)
{
	rule_vec_clear(rules);
}
#define auto_rules __attribute__((cleanup(cleanup_rules)))

static bool rule_equal(const struct rule *a, const struct rule *b)
{
	return a->proto == b->proto && a->host == b->host && a->guest == b->guest &&
	       !strcmp(a->address, b->address);
}

static bool rules_have(const struct rule_vec *rules, const struct rule *rule)
{
	for (size_t i = 0; i < rules->count; i++)
		if (rule_equal(&rules->at[i], rule))
			return true;
	return false;
}

static struct port_spec rule_port(const struct rule *rule)
{
	return (struct port_spec){ .address = rule->address,
				   .host = rule->host,
				   .guest = rule->guest,
				   .proto = rule->proto };
}

static int rules_from_list(const struct port_list *ports, struct rule_vec *ret, struct error *err)
{
	for (size_t i = 0; ports && i < ports->count; i++) {
		const struct port_spec *port = &ports->at[i];
		struct rule rule = { .host = port->host,
				     .guest = port->guest,
				     .proto = port->proto };
		struct in_addr in;
		if (inet_pton(AF_INET, port->address, &in) != 1 ||
		    !str_copy(rule.address, sizeof(rule.address), port->address))
			return error_set(err, ERROR_INVALID, "'%s' is no IPv4 address",
					 port->address);
		rule_vec_push(ret, rule);
	}
	return 0;
}

/* The VM's way in, which is no port of the list: 127.64.0.0/10, port 2222 to 22. */
static bool is_ssh(const struct rule *rule)
{
	struct in_addr in;
	return rule->proto == PORT_TCP && rule->host == USER_SSH_PORT &&
	       rule->guest == QEMU_SSH_GUEST_PORT && inet_pton(AF_INET, rule->address, &in) == 1 &&
	       (ntohl(in.s_addr) & 0xffc00000) == 0x7f400000;
}

/* "  TCP[HOST_FORWARD]  12       127.0.0.1  8080       10.0.2.15    80     0     0" */
static bool parse_rule(const char *line, struct rule *ret)
{
	static const char dotted[] = "0123456789.";
	char guest_address[16];
	uint64_t fd, host, guest;
	*ret = (struct rule){ .proto = PORT_TCP };
	scan_blanks(&line);
	if (scan_text(&line, "UDP"))
		ret->proto = PORT_UDP;
	else if (!scan_text(&line, "TCP"))
		return false;
	if (!scan_text(&line, "[HOST_FORWARD]") || !scan_blanks(&line) ||
	    !scan_number(&line, 10, INT32_MAX, &fd) || !scan_blanks(&line))
		return false;
	if (scan_text(&line, "*"))
		str_copy(ret->address, sizeof(ret->address), "0.0.0.0");
	else if (!scan_word(&line, dotted, ret->address, sizeof(ret->address)))
		return false;
	if (!scan_blanks(&line) || !scan_number(&line, 10, UINT16_MAX, &host) ||
	    !scan_blanks(&line) ||
	    !scan_word(&line, dotted, guest_address, sizeof(guest_address)) ||
	    !scan_blanks(&line) || !scan_number(&line, 10, UINT16_MAX, &guest))
		return false;
	ret->host = (uint16_t)host;
	ret->guest = (uint16_t)guest;
	return true;
}

static int list_rules(struct qmp *qmp, struct rule_vec *ret, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	if (qmp_human(qmp, "info usernet", &text, err) < 0)
		return -1;
	char *rest = text.data;
	struct rule rule;
	for (char *line; (line = strsep(&rest, "\n"));)
		if (parse_rule(line, &rule))
			rule_vec_push(ret, rule);
	return 0;
}

int qemu_list_ports(struct qmp *qmp, char **ret, struct error *err)
{
	auto_rules struct rule_vec rules = { 0 };
	auto_buf struct buf text = BUF_INIT;
	if (list_rules(qmp, &rules, err) < 0)
		return -1;
	for (size_t i = 0; i < rules.count; i++)
		buf_addf(&text, "%s%s:%u:%u%s", i ? "," : "", rules.at[i].address, rules.at[i].host,
			 rules.at[i].guest, rules.at[i].proto == PORT_UDP ? "/udp" : "");
	*ret = rules.count ? buf_take(&text) : NULL;
	return 0;
}

static int ask_rules(struct qmp *qmp, struct rule_vec *ret, struct error *err)
{
	if (list_rules(qmp, ret, err) < 0)
		return -1;
	/* The one for SSH is always there: without any, this QEMU writes the list differently. */
	if (!ret->count)
		return error_set(err, ERROR_SYSTEM, "cannot read QEMU's list of forwardings");
	return 0;
}

static int remove_rule(struct qmp *qmp, const struct rule *rule, struct error *err)
{
	auto_buf struct buf line = BUF_INIT, answer = BUF_INIT;
	struct port_spec port = rule_port(rule);
	buf_add(&line, "hostfwd_remove " QEMU_NETDEV " ");
	qemu_forward_text(&line, &port, false);
	if (qmp_human(qmp, line.data, &answer, err) < 0)
		return -1;
	if (strstr(answer.data, "removed") || strstr(answer.data, "not found"))
		return 0;
	return error_set(err, ERROR_SYSTEM, "'%s': %.200s", line.data, answer.data);
}

static int add_rule(struct qmp *qmp, const struct rule *rule, struct error *err)
{
	auto_buf struct buf line = BUF_INIT, answer = BUF_INIT;
	struct port_spec port = rule_port(rule);
	buf_add(&line, "hostfwd_add " QEMU_NETDEV " ");
	qemu_forward_text(&line, &port, true);
	if (qmp_human(qmp, line.data, &answer, err) < 0)
		return -1;
	if (!answer.len)
		return 0;
	/* QEMU does not say why; asking again, in its way, does. */
	if (net_port_free(&port, err) < 0)
		return -1;
	return error_set(err, ERROR_SYSTEM, "'%s': %.200s", line.data, answer.data);
}

static int apply(struct qmp *qmp, const struct rule_vec *have, const struct rule_vec *want,
		 struct error *err)
{
	for (size_t i = 0; i < have->count; i++)
		if (!is_ssh(&have->at[i]) && !rules_have(want, &have->at[i]) &&
		    remove_rule(qmp, &have->at[i], err) < 0)
			return -1;
	for (size_t i = 0; i < want->count; i++)
		if (!rules_have(have, &want->at[i]) && add_rule(qmp, &want->at[i], err) < 0)
			return -1;
	return 0;
}

int qemu_set_ports(int vm_dirfd, const struct port_list *from, const struct port_list *to,
		   struct error *err)
{
	(void)from; /* QEMU knows better */
	auto_rules struct rule_vec want = { 0 }, have = { 0 }, now = { 0 };
	auto_qmp struct qmp qmp = QMP_INIT;
	if (rules_from_list(to, &want, err) < 0 ||
	    qmp_open(vm_dirfd, -1, MONITOR_WAIT_MS, &qmp, err) < 0 ||
	    ask_rules(&qmp, &have, err) < 0)
		return error_wrap(err, "cannot change the ports");
	if (apply(&qmp, &have, &want, err) == 0)
		return 0;
	struct error ignored;
	if (ask_rules(&qmp, &now, &ignored) == 0)
		apply(&qmp, &now, &have, &ignored);
	return error_wrap(err, "cannot change the ports");
}
