/* Ports of the host that lead into a guest, and readiness, which names a port too. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"
#include "base/units.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#define LOOPBACK       "127.0.0.1"
#define PORT_FORM      "[address:]host:guest[/tcp|udp]"
#define PATTERN_NUMBER "[1-9][0-9]{0,4}"
#define PATTERN_PORT                                                                               \
	"^([0-9]{1,3}(\\.[0-9]{1,3}){3}:)?" PATTERN_NUMBER ":" PATTERN_NUMBER "(/(tcp|udp))?$"

bool parse_port_number(const char *text, size_t len, uint16_t *ret)
{
	uint32_t value = 0;
	if (!len || len > 5 || text[0] == '0')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	if (value > UINT16_MAX)
		return false;
	*ret = (uint16_t)value;
	return true;
}

/* What is wrong with the text, NULL when nothing is. Strings of ret go to the scratch arena. */
static const char *read_port(const char *text, const struct reader *r, struct port_spec *ret)
{
	struct in_addr address;
	const char *slash = strchr(text, '/');
	const char *end = slash ? slash : text + strlen(text);
	const char *last = memrchr(text, ':', (size_t)(end - text));
	if (slash && !text_equal(slash, "/tcp") && !text_equal(slash, "/udp"))
		return "the protocol must be tcp or udp";
	if (!last)
		return "must be " PORT_FORM;
	const char *colon = memrchr(text, ':', (size_t)(last - text));
	const char *host = colon ? colon + 1 : text;
	if (!parse_port_number(host, (size_t)(last - host), &ret->host) ||
	    !parse_port_number(last + 1, (size_t)(end - last - 1), &ret->guest))
		return "must be " PORT_FORM ", with ports from 1 to 65535";
	ret->proto = slash && !strcmp(slash, "/udp") ? PORT_UDP : PORT_TCP;
	ret->address = LOOPBACK;
	if (!colon)
		return NULL;
	ret->address = arena_text(r->scratch, text, (size_t)(colon - text));
	if (inet_pton(AF_INET, ret->address, &address) != 1)
		return "the address must be IPv4 such as 127.0.0.1, no name";
	return NULL;
}

static bool parse_ports(const struct field *f, const struct yaml_node *node,
			const struct path *path, const struct reader *r, void *to)
{
	(void)f;
	if (!want_list(node, path, "ports such as \"8080:80\"", r))
		return false;
	bool good = true;
	struct port_list list = { .count = node->count };
	list.at = arena_alloc(r->scratch, list.count * sizeof(*list.at), 8);
	for (size_t i = 0; i < node->count; i++) {
		const struct path at = { .up = path, .index = i };
		const char *text = want_text(node->items[i], &at, PORT_FORM, r);
		const char *fault = text ? read_port(text, r, &list.at[i]) : NULL;
		if (fault)
			READER_FAULT(r, node->items[i], &at, "'%.40s': %s", text, fault);
		good = good && text && !fault;
	}
	if (good)
		*(struct port_list *)to = list;
	return good;
}

static bool equal_ports(const void *a, const void *b)
{
	const struct port_list *x = a, *y = b;
	if (x->count != y->count)
		return false;
	for (size_t i = 0; i < x->count; i++) {
		const struct port_spec *p = &x->at[i], *q = &y->at[i];
		if (p->host != q->host || p->guest != q->guest || p->proto != q->proto ||
		    !text_equal(p->address, q->address))
			return false;
	}
	return true;
}

static void add_port(struct buf *to, const struct port_spec *port, bool with_tcp)
{
	if (!text_equal(port->address, LOOPBACK))
		buf_addf(to, "%s:", port->address);
	buf_addf(to, "%u:%u", port->host, port->guest);
	if (port->proto == PORT_UDP)
		buf_add(to, "/udp");
	else if (with_tcp)
		buf_add(to, "/tcp");
}

static void show_ports(const struct field *f, const void *value, struct buf *to)
{
	const struct port_list *list = value;
	(void)f;
	for (size_t i = 0; i < list->count; i++) {
		buf_add(to, i ? ", " : "[");
		add_port(to, &list->at[i], true);
	}
	buf_add(to, list->count ? "]" : "none");
}

static struct cJSON *ports_to_json(const struct field *f, const void *value)
{
	const struct port_list *list = value;
	cJSON *array = cJSON_CreateArray();
	(void)f;
	for (size_t i = 0; i < list->count; i++) {
		auto_buf struct buf text = BUF_INIT;
		add_port(&text, &list->at[i], false);
		cJSON_AddItemToArray(array, cJSON_CreateString(text.data));
	}
	return array;
}

static void pack_ports(struct packer *packer, void *value)
{
	struct port_list *list = value;
	struct port_spec *to = pack_array(packer, list->at, list->count, sizeof(*to));
	for (size_t i = 0; i < list->count; i++) {
		const char *address = pack_text(packer, list->at[i].address);
		if (to)
			to[i].address = address;
	}
	list->at = to ? to : list->count ? list->at : NULL;
}

static void ports_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	schema_pattern_list(schema, PATTERN_PORT, 0);
}

const struct kind kind_ports = {
	.parse = parse_ports,
	.equal = equal_ports,
	.show = show_ports,
	.to_json = ports_to_json,
	.pack = pack_ports,
	.to_schema = ports_to_schema,
	.type = "list of ports",
};

/* --- ready --- */

static const char *const probes[] = {
	[READY_SSH] = "ssh", [READY_AGENT] = "agent", [READY_TCP] = "tcp:", [READY_NONE] = "none"
};

static bool parse_probe(const struct yaml_node *node, const struct path *path,
			const struct reader *r, struct ready_spec *to)
{
	const char *text = want_text(node, path, "ssh, agent, tcp:PORT or none", r);
	if (!text)
		return false;
	to->port = 0;
	for (unsigned i = 0; i < ARRAY_COUNT(probes); i++)
		if (i != READY_TCP && !strcmp(text, probes[i])) {
			to->kind = (enum ready_kind)i;
			return true;
		}
	to->kind = READY_TCP;
	if (!strncmp(text, "tcp:", 4) && parse_port_number(text + 4, strlen(text + 4), &to->port))
		return true;
	READER_FAULT(r, node, path, "must be ssh, agent, tcp:PORT or none, not '%.40s'", text);
	return false;
}

static bool parse_timeout(const struct field *f, const struct yaml_node *node,
			  const struct path *path, const struct reader *r, uint64_t *to)
{
	struct field timeout = *f;
	timeout.zero_is_none = false;
	return kind_duration.parse(&timeout, node, path, r, to);
}

static bool parse_ready(const struct field *f, const struct yaml_node *node,
			const struct path *path, const struct reader *r, void *to)
{
	struct ready_spec ready = { .kind = READY_SSH, .timeout_ms = f->fallback };
	bool good = true;
	if (node->kind != NODE_MAP)
		good = parse_probe(node, path, r, &ready);
	for (size_t i = 0; node->kind == NODE_MAP && i < node->count; i++) {
		const struct yaml_pair *pair = &node->pairs[i];
		const struct path at = { .up = path, .key = pair->key->text };
		static const char *const known[] = { "probe", "timeout", NULL };
		char hint[64];
		if (!strcmp(at.key, "probe"))
			good = parse_probe(pair->value, &at, r, &ready) && good;
		else if (!strcmp(at.key, "timeout"))
			good = parse_timeout(f, pair->value, &at, r, &ready.timeout_ms) && good;
		else {
			READER_FAULT(r, pair->key, &at, "unknown field%s",
				     did_you_mean(hint, at.key, known));
			good = false;
		}
	}
	if (good)
		*(struct ready_spec *)to = ready;
	return good;
}

static void fallback_ready(const struct field *f, void *to)
{
	*(struct ready_spec *)to = (struct ready_spec){ .timeout_ms = f->fallback };
}

static bool equal_ready(const void *a, const void *b)
{
	const struct ready_spec *x = a, *y = b;
	return x->kind == y->kind && x->port == y->port && x->timeout_ms == y->timeout_ms;
}

static void add_probe(const struct ready_spec *ready, struct buf *to)
{
	buf_add(to, probes[ready->kind]);
	if (ready->kind == READY_TCP)
		buf_addf(to, "%u", ready->port);
}

static void show_ready(const struct field *f, const void *value, struct buf *to)
{
	const struct ready_spec *ready = value;
	char text[UNITS_TEXT_MAX];
	(void)f;
	add_probe(ready, to);
	buf_addf(to, " within %s", units_format_duration(ready->timeout_ms, text));
}

static struct cJSON *ready_to_json(const struct field *f, const void *value)
{
	const struct ready_spec *ready = value;
	char text[UNITS_TEXT_MAX];
	auto_buf struct buf probe = BUF_INIT;
	add_probe(ready, &probe);
	if (ready->timeout_ms == f->fallback)
		return cJSON_CreateString(probe.data);
	cJSON *object = cJSON_CreateObject();
	json_add_str(object, "probe", probe.data);
	json_add_str(object, "timeout", units_format_duration(ready->timeout_ms, text));
	return object;
}

static void ready_to_schema(const struct field *f, struct cJSON *schema)
{
	static const char probe_pattern[] = "^(ssh|agent|none|tcp:" PATTERN_NUMBER ")$";
	(void)f;
	cJSON *any = cJSON_AddArrayToObject(schema, "oneOf");
	cJSON *word = cJSON_CreateObject(), *map = cJSON_CreateObject();
	cJSON_AddItemToArray(any, word);
	cJSON_AddItemToArray(any, map);
	json_add_str(word, "type", "string");
	schema_pattern(word, probe_pattern, 0);
	json_add_str(map, "type", "object");
	json_add_bool(map, "additionalProperties", false);
	cJSON *members = cJSON_AddObjectToObject(map, "properties");
	cJSON *probe = cJSON_AddObjectToObject(members, "probe");
	json_add_str(probe, "type", "string");
	schema_pattern(probe, probe_pattern, 0);
	cJSON *timeout = cJSON_AddObjectToObject(members, "timeout");
	json_add_str(timeout, "type", "string");
	schema_pattern(timeout, PATTERN_DURATION, 0);
}

const struct kind kind_ready = {
	.parse = parse_ready,
	.fallback = fallback_ready,
	.equal = equal_ready,
	.show = show_ready,
	.to_json = ready_to_json,
	.to_schema = ready_to_schema,
	.type = "word or mapping",
};
