/* schema/yaml_build.h - the parts of a tree while it is being built; private to the yaml_*.c. */
#ifndef SCHEMA_YAML_BUILD_H
#define SCHEMA_YAML_BUILD_H

#include "schema/text_map.h"
#include "schema/yaml_tree.h"

#include "base/vec.h"

struct anchor {
	struct yaml_node *node;
	size_t size; /* nodes it stands for, aliases inside expanded; while open: where it began */
	bool open;   /* its end has not been seen: an alias to it would hold itself */
};

struct frame {
	struct yaml_node *node; /* the open list or mapping */
	size_t start;		/* its first in pending */
	struct anchor *anchor;
};

DEFINE_VEC(node_vec, struct yaml_node *)
DEFINE_VEC(pair_vec, struct yaml_pair)

struct builder {
	struct arena *arena;
	struct fault_sink *faults;
	struct frame frames[SPEC_DEPTH_MAX];
	size_t depth;
	struct node_vec pending;
	struct pair_vec pairs; /* scratch of builder_finish_map() */
	struct text_map anchors;
	size_t own, added; /* nodes of the file, nodes by aliases */
	unsigned documents;
};

static inline size_t builder_size(const struct builder *b)
{
	return b->own + b->added;
}

/* Where the builder stands; the frames of the chain are the caller's. NULL: at the root. */
const struct path *builder_path(const struct builder *b, struct path chain[SPEC_DEPTH_MAX + 1]);
/* Takes the pending keys and values of the frame into its node: merge keys resolved, duplicates
 * reported and dropped. -1 when the file cannot be read on. */
int builder_finish_map(struct builder *b, struct frame *frame);
void builder_clear(struct builder *b);

#endif
