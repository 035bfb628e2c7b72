/* cli/agent_session.h - a command in a guest that no ssh gets into, through its agent. */
#ifndef CLI_AGENT_SESSION_H
#define CLI_AGENT_SESSION_H

#include "cli/cli.h"

/* Runs a line of the guest's sh with our standard streams, no terminal. name: of the VM, whole.
 * Returns the command's exit status, or STATUS_SSH and says why. lease: as ssh_session()'s. */
int agent_session(struct cli *cli, const char *line, const char *name, const char *lease);

#endif
