/* cli/spawn.h - a program with our terminal or with descriptors of ours, and its end. */
#ifndef CLI_SPAWN_H
#define CLI_SPAWN_H

#include "base/error.h"

#include <sys/types.h>

struct spawn {
	const char *const *argv;
	int in, out, err; /* -1: what we have ourselves */
};
/* Default signals, nothing blocked. argv[0] is looked up in PATH. */
int spawn_start(const struct spawn *spawn, pid_t *ret, struct error *err);
/* Its exit status, 128 + signal when it was killed. */
int spawn_wait(pid_t pid);
/* Both; a status other than 0 is an error that quotes the tail of its stderr, which is kept. */
int spawn_check(const struct spawn *spawn, struct error *err);

/* A file without a name, for what is too much for a pipe. */
int spawn_scratch(struct error *err);
/* The last lines of what was written there, without control characters. Caller frees. */
char *spawn_tail(int fd);

#endif
