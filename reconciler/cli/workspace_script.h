/* cli/workspace_script.h - what the guest's sh is told. POSIX and busybox; needs git and tar. */
#ifndef CLI_WORKSPACE_SCRIPT_H
#define CLI_WORKSPACE_SCRIPT_H

#include "base/buf.h"

#include <stdbool.h>

/* Statuses of the scripts that are answers. Others: their stderr says it. */
enum {
	GUEST_NO_GIT = 64,
	GUEST_HAS_WORK = 65, /* that a new workspace would throw away */
	GUEST_NO_WORKSPACE = 66,
	GUEST_NO_BASE = 67,
};

/* The tree that was prepared, its local changes included; what export compares with. */
#define WORKSPACE_REF "refs/banger/prepared"

/* `scratch DIR KIND` makes a directory below DIR, and takes away those of KIND whose script is
 * gone: killed, or of another boot. */
extern const char scratch_function[];
/* `sparse DIR` makes sparse files whole in what was unpacked there (cli/tar.h). */
extern const char sparse_function[];

struct prepare_script {
	const char *path;
	bool checkout; /* false: metadata only */
	bool force;    /* whatever is there may go */
};
/* Reads transfer.h's stream from stdin. Nothing is at path until all of it is. */
void prepare_script(struct buf *out, const struct prepare_script *script);

enum export_what { EXPORT_PATCH, EXPORT_NAMES, EXPORT_TEXT };
/* base: commit or tree, NULL: what was prepared. fallback: when that is not known. */
void export_script(struct buf *out, const char *path, const char *base, const char *fallback,
		   enum export_what what);

/* Runs a command (NULL: a login shell) in the workspace (NULL: where one gets in), within mise's
 * environment when there is one. */
void exec_script(struct buf *out, const char *path, const char *const *words, size_t count);

#endif
