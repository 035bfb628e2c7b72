/* JSON as the same tree, so that the store's and the wire's form meet the same rules as a file. */
#include "schema/text_map.h"
#include "schema/yaml_tree.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

struct converter {
	struct arena *arena;
	struct fault_sink *faults;
};

static struct yaml_node *convert(struct converter *c, const cJSON *json, const struct path *path,
				 unsigned depth);

static struct yaml_node *convert_number(struct converter *c, double value)
{
	bool whole = fabs(value) <= 9007199254740992.0 && trunc(value) == value;
	char *text = whole ? arena_printf(c->arena, "%.0f", value)
			   : arena_printf(c->arena, "%.17g", value);
	return yaml_new_scalar(c->arena, text, strlen(text), true);
}

static size_t count_children(const cJSON *json)
{
	size_t count = 0;
	for (const cJSON *child = json->child; child; child = child->next)
		count++;
	return count;
}

static struct yaml_node *new_container(struct converter *c, const cJSON *json, size_t count)
{
	bool map = cJSON_IsObject(json);
	struct yaml_node *node = arena_alloc(c->arena, sizeof(*node), 8);
	*node = (struct yaml_node){ .kind = map ? NODE_MAP : NODE_LIST, .count = (uint32_t)count };
	if (map)
		node->pairs = arena_alloc(c->arena, count * sizeof(struct yaml_pair), 8);
	else
		node->items = arena_alloc(c->arena, count * sizeof(struct yaml_node *), 8);
	return node;
}

static struct yaml_node *convert_container(struct converter *c, const cJSON *json,
					   const struct path *path, unsigned depth)
{
	size_t count = count_children(json), i = 0;
	struct path at = { .up = path };
	if (depth == SPEC_DEPTH_MAX || count > YAML_KEYS_MAX) {
		fault_add(c->faults, 0, 0, path,
			  count > YAML_KEYS_MAX ? "more than 10000 values in one place"
						: "nested deeper than 16 levels");
		return NULL;
	}
	struct yaml_node *node = new_container(c, json, count);
	auto_text_map struct text_map seen = text_map_make(node->kind == NODE_MAP ? count : 0);
	for (const cJSON *child = json->child; child; child = child->next, i++) {
		at.key = node->kind == NODE_MAP ? child->string : NULL;
		at.index = i;
		struct yaml_node *value = convert(c, child, &at, depth + 1);
		if (!value)
			return NULL;
		if (node->kind == NODE_LIST) {
			node->items[i] = value;
			continue;
		}
		void **slot = text_map_slot(&seen, child->string);
		if (*slot) {
			fault_add(c->faults, 0, 0, &at, "duplicate key");
			return NULL;
		}
		*slot = value;
		node->pairs[i].key =
			yaml_new_scalar(c->arena, child->string, strlen(child->string), false);
		node->pairs[i].value = value;
	}
	return node;
}

static struct yaml_node *convert(struct converter *c, const cJSON *json, const struct path *path,
				 unsigned depth)
{
	if (cJSON_IsString(json))
		return yaml_new_scalar(c->arena, json->valuestring, strlen(json->valuestring),
				       false);
	if (cJSON_IsNumber(json))
		return convert_number(c, json->valuedouble);
	if (cJSON_IsBool(json))
		return cJSON_IsTrue(json) ? yaml_new_scalar(c->arena, "true", 4, true)
					  : yaml_new_scalar(c->arena, "false", 5, true);
	if (cJSON_IsArray(json) || cJSON_IsObject(json))
		return convert_container(c, json, path, depth);
	return yaml_new_scalar(c->arena, "null", 4, true);
}

struct yaml_node *yaml_from_json(const struct cJSON *json, struct arena *arena,
				 struct fault_sink *faults)
{
	struct converter c = { .arena = arena, .faults = faults };
	return convert(&c, json, NULL, 0);
}
