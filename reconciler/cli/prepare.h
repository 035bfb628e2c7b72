/* cli/prepare.h - workspaces that specs want: how they stand, and bringing them there. */
#ifndef CLI_PREPARE_H
#define CLI_PREPARE_H

#include "cli/workspace.h"
#include "schema/spec_load.h"

enum workspace_standing {
	WORKSPACE_NONE,	   /* none is wanted, none is there */
	WORKSPACE_FRESH,   /* as wanted, of what its source has now */
	WORKSPACE_MISSING, /* wanted, never prepared */
	WORKSPACE_OTHER,   /* prepared, but not as wanted */
	WORKSPACE_MOVED,   /* its source has moved on */
};
/* want: of the spec, NULL or without source when it wants none; record: what was prepared, NULL
 * for nothing. Runs git on this host. *ret_commit is what it would be made of, "" when that is not
 * known. */
enum workspace_standing workspace_stands(const struct workspace_spec *want, const cJSON *record,
					 char **ret_commit);
/* Why it does not stand as it should, in one line; "" when it does. Caller frees. */
char *workspace_why(enum workspace_standing standing, const cJSON *record, const char *commit);
struct workspace_options workspace_options_of(const struct workspace_spec *want);

/* `wanted_workspace` of a VM or of vm.ssh's answer, as a spec to be freed; NULL: it wants none. */
struct vm_spec *workspace_wanted(const cJSON *vm);

/* For `plan`: {name: {source, commit}} of each VM that wants one; what cannot be told is noted. */
cJSON *workspaces_look(struct cli *cli, const struct spec_set *set);
/* Prepares those of the set that run and do not stand as wanted, one after the other; one that
 * fails does not keep the others from theirs. Returns the worst exit status. */
int workspaces_prepare(struct cli *cli, const struct spec_set *set);

#endif
