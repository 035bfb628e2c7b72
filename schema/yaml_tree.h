/* schema/yaml_tree.h - one YAML document as a compact tree that knows where everything was written.
 *
 * What YAML allows and we refuse: several documents, tags, keys that are no scalars, duplicate
 * keys, tabs as indentation, control characters, aliases that hold themselves or grow the tree by
 * more than SPEC_ALIAS_MAX nodes. Aliases share the node they name; merge keys (`<<`) are resolved
 * here, a mapping's own keys before merged ones, so that nobody above has to know them. */
#ifndef SCHEMA_YAML_TREE_H
#define SCHEMA_YAML_TREE_H

#include "schema/arena.h"
#include "schema/fault.h"

#include <stdbool.h>
#include <stdint.h>

#define YAML_KEYS_MAX	 10000 /* of one mapping; as many VMs as a stack may have */
#define YAML_ANCHORS_MAX 10000
#define YAML_NODES_MAX	 1000000 /* in a file of at most SPEC_FILE_MAX */

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct yaml_node {
	union {
		const char *text;	  /* NODE_SCALAR, terminated, holds no NUL */
		struct yaml_node **items; /* NODE_LIST */
		struct yaml_pair *pairs;  /* NODE_MAP, no key twice */
	};
	uint32_t count; /* bytes, items or pairs */
	int32_t line, column;
	uint8_t kind;
	bool plain; /* NODE_SCALAR: written without quotes, so it may be a number or a bool */
};

struct yaml_pair {
	struct yaml_node *key, *value; /* key: NODE_SCALAR */
};

/* The root of the document, or NULL when the text cannot be read on; faults may have been added in
 * both cases. Everything lives in the arena. */
struct yaml_node *yaml_parse(const char *text, size_t len, struct arena *arena,
			     struct fault_sink *faults);

/* What yaml_parse() refuses before libyaml sees it. Returns the text without byte order mark, NULL
 * with a fault. */
const char *yaml_text_check(const char *text, size_t *len, struct fault_sink *faults);

/* The same tree from JSON, so that one reader serves both; strings count as quoted. NULL with a
 * fault for duplicate keys or too much depth. */
struct cJSON;
struct yaml_node *yaml_from_json(const struct cJSON *json, struct arena *arena,
				 struct fault_sink *faults);

struct yaml_node *yaml_new_scalar(struct arena *arena, const char *text, size_t len, bool plain);
/* NULL when missing. Linear: for the small mappings of a VM. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* Nothing, ~ or null, unquoted. */
bool yaml_is_null(const struct yaml_node *node);
const char *yaml_kind_name(const struct yaml_node *node); /* "a list" */

#endif
