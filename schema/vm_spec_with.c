/* KEY=VALUE as people type it in a shell: turned into the mapping a file would hold, then read. */
#include "schema/kind.h"
#include "schema/text.h"

#include <string.h>

struct assigner {
	const struct reader *reader;
	struct yaml_node *map; /* what has been given so far, with room for all */
};

static bool is_list(const struct field *field)
{
	return field->kind == &kind_ports || field->kind == &kind_keys ||
	       field->kind == &kind_files || field->kind == &kind_vm_names;
}

static struct yaml_node *new_container(struct arena *arena, enum node_kind kind, size_t room)
{
	struct yaml_node *node = arena_alloc(arena, sizeof(*node), 8);
	*node = (struct yaml_node){ .kind = (uint8_t)kind };
	if (kind == NODE_MAP)
		node->pairs = arena_alloc(arena, room * sizeof(struct yaml_pair), 8);
	else
		node->items = arena_alloc(arena, room * sizeof(struct yaml_node *), 8);
	return node;
}

static void add_pair(struct yaml_node *map, struct arena *arena, const char *key, size_t key_len,
		     struct yaml_node *value)
{
	map->pairs[map->count++] =
		(struct yaml_pair){ yaml_new_scalar(arena, key, key_len, false), value };
}

/* SOURCE:PATH, split at the last ":/" so that a source may hold colons. */
static struct yaml_node *file_node(struct arena *arena, const char *text, size_t len)
{
	struct yaml_node *node = new_container(arena, NODE_MAP, 2);
	size_t split = len;
	for (size_t i = 0; i + 1 < len; i++)
		if (text[i] == ':' && text[i + 1] == '/')
			split = i;
	add_pair(node, arena, "source", 6, yaml_new_scalar(arena, text, split, false));
	if (split < len)
		add_pair(node, arena, "path", 4,
			 yaml_new_scalar(arena, text + split + 1, len - split - 1, false));
	return node;
}

static size_t count_parts(const char *text)
{
	size_t count = 1;
	for (; *text; text++)
		count += *text == ',';
	return count;
}

/* "a,b" as a list; a comment of a key may hold a comma, so keys are not split. */
static struct yaml_node *list_node(const struct field *field, struct arena *arena, const char *text)
{
	struct yaml_node *node = new_container(arena, NODE_LIST, count_parts(text));
	while (*text) {
		size_t len = field->kind == &kind_keys ? strlen(text) : strcspn(text, ",");
		node->items[node->count++] = field->kind == &kind_files
						     ? file_node(arena, text, len)
						     : yaml_new_scalar(arena, text, len, false);
		text += len + (text[len] == ',');
	}
	return node;
}

static struct yaml_node *label_node(struct arena *arena, const char *text)
{
	struct yaml_node *node = new_container(arena, NODE_MAP, count_parts(text));
	while (*text) {
		size_t len = strcspn(text, ","), key = strcspn(text, "=,");
		size_t value = key < len ? key + 1 : len;
		add_pair(node, arena, text, key,
			 yaml_new_scalar(arena, text + value, len - value, key == len));
		text += len + (text[len] == ',');
	}
	return node;
}

static struct yaml_node *value_node(const struct field *field, const char *text,
				    const struct reader *reader)
{
	bool structured = is_list(field) || field->kind == &kind_labels ||
			  field->kind == &kind_ready || field->kind == &kind_workspace;
	if (structured && (text[0] == '[' || text[0] == '{'))
		return yaml_parse(text, strlen(text), reader->scratch, reader->faults);
	if (is_list(field))
		return list_node(field, reader->scratch, text);
	if (field->kind == &kind_labels)
		return label_node(reader->scratch, text);
	/* Numbers and bools are plain words; a string is one whatever it looks like. */
	bool text_kind = field->kind == &kind_text || field->kind == &kind_name;
	return yaml_new_scalar(reader->scratch, text, strlen(text), !text_kind);
}

/* What an earlier assignment of this call gave, and this one. */
static struct yaml_node *join(struct arena *arena, const struct yaml_node *a,
			      const struct yaml_node *b)
{
	size_t count = (size_t)a->count + b->count;
	struct yaml_node *node = new_container(arena, (enum node_kind)a->kind, count);
	size_t size = a->kind == NODE_MAP ? sizeof(struct yaml_pair) : sizeof(struct yaml_node *);
	if (a->count)
		memcpy(node->items, a->items, a->count * size);
	if (b->count)
		memcpy((char *)node->items + a->count * size, b->items, b->count * size);
	node->count = (uint32_t)count;
	return node;
}

/* Joining made keys that may repeat; the tree's rule is that none does. */
static bool keys_are_unique(const struct yaml_node *map)
{
	for (size_t i = 0; i < map->count; i++)
		if (yaml_get(map, map->pairs[i].key->text) != map->pairs[i].value)
			return false;
	return true;
}

static int assign(struct assigner *a, const char *text)
{
	const char *equals = strchr(text, '=');
	struct arena *arena = a->reader->scratch;
	if (!equals) {
		fault_add(a->reader->faults, 0, 0, NULL, "'%.40s' is not of the form KEY=VALUE",
			  text);
		return -1;
	}
	const char *key = arena_text(arena, text, (size_t)(equals - text));
	const struct path path = { .key = key };
	const struct field *field = field_find(key);
	if (field && field->scope != FIELD_OF_VM && field->scope != FIELD_OF_REPLICA) {
		fault_add(a->reader->faults, 0, 0, &path,
			  "only a file can say so: a set is applied, see banger apply");
		return -1;
	}
	struct yaml_node *value = field ? value_node(field, equals + 1, a->reader)
					: yaml_new_scalar(arena, "", 0, false);
	if (!value)
		return -1;
	for (size_t i = 0; i < a->map->count; i++) {
		struct yaml_node *old = a->map->pairs[i].value;
		if (!text_equal(a->map->pairs[i].key->text, key))
			continue;
		bool joins = old->kind == value->kind && old->kind != NODE_SCALAR && field &&
			     field->kind != &kind_ready && field->kind != &kind_workspace;
		struct yaml_node *both = joins ? join(arena, old, value) : NULL;
		if (!both || (both->kind == NODE_MAP && !keys_are_unique(both))) {
			fault_add(a->reader->faults, 0, 0, &path, "given twice");
			return -1;
		}
		a->map->pairs[i].value = both;
		return 0;
	}
	add_pair(a->map, arena, key, strlen(key), value);
	return 0;
}

static void check_name(const char *name, struct vm_spec *spec, struct fault_sink *faults)
{
	const struct path path = { .key = "name" };
	if (vm_name_valid(name))
		str_copy(spec->name, sizeof(spec->name), name);
	else
		fault_add(faults, 0, 0, &path,
			  "'%.64s' is not a name: a to z, 0 to 9 and -, at most %d, neither "
			  "beginning nor ending with -",
			  name, VM_NAME_MAX);
}

static void read_all(struct draft *draft, const char *const *assignments, size_t count,
		     const struct reader *reader)
{
	struct assigner a = { .reader = reader,
			      .map = new_container(reader->scratch, NODE_MAP, count) };
	struct claim_vec claims = { 0 };
	for (size_t i = 0; i < count; i++)
		if (assign(&a, assignments[i]) < 0)
			return;
	draft_read(draft, a.map, NULL, reader);
	draft_settle(draft, NULL, NULL, reader);
	claims_add(&claims, draft, NULL, NULL);
	claims_check(&claims, reader->faults);
	claim_vec_clear(&claims);
}

struct vm_spec *vm_spec_with(const struct vm_spec *base, const char *name,
			     const char *const *assignments, size_t count,
			     const struct spec_context *context, struct error *err)
{
	static const struct spec_context nothing_known = { 0 };
	struct fault_vec faults = { 0 };
	struct fault_sink sink = { .to = &faults, .file = "" };
	auto_ptr(arena) arena = arena_new(4096);
	context = context ? context : &nothing_known;
	const char *home = context->home ? context->home : getenv("HOME");
	const struct reader reader = {
		.context = context,
		.directory = context->directory,
		.home = home && home[0] == '/' ? home : NULL,
		.scratch = arena,
		.faults = &sink,
	};
	struct draft draft;
	draft_init(&draft, &reader);
	if (base)
		draft.spec = *base;
	check_name(name ? name : draft.spec.name, &draft.spec, &sink);
	read_all(&draft, assignments, count, &reader);
	/* Files that were there stay as they are: whoever changes something else reads none. */
	if (!base || draft.origin[field_index(field_find("files"))])
		draft.spec.reader = context->reader;
	if (faults_to_error(&faults, err) < 0)
		return NULL;
	return draft_finish(&draft, &reader);
}
