/* cli/ssh_session.h - the system's ssh into a VM: with the terminal, or with a script of ours. */
#ifndef CLI_SSH_SESSION_H
#define CLI_SSH_SESSION_H

#include "cli/cli.h"
#include "cli/guest_watch.h"
#include "cli/ssh_argv.h"

/* Asks the daemon until ssh can get in; *ret is what vm.ssh answered. limit_ms 0: two minutes. */
int ssh_wait_ready(struct cli *cli, const char *name, uint64_t limit_ms, cJSON **ret,
		   struct error *err);

/* Until a command can be run, by ssh or, where the VM has none, by its agent; agent: by its agent
 * in any case. */
int exec_wait_ready(struct cli *cli, const char *name, uint64_t limit_ms, bool agent, cJSON **ret,
		    struct error *err);

/* Runs it with our terminal. Returns the command's exit status, or STATUS_SSH and says why. lease:
 * the VM that lives by our connection to the daemon, kept through the daemon's restarts; NULL: the
 * connection is closed meanwhile. ret_reached (may be NULL): false when ssh never got there, so
 * that nothing was run; the caller then knows another way. */
int ssh_session(struct cli *cli, struct ssh_command *command, const char *name, const char *lease,
		bool *ret_reached);
/* The daemon that had our lease is gone: connects to the next and says so. */
void lease_renew(struct cli *cli, const char *lease);

/* A script for the guest's sh, with descriptors instead of the terminal (-1: ours). 0: it ran and
 * *ret_status is its status, -1: it was not reached or was lost, and err says which VM. */
struct guest_script {
	const char *name;    /* of the VM */
	const cJSON *target; /* ssh_wait_ready()'s */
	const char *text;
	int in, out, err;
	struct guest_watch *watch; /* between the two: */
};
int guest_start(struct cli *cli, struct guest_script *script, pid_t *ret, struct error *err);
int guest_wait(struct cli *cli, struct guest_script *script, pid_t pid, int *ret_status,
	       struct error *err);
/* The same for a script that reads what send() writes, and says nothing on its standard output; of
 * script only err counts. -1 also when send() failed, unless the script hung up: then its status
 * says why. */
int guest_send(struct cli *cli, const struct guest_script *script,
	       int (*send)(void *cookie, int fd, struct error *err), void *cookie, int *ret_status,
	       struct error *err);

/* What to say of a connection that ended by itself: what became of the VM. Returns -1. */
int guest_lost(struct cli *cli, const char *name, const char *said, struct error *err);

#endif
