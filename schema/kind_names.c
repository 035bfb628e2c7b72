/* depends_on: names of VMs, or of sets of replicas, which stand for all of theirs. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

static bool parse_vm_name(const struct yaml_node *node, const struct path *path,
			  const struct reader *r, const char **ret)
{
	*ret = want_text(node, path, "the name of a VM", r);
	if (!*ret)
		return false;
	if (vm_name_valid(*ret))
		return true;
	READER_FAULT(r, node, path, "'%.40s' is not the name of a VM", *ret);
	return false;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, each once: their order means nothing, so a changed one is no change. */
static void normalize(struct string_list *list)
{
	size_t kept = 0;
	if (list->count)
		qsort(list->at, list->count, sizeof(*list->at), by_text);
	for (size_t i = 0; i < list->count; i++)
		if (!kept || !text_equal(list->at[i], list->at[kept - 1]))
			list->at[kept++] = list->at[i];
	list->count = kept;
}

static bool parse_vm_names(const struct field *f, const struct yaml_node *node,
			   const struct path *path, const struct reader *r, void *to)
{
	bool good = want_list(node, path, "names of VMs", r);
	(void)f;
	if (!good)
		return false;
	struct string_list list = { 0 };
	if (node->count)
		list.at = arena_alloc(r->scratch, node->count * sizeof(*list.at), 8);
	for (size_t i = 0; i < node->count; i++) {
		const struct path at = { .up = path, .index = i };
		good = parse_vm_name(node->items[i], &at, r, &list.at[list.count++]) && good;
	}
	if (!good)
		return false;
	normalize(&list);
	*(struct string_list *)to = list;
	return true;
}

static void show_vm_names(const struct field *f, const void *value, struct buf *to)
{
	const struct string_list *list = value;
	(void)f;
	for (size_t i = 0; i < list->count; i++)
		buf_addf(to, "%s%s", i ? ", " : "[", list->at[i]);
	buf_add(to, list->count ? "]" : "none");
}

static void vm_names_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	schema_pattern_list(schema, PATTERN_VM_NAME, 0);
}

const struct kind kind_vm_names = {
	.parse = parse_vm_names,
	.equal = strings_equal,
	.show = show_vm_names,
	.to_json = strings_to_json,
	.pack = strings_pack,
	.to_schema = vm_names_to_schema,
	.type = "list of VM names",
};
