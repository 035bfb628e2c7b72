/* schema/fault.h - collecting what is wrong with a file, each with its place.
 *
 * Texts follow one shape: what is wrong and what would be right, lower case, no full stop. A value
 * is quoted only where it cannot be a secret and is cut to 40 bytes. */
#ifndef SCHEMA_FAULT_H
#define SCHEMA_FAULT_H

#include "schema/spec_load.h"

/* "vms.web.ports[1]" as a chain of frames on the stack; text is made only for a fault. */
struct path {
	const struct path *up; /* NULL: the root */
	const char *key;       /* NULL: element `index` of a list */
	size_t index;
};

struct fault_sink {
	struct fault_vec *to;
	const char *file;
	size_t kept, dropped;
};

void fault_add(struct fault_sink *sink, int line, int column, const struct path *path,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static inline bool fault_any(const struct fault_sink *sink)
{
	return sink->kept > 0;
}
/* Orders those from `first` on by place, as a reader goes through the file. */
void faults_sort(struct fault_sink *sink, size_t first);
/* Says how many were not kept, if any. */
void faults_close(struct fault_sink *sink);

/* The first one as an error; clears them. 0 when there was none. */
int faults_to_error(struct fault_vec *faults, struct error *err);

#endif
