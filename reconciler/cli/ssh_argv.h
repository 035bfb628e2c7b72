/* cli/ssh_argv.h - the command line of ssh into a VM. */
#ifndef CLI_SSH_ARGV_H
#define CLI_SSH_ARGV_H

#include "base/buf.h"
#include "base/json.h"

#include <stddef.h>
#include <sys/types.h>

struct ssh_command {
	const cJSON *target;	  /* what vm.ssh answered */
	const char *const *words; /* the command; count 0: a shell */
	size_t count;
	const char *line; /* instead of words: for the guest's shell to read */
	bool tty, verbose;
	pid_t notify_pid; /* gets SIGUSR1 once connected; 0: nobody */
};

struct ssh_argv {
	char *at[48]; /* owned, NULL-terminated */
	size_t count;
};
void ssh_argv_init(struct ssh_argv *ret, const struct ssh_command *command);
void ssh_argv_clear(struct ssh_argv *argv);

/* Appends word so that a POSIX shell reads it as exactly this one word. */
void shell_quote(struct buf *out, const char *word);

#endif
