/* sys/paths.h - where this process keeps its things. */
#ifndef SYS_PATHS_H
#define SYS_PATHS_H

#include "base/error.h"

/* Directories of this process, made on demand (mode 0700): XDG with the usual fallbacks.
 * paths_init() reads the environment once, before any thread. */
struct paths {
	char *state;   /* ~/.local/state/banger: database, vms/, images/, kernels/, keys/ */
	char *cache;   /* ~/.cache/banger: downloads, may be deleted at any time */
	char *config;  /* ~/.config/banger */
	char *runtime; /* $XDG_RUNTIME_DIR/banger or /tmp/banger-<uid>: socket, lock */
	char *share;   /* recipes and the agent's initrd: BANGER_SHARE, beside the binary, PREFIX */
	char *bin;     /* directory of this executable */
};
int paths_init(struct paths *ret, struct error *err);
void paths_clear(struct paths *paths);

#endif
