/* Ports of the host can be had once. All claims of a set are sorted so that those that may overlap
 * are neighbours: by protocol, port, address; 0.0.0.0 sorts first and overlaps all the others. */
#include "schema/reader.h"

#include <arpa/inet.h>
#include <stdio.h>

static const struct field *ports_field(void)
{
	static const char key[] = "ports";
	return field_find(key);
}

void claims_add(struct claim_vec *claims, const struct draft *draft, const char *vm,
		const char *file)
{
	const struct port_list *ports = &draft->spec.ports;
	if (!ports->count)
		return;
	const struct yaml_node *list = draft->origin[field_index(ports_field())];
	for (size_t i = 0; i < ports->count; i++) {
		const struct yaml_node *node = list ? list->items[i] : NULL;
		struct port_claim claim = {
			.vm = vm,
			.file = file,
			.host = ports->at[i].host,
			.proto = ports->at[i].proto,
			.line = node ? node->line : 0,
			.column = node ? node->column : 0,
			.index = i,
			.order = claims->count,
		};
		struct in_addr address;
		if (inet_pton(AF_INET, ports->at[i].address, &address) == 1)
			claim.address = ntohl(address.s_addr);
		claim_vec_push(claims, claim);
	}
}

static int by_claim(const void *a, const void *b)
{
	const struct port_claim *x = a, *y = b;
	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	if (x->host != y->host)
		return x->host < y->host ? -1 : 1;
	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static void clash(const struct port_claim *a, const struct port_claim *b, struct fault_sink *faults)
{
	const struct port_claim *first = a->order < b->order ? a : b, *second = first == a ? b : a;
	const struct path vms = {.key = "vms"}, vm = {.up = &vms, .key = second->vm};
	const struct path ports = {.up = second->vm ? &vm : NULL, .key = "ports"};
	const struct path path = {.up = &ports, .index = second->index};
	char where[512] = "";
	if (first->vm && first->line)
		snprintf(where, sizeof(where), " by '%s' at %s:%d:%d", first->vm, first->file,
			 first->line, first->column);
	else if (first->vm)
		snprintf(where, sizeof(where), " by '%s'", first->vm);
	const char *file = faults->file;
	if (second->file)
		faults->file = second->file;
	fault_add(faults, second->line, second->column, &path, "port %u/%s is already taken%s",
		  second->host, second->proto == PORT_UDP ? "udp" : "tcp", where);
	faults->file = file;
}

static bool same_port(const struct port_claim *a, const struct port_claim *b)
{
	return a->proto == b->proto && a->host == b->host;
}

void claims_check(struct claim_vec *claims, struct fault_sink *faults)
{
	if (claims->count < 2)
		return;
	qsort(claims->at, claims->count, sizeof(*claims->at), by_claim);
	for (size_t first = 0, i = 1; i < claims->count; i++) {
		const struct port_claim *here = &claims->at[i];
		if (!same_port(here, &claims->at[first])) {
			first = i;
			continue;
		}
		if (here->address == claims->at[i - 1].address)
			clash(&claims->at[i - 1], here, faults);
		else if (!claims->at[first].address)
			clash(&claims->at[first], here, faults);
	}
}
