/* schema/kind.h - what values of one kind have in common: reading, comparing, showing, packing. */
#ifndef SCHEMA_KIND_H
#define SCHEMA_KIND_H

#include "schema/reader.h"

#include "base/buf.h"

struct cJSON;
struct packer;

struct kind {
	/* Reads node into the member at `to`; false after adding at least one fault. A member that
	 * holds the value of `defaults` may be merged with. */
	bool (*parse)(const struct field *field, const struct yaml_node *node,
		      const struct path *path, const struct reader *reader, void *to);
	void (*fallback)(const struct field *field, void *to); /* NULL: zeroes are the default */
	bool (*equal)(const void *a, const void *b);
	/* As people read it, in a plan. No secrets. */
	void (*show)(const struct field *field, const void *value, struct buf *to);
	/* As it is written in a spec. */
	struct cJSON *(*to_json)(const struct field *field, const void *value);
	/* value lies in a copy of the spec; what it points to is still the original's. NULL: it
	 * points to nothing. */
	void (*pack)(struct packer *packer, void *value);
	/* Adds type, bounds, pattern … to the field's JSON Schema. */
	void (*to_schema)(const struct field *field, struct cJSON *schema);
	const char *type; /* in words, for the manual page */
};

extern const struct kind kind_name, kind_text, kind_u32, kind_size, kind_bool, kind_enum,
	kind_duration, kind_ports, kind_ready, kind_labels, kind_keys, kind_files, kind_workspace,
	kind_vm_names;

/* --- packing: run twice, to measure and to copy; both take the same steps --- */

struct packer {
	struct arena *arena; /* NULL: measure only */
	size_t used;	     /* bytes so far */
};
/* Copies text, except the few that nearly every VM has and that are static. */
const char *pack_text(struct packer *packer, const char *text);
/* A copy of an array, whose elements still point to the old strings; NULL while measuring and for
 * an empty one. The old array is never written: it may belong to a spec that others read. */
void *pack_array(struct packer *packer, const void *at, size_t count, size_t size);

/* --- for the kinds --- */

/* The text of a scalar; NULL with a fault when it is none, is null or is not clean. */
const char *want_text(const struct yaml_node *node, const struct path *path, const char *what,
		      const struct reader *reader);
/* A list of at most 256; false with a fault. */
bool want_list(const struct yaml_node *node, const struct path *path, const char *what,
	       const struct reader *reader);
#define LIST_MAX 256

/* The absolute path of a file or directory in the guest; NULL with a fault. */
const char *want_guest_path(const struct yaml_node *node, const struct path *path, const char *what,
			    const struct reader *reader);
#define GUEST_PATH_MAX	   1024
#define PATTERN_GUEST_PATH "^/.*[^/]$"

/* Members of kinds that are a struct string_list. */
bool strings_equal(const void *a, const void *b);
struct cJSON *strings_to_json(const struct field *field, const void *value);
void strings_pack(struct packer *packer, void *value);

bool parse_port_number(const char *text, size_t len, uint16_t *ret);
/* Adds what a schema says in one regular expression. */
void schema_pattern(struct cJSON *schema, const char *pattern, unsigned max_length);
/* The same of every word of a list of at most LIST_MAX. */
void schema_pattern_list(struct cJSON *schema, const char *pattern, unsigned max_length);

#define PATTERN_VM_NAME	 "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
#define PATTERN_SIZE	 "^(0|[1-9][0-9]*)(Ki|Mi|Gi|Ti|K|M|G|T)?$"
#define PATTERN_DURATION "^(0|[1-9][0-9]*)(ms|s|m|h|d)$"

#endif
