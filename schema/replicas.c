/* Sets: one entry of a file made into several VMs. */
#include "schema/reader.h"
#include "schema/text.h"

#include <inttypes.h>
#include <stdio.h>

/* A member whose default it gets back when only `defaults` asked for it. */
static bool said_by_all_only(const struct draft *draft, const struct draft *of_all, size_t index)
{
	return draft->origin[index] == of_all->origin[index];
}

static void settle_one(struct draft *draft, const struct draft *of_all, const struct path *path,
		       const struct reader *reader)
{
	const struct field *field = field_find("max_unavailable");
	const struct path at = { .up = path, .key = field->key };
	if (!said_by_all_only(draft, of_all, field_index(field)))
		READER_FAULT(reader, draft_place(draft, field), &at,
			     "has a meaning only with 'replicas'");
	draft->spec.max_unavailable = (uint32_t)field->fallback;
}

static void check_names(const struct draft *draft, const struct path *path,
			const struct yaml_node *key, const struct reader *reader)
{
	char number[16];
	int digits = snprintf(number, sizeof(number), "-%" PRIu32, draft->spec.replicas);
	if (key->count + (size_t)digits > VM_NAME_MAX)
		READER_FAULT(reader, key, path,
			     "its replicas would have names longer than %d, '%.20s...%s'",
			     VM_NAME_MAX, key->text, number);
}

static void check_budget(const struct draft *draft, const struct path *path,
			 const struct reader *reader)
{
	const struct field *field = field_find("max_unavailable");
	const struct path at = { .up = path, .key = field->key };
	if (draft->spec.max_unavailable > draft->spec.replicas)
		READER_FAULT(reader, draft_place(draft, field), &at,
			     "%" PRIu32 " of %" PRIu32 " replicas, at most all of them",
			     draft->spec.max_unavailable, draft->spec.replicas);
}

static void check_ports(const struct draft *draft, const struct path *path,
			const struct reader *reader)
{
	const struct field *field = field_find("ports");
	const struct path at = { .up = path, .key = field->key };
	if (draft->spec.ports.count)
		READER_FAULT(reader, draft_place(draft, field), &at,
			     "%" PRIu32 " replicas cannot share a port of the host: leave it out, "
			     "or write VMs of their own",
			     draft->spec.replicas);
}

size_t replicas_settle(struct draft *draft, const struct draft *of_all, const struct path *path,
		       const struct yaml_node *key, const struct reader *reader)
{
	size_t replicas = draft->spec.replicas;
	if (!draft->origin[field_index(field_find("replicas"))]) {
		settle_one(draft, of_all, path, reader);
		return ONE_VM;
	}
	check_names(draft, path, key, reader);
	if (replicas)
		check_budget(draft, path, reader);
	if (replicas > 1)
		check_ports(draft, path, reader);
	return draft->spec.ports.count && replicas > 1 ? 1 : replicas;
}

void replicas_name(struct draft *draft, const char *set, size_t number)
{
	struct vm_spec *spec = &draft->spec;
	snprintf(spec->name, sizeof(spec->name), "%.*s-%zu", VM_NAME_MAX - 5, set, number);
	spec->set = set;
	spec->replicas = 0;
}
