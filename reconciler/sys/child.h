/* sys/child.h - what proc_run() and proc_detach() share: the path to a program and the minutes
 * between fork and exec. Only for sys/. */
#ifndef SYS_CHILD_H
#define SYS_CHILD_H

#include "base/error.h"
#include "sys/proc.h"

#include <signal.h>
#include <stdint.h>

/* Path for execve(): argv[0] itself when it has a slash, else looked up. Caller frees; NULL: err,
 * with err->sys = ENOENT. */
char *child_program(const char *name, struct error *err);

/* The environment with the extra NAME=VALUE in place of variables of the same name. The array is
 * the caller's to free, its strings are not. */
char **child_environment(const char *const *extra);

/* fork() with every signal blocked on both sides, so that no handler or default action strikes the
 * child half-made; the parent's mask is back on return. 0 in the child, -1 with errno. */
pid_t child_fork(void);
/* In the child: default dispositions, then nothing blocked. Async-signal-safe. */
void child_signals_default(void);

/* In the child, async-signal-safe, -1 with errno. Without rights no descriptor is lost. */
int child_become(const struct proc_user *user); /* for good; NULL: stays as it is */
/* No program that is run from now on has any capability but these, a bit each; as root. */
int child_bound(uint64_t keep);
int child_confine(void); /* no_new_privs, no core dump */

#endif
