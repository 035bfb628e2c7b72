/* Ports of the host can be had once. All claims of a set are sorted so that those that may overlap
 * are neighbours: by protocol, port, address; 0.0.0.0 sorts first and overlaps all the others. */
#include "schema/reader.h"

#include <arpa/inet.h>
#include <stdio.h>

static void add(struct claim_vec *claims, const struct port_spec *port, struct port_claim claim)
{
	struct in_addr address;
	if (inet_pton(AF_INET, port->address, &address) == 1)
		claim.address = ntohl(address.s_addr);
	claim.host = port->host;
	claim.proto = port->proto;
	claim.order = claims->count;
	claim_vec_push(claims, claim);
}

void claims_add(struct claim_vec *claims, const struct draft *draft, const char *vm,
		const char *file)
{
	const struct port_list *ports = &draft->spec.ports;
	if (!ports->count)
		return;
	const struct yaml_node *list = draft->origin[field_index(field_find("ports"))];
	for (size_t i = 0; i < ports->count; i++) {
		const struct yaml_node *node = list ? list->items[i] : NULL;
		add(claims, &ports->at[i],
		    (struct port_claim){ .vm = vm,
					 .file = file,
					 .line = node ? node->line : 0,
					 .column = node ? node->column : 0,
					 .index = i });
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
	const struct path vms = { .key = "vms" }, vm = { .up = &vms, .key = second->vm };
	const struct path ports = { .up = second->vm ? &vm : NULL, .key = "ports" };
	const struct path element = { .up = &ports, .index = second->index };
	const struct path *path = second->index == NO_INDEX ? &ports : &element;
	char where[512] = "";
	if (first->vm && first->line)
		snprintf(where, sizeof(where), " by '%s' at %s:%d:%d", first->vm, first->file,
			 first->line, first->column);
	else if (first->vm)
		snprintf(where, sizeof(where), " by '%s'", first->vm);
	const char *file = faults->file;
	if (second->file)
		faults->file = second->file;
	fault_add(faults, second->line, second->column, path, "port %u/%s is already taken%s",
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

size_t spec_ports_check(const struct vm_spec *const *vms, size_t count, struct fault_vec *faults)
{
	struct claim_vec claims = { 0 };
	struct fault_sink sink = { .to = faults, .file = "" };
	size_t before = faults->count;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < vms[i]->ports.count; j++)
			add(&claims, &vms[i]->ports.at[j],
			    (struct port_claim){ .vm = vms[i]->name,
						 .file = vms[i]->file ? vms[i]->file : "",
						 .line = vms[i]->line,
						 .column = vms[i]->column,
						 .index = NO_INDEX });
	claims_check(&claims, &sink);
	claim_vec_clear(&claims);
	faults_sort(&sink, before);
	faults_close(&sink);
	return sink.kept + sink.dropped;
}
