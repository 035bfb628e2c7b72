/* sys/paths.h - where this process keeps its things: a person's (session), or the machine's
 * (system). */
#ifndef SYS_PATHS_H
#define SYS_PATHS_H

#include "base/error.h"

#include <stdbool.h>

/* Directories of this process, made on demand (mode 0700): XDG with the usual fallbacks, or, for
 * the machine, fixed places (below BANGER_ROOT, in tests), which only root makes. paths_init()
 * reads the environment once, before any thread. */
struct paths {
	bool system;   /* the machine's */
	char *state;   /* ~/.local/state/banger: database, vms/, images/, kernels/, keys/ */
	char *cache;   /* ~/.cache/banger: downloads, may be deleted at any time */
	char *config;  /* ~/.config/banger; the machine's vms.d/ is watched */
	char *runtime; /* $XDG_RUNTIME_DIR/banger or /tmp/banger-<uid>: socket, lock */
	char *share;   /* recipes and the agent's initrd: BANGER_SHARE, beside the binary, PREFIX */
	char *bin;     /* directory of this executable */
};
#define MACHINE_GROUP	       "banger"		  /* whose members may use the machine's VMs */
#define PATHS_LOCK	       "bangerd.lock"	  /* below state: its bangerd holds it */
#define PATHS_SSH_CONFIG       "ssh_config"	  /* below state, as bangerd writes it */
#define PATHS_GROUP_SSH_CONFIG "group_ssh_config" /* for members of the machine's group */
int paths_init(struct paths *ret, bool system, struct error *err);
/* BANGER_SYSTEM=1: of programs that were not told otherwise. */
bool paths_system_asked(void);
void paths_clear(struct paths *paths);

#endif
