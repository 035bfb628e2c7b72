/* cli/sources.h - the files behind -f, read once: texts, where they are, whose stack they are. */
#ifndef CLI_SOURCES_H
#define CLI_SOURCES_H

#include "base/json.h"
#include "base/vec.h"
#include "schema/spec_load.h"

struct cli;

struct source_doc {
	char *shown;	 /* as people named it, for messages */
	char *path;	 /* absolute, or "-" */
	char *directory; /* absolute; relative paths inside are below it */
	char *text;	 /* of a file that is too long: one byte more than is allowed */
	size_t len;
};
DEFINE_VEC(source_doc_vec, struct source_doc)

struct sources {
	struct source_doc_vec docs;
	char *stack; /* the name when no document has one; "" for standard input */
	char *path;  /* the real path of the source; "" for standard input */
};

/* Reads what -f names, or vms.yaml here. */
int sources_read(struct cli *cli, struct sources *ret, struct error *err);
void sources_clear(struct sources *sources);
#define auto_sources __attribute__((cleanup(sources_clear)))

/* rpc/METHODS.md "source": adds documents, stack and path to params, and returns the memfd. */
int sources_to_wire(const struct cli *cli, const struct sources *sources, cJSON *params,
		    struct error *err);
/* The document's shown name for a path that the daemon quotes; path itself when it is none. */
const char *sources_shown(const struct sources *sources, const char *path);
/* For spec_load(); the array is the caller's, everything in it borrowed. */
struct spec_source *sources_for_load(const struct sources *sources);

/* path made absolute against cwd, without "." and "..", symlinks kept; the caller frees. */
char *path_absolute(const char *cwd, const char *path);

#endif
