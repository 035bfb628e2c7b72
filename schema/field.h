/* schema/field.h - the field table: one row says everything about one key of a VM.
 *
 * Parsing, bounds, defaults, diff, change class, JSON, JSON Schema and the manual page read the
 * table; a new field is a member of struct vm_spec and a row in field.c. What rows have in common
 * is their kind (schema/kind.h); what only one row needs is a function it names. */
#ifndef SCHEMA_FIELD_H
#define SCHEMA_FIELD_H

#include "schema/vm_spec.h"

#include <stddef.h>

struct draft;
struct field;
struct kind;
struct reader;

/* Whose word a field is: a file may make a set of VMs out of one entry, and the store must still
 * know it by each of them. */
enum field_scope {
	FIELD_OF_VM,	  /* written, stored, shown */
	FIELD_OF_SET,	  /* written beside `replicas`, kept with each replica, not in its YAML */
	FIELD_OF_FILE,	  /* written only: what it says is in the VMs that were made of it */
	FIELD_OF_REPLICA, /* never written: made when a set is */
};

struct field {
	const char *key;
	const struct kind *kind;
	size_t offset; /* of the member in struct vm_spec */

	/* Numbers, sizes (bytes) and durations (ms). step: must be a multiple, 0 = any. */
	uint64_t min, max, step, fallback;
	const char *fallback_text; /* of strings */
	/* Of enums: names by value, ended by NULL. */
	const char *const *choices;

	/* What a change does to a running VM: `change`, unless decide() knows better. */
	enum change_class (*decide)(const struct vm_spec *have, const struct vm_spec *want,
				    const struct capabilities *can);
	/* Once all fields of a VM are read: defaults and bounds that depend on others. */
	void (*settle)(const struct field *field, struct draft *draft, const struct reader *reader);

	const char *doc;     /* sentences for the manual page and editors */
	const char *dflt;    /* the default in words, where the table's value does not tell it */
	const char *example; /* YAML of the value */
	const char *classes; /* the change class in words, where decide() decides */

	enum change_class change;
	enum field_scope scope;
	bool zero_is_none; /* 0 passes, whatever min says */
};

#define FIELD_COUNT 25
extern const struct field vm_fields[FIELD_COUNT];

const struct field *field_find(const char *key); /* NULL: no such field */
size_t field_index(const struct field *field);
/* The key a person may have meant by an unknown one; NULL: no idea. */
const char *field_suggest(const char *key);

static inline void *field_in(const struct field *field, struct vm_spec *spec)
{
	return (char *)spec + field->offset;
}

static inline const void *field_of(const struct field *field, const struct vm_spec *spec)
{
	return (const char *)spec + field->offset;
}

bool field_equal(const struct field *field, const struct vm_spec *a, const struct vm_spec *b);
/* Every member at its default; image "tiny", memory 0. Points to static text only. */
void fields_fallback(struct vm_spec *ret);

#endif
