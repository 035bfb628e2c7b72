/* Mappings: keys that are unique, and keys that are merged. */
#include "schema/yaml_build.h"

#include <string.h>

#define HASH_FROM 8 /* below, looking at every key is faster */

const struct path *builder_path(const struct builder *b, struct path chain[SPEC_DEPTH_MAX + 1])
{
	const struct path *up = NULL;
	for (size_t i = 0; i < b->depth; i++) {
		const struct frame *frame = &b->frames[i];
		size_t end = i + 1 < b->depth ? b->frames[i + 1].start : b->pending.count;
		size_t count = end - frame->start;
		if (frame->node->kind == NODE_MAP && count % 2 == 0)
			break; /* at a key, which is no path yet */
		chain[i] = (struct path){ .up = up, .index = count };
		if (frame->node->kind == NODE_MAP)
			chain[i].key = b->pending.at[end - 1]->text;
		up = &chain[i];
	}
	return up;
}

void builder_clear(struct builder *b)
{
	node_vec_clear(&b->pending);
	pair_vec_clear(&b->pairs);
	text_map_clear(&b->anchors);
}

/* Pushes the pair, or returns the key that is there already. */
static const struct yaml_node *enter(struct pair_vec *pairs, struct text_map *map,
				     struct yaml_pair pair)
{
	const char *key = pair.key->text;
	if (pairs->count < HASH_FROM) {
		for (size_t i = 0; i < pairs->count; i++)
			if (!strcmp(pairs->at[i].key->text, key))
				return pairs->at[i].key;
		pair_vec_push(pairs, pair);
		return NULL;
	}
	if (!map->room) {
		*map = text_map_make(pairs->count * 2);
		for (size_t i = 0; i < pairs->count; i++)
			*text_map_slot(map, pairs->at[i].key->text) = pairs->at[i].key;
	}
	void **slot = text_map_slot(map, key);
	const struct yaml_node *first = *slot;
	if (first)
		return first;
	*slot = pair.key;
	pair_vec_push(pairs, pair);
	return NULL;
}

static bool is_merge(const struct yaml_node *key)
{
	return key->plain && !strcmp(key->text, "<<");
}

static void fault_at_key(struct builder *b, const struct yaml_node *place, const char *key,
			 const char *text, int line)
{
	struct path chain[SPEC_DEPTH_MAX + 1];
	const struct path path = { .up = builder_path(b, chain), .key = key };
	if (line)
		fault_add(b->faults, place->line, place->column, &path, "%s at line %d", text,
			  line);
	else
		fault_add(b->faults, place->line, place->column, &path, "%s", text);
}

static void merge_one(struct builder *b, struct text_map *map, const struct yaml_node *from)
{
	if (from->kind != NODE_MAP) {
		fault_at_key(b, from, "<<", "only mappings can be merged", 0);
		return;
	}
	for (size_t i = 0; i < from->count; i++)
		enter(&b->pairs, map, from->pairs[i]);
}

static void merge(struct builder *b, struct text_map *map, const struct yaml_node *value)
{
	if (value->kind != NODE_LIST) {
		merge_one(b, map, value);
		return;
	}
	for (size_t i = 0; i < value->count; i++)
		merge_one(b, map, value->items[i]);
}

/* Own keys first, so that they win; returns the value of the merge key, if there is one. */
static const struct yaml_node *take_own(struct builder *b, struct text_map *map,
					struct yaml_node **nodes, size_t count)
{
	const struct yaml_node *merge_key = NULL, *merged = NULL;
	for (size_t i = 0; i < count; i += 2) {
		struct yaml_node *key = nodes[i];
		if (is_merge(key)) {
			if (merge_key)
				fault_at_key(b, key, "<<", "duplicate key, first given",
					     merge_key->line);
			merge_key = key;
			merged = nodes[i + 1];
			continue;
		}
		const struct yaml_node *first =
			enter(&b->pairs, map, (struct yaml_pair){ key, nodes[i + 1] });
		if (first)
			fault_at_key(b, key, key->text, "duplicate key, first given", first->line);
	}
	return merged;
}

int builder_finish_map(struct builder *b, struct frame *frame)
{
	struct yaml_node **nodes = b->pending.at + frame->start, *node = frame->node;
	size_t count = b->pending.count - frame->start;
	auto_text_map struct text_map map = { 0 };
	b->pairs.count = 0;
	if (count / 2 <= YAML_KEYS_MAX) {
		const struct yaml_node *merged = take_own(b, &map, nodes, count);
		if (merged)
			merge(b, &map, merged);
	}
	if (count / 2 > YAML_KEYS_MAX || b->pairs.count > YAML_KEYS_MAX) {
		struct path chain[SPEC_DEPTH_MAX + 1];
		fault_add(b->faults, node->line, node->column, builder_path(b, chain),
			  "more than 10000 keys in one mapping");
		return -1;
	}
	size_t bytes = b->pairs.count * sizeof(struct yaml_pair);
	node->pairs = arena_alloc(b->arena, bytes, 8);
	if (bytes)
		memcpy(node->pairs, b->pairs.at, bytes);
	node->count = (uint32_t)b->pairs.count;
	return 0;
}

struct yaml_node *yaml_new_scalar(struct arena *arena, const char *text, size_t len, bool plain)
{
	struct yaml_node *node = arena_alloc(arena, sizeof(*node), 8);
	*node = (struct yaml_node){
		.text = arena_text(arena, text, len),
		.count = (uint32_t)len,
		.kind = NODE_SCALAR,
		.plain = plain,
	};
	return node;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	for (size_t i = 0; i < map->count; i++)
		if (!strcmp(map->pairs[i].key->text, key))
			return map->pairs[i].value;
	return NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	if (node->kind != NODE_SCALAR || !node->plain)
		return false;
	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		if (!strcmp(node->text, nulls[i]))
			return true;
	return false;
}

const char *yaml_kind_name(const struct yaml_node *node)
{
	if (node->kind == NODE_SCALAR)
		return yaml_is_null(node) ? "empty" : "a single value";
	return node->kind == NODE_LIST ? "a list" : "a mapping";
}
