/* cli/workspace.h - bringing a repository of this host into a guest. */
#ifndef CLI_WORKSPACE_H
#define CLI_WORKSPACE_H

#include "cli/cli.h"
#include "cli/transfer.h"
#include "schema/vm_spec.h"

struct workspace_options {
	const char *source; /* a directory in a repository */
	const char *path;   /* in the guest; NULL: WORKSPACE_PATH */
	const char *branch; /* to make and be on in the guest; NULL: the host's */
	const char *from;   /* where it begins; NULL: HEAD */
	enum transfer_mode mode;
	bool include_untracked, force;
};

struct workspace {
	struct workspace_options options;
	struct git git;
	struct transfer transfer;
	const char *path; /* in the guest */
	char *branch, *base;
};
void workspace_clear(struct workspace *workspace);
#define auto_workspace __attribute__((cleanup(workspace_clear)))

/* Looks at the host's side; nothing is sent, no VM is needed. */
int workspace_open(struct workspace *ret, const struct workspace_options *options,
		   struct error *err);
/* What does not go along, on stderr. */
void workspace_notes(struct cli *cli, const struct workspace *workspace);
/* What would be in the guest, one name a line (-o json: a list). */
void workspace_list(struct cli *cli, const struct workspace *workspace);

/* Waits for whoever works on it, sends, and has the daemon remember. target: ssh_wait_ready()'s. */
int workspace_send(struct cli *cli, struct workspace *workspace, const char *name,
		   const cJSON *target, struct error *err);
/* Turn by turn on one VM; *ret_id is for workspace_end(). record NULL: it stays as it was. */
int workspace_begin(struct cli *cli, const char *name, cJSON **ret, struct error *err);
int workspace_end(struct cli *cli, const char *name, const char *id, const cJSON *record,
		  struct error *err);

/* "web:/root/repo is /src/shop at 1a2b3c4d5e, branch main". */
void workspace_say(struct cli *cli, const struct workspace *workspace, const char *name);
/* What a script of workspace_script.h said by its status. */
int workspace_failure(const char *name, const char *path, int status, int said, struct error *err);

#endif
