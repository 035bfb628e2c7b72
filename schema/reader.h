/* schema/reader.h - from nodes to a VM: private to schema/.
 *
 * A draft is a spec whose strings still lie in the tree; packing copies them into an arena of
 * exactly the right size. It remembers the node each value came from, so that a fault found late
 * (memory below what the image needs) names the line where it can be mended. */
#ifndef SCHEMA_READER_H
#define SCHEMA_READER_H

#include "schema/field.h"
#include "schema/yaml_tree.h"

struct reader {
	const struct spec_context *context; /* never NULL */
	const char *directory;		    /* NULL: relative paths are refused */
	const char *home;		    /* NULL: ~/ is refused */
	bool stored;	 /* from JSON of our own: paths are absolute, ssh_keys are keys */
	bool merge_maps; /* labels add to those of `defaults` instead of replacing them */
	struct arena *scratch;
	struct fault_sink *faults;
};

struct draft {
	struct vm_spec spec;
	const struct yaml_node *origin[FIELD_COUNT]; /* NULL: the default */
	const struct path *path;		     /* of the VM, while it is settled */
	const struct yaml_node *place;		     /* of the VM's key; NULL: nowhere */
};

#define READER_FAULT(reader, node, path, ...)                                                      \
	fault_add((reader)->faults, (node)->line, (node)->column, path, __VA_ARGS__)

void draft_init(struct draft *draft, const struct reader *reader);
/* Reads every key of map into the draft; faults say what did not fit. */
void draft_read(struct draft *draft, const struct yaml_node *map, const struct path *path,
		const struct reader *reader);
void draft_settle(struct draft *draft, const struct path *path, const struct yaml_node *place,
		  const struct reader *reader);
/* The immutable spec: one allocation. Owned by the caller. */
struct vm_spec *draft_finish(struct draft *draft, const struct reader *reader);
struct vm_spec *vm_spec_pack(const struct vm_spec *spec);
/* The node's text as an absolute path on the host; NULL with a fault. */
const char *reader_file(const struct reader *reader, const struct yaml_node *node,
			const struct path *path, size_t max);
/* What the context knows about an image; NULL: nothing. */
const struct image_hint *reader_image(const struct reader *reader, const char *image);
/* The fault's place of a field in a draft: where it was written, else the VM. */
const struct yaml_node *draft_place(const struct draft *draft, const struct field *field);

/* --- ports that two VMs want --- */

#define NO_INDEX SIZE_MAX

struct port_claim {
	const char *vm, *file; /* vm NULL: the only one there is */
	uint32_t address;
	uint16_t host;
	enum port_proto proto;
	int line, column;
	size_t index, order; /* element of its list, NO_INDEX: unknown; as read */
};
DEFINE_VEC(claim_vec, struct port_claim)
void claims_add(struct claim_vec *claims, const struct draft *draft, const char *vm,
		const char *file);
/* A fault for every claim that overlaps one read before it. */
void claims_check(struct claim_vec *claims, struct fault_sink *faults);

/* --- sets of replicas --- */

#define ONE_VM SIZE_MAX /* not a set */

/* How many VMs the draft makes: ONE_VM, or the replicas it says. Faults where a set of them cannot
 * be made. of_all: what `defaults` says; what only they say is no fault of a VM that is no set. */
size_t replicas_settle(struct draft *draft, const struct draft *of_all, const struct path *path,
		       const struct yaml_node *key, const struct reader *reader);
/* The draft as its replica of this number, from 1. */
void replicas_name(struct draft *draft, const char *set, size_t number);

/* --- who depends on whom --- */

/* An entry of a file, a VM or a set, and what it says about others. Strings are borrowed. */
struct entry {
	const char *name, *file;
	int line, column;
	size_t replicas; /* ONE_VM: it is one */
	size_t first_ref, refs;
	size_t order; /* as read */
};
DEFINE_VEC(entry_vec, struct entry)
struct ref {
	const char *name;
	int line, column;
	size_t index; /* in its list, NO_INDEX: unknown */
};
DEFINE_VEC(ref_vec, struct ref)

/* Faults for names twice of which one is a set's, for names that are nobody's and for cycles.
 * Sorts the entries by name. */
void depends_check(struct entry_vec *entries, const struct ref_vec *refs,
		   struct fault_sink *faults);

/* A key of ours is at most a slip of the finger away: ", did you mean 'x'?" or "". */
const char *did_you_mean(char text[64], const char *typed, const char *const *known);

#endif
