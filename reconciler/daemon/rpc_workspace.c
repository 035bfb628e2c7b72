/* Workspaces: who works on which, and what was said to be there. git and the guest are the
 * client's business; the daemon neither runs the one nor waits for the other. */
#include "daemon/bangerd.h"
#include "base/failpoint.h"

#include <string.h>

#define RECORD_MAX (64u << 10)

/* What the daemon does for `workspace prepare`; all else is the client's. */
#define STEP_LEASE  "workspace lease"
#define STEP_RECORD "workspace record"

void workspace_steps_print(FILE *to)
{
	fprintf(to, "prepare\t%s\nprepare\t%s\n", STEP_LEASE, STEP_RECORD);
}

HANDLER(rpc_workspace_begin)
{
	const struct conn *holder;
	struct vm *vm = vm_named(request->d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	pid_t pid = lease_holder(vm, LEASE_WORKSPACE, &holder);
	if (holder && holder != request->conn)
		return error_set(err, ERROR_BUSY,
				 "the workspace of vm '%s' is being worked on by process %d",
				 vm->row.name, (int)pid);
	FAILPOINT_STEP("before", STEP_LEASE);
	lease_take(vm, LEASE_WORKSPACE, request->conn);
	FAILPOINT_STEP("after", STEP_LEASE);
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "name", vm->row.name);
	json_add_str(*ret, "id", vm->row.id);
	if (vm->row.workspace)
		cJSON_AddItemToObject(
			*ret, "workspace",
			json_parse(vm->row.workspace, strlen(vm->row.workspace), err));
	return 0;
}

/* Strings, numbers and booleans; it is given back in every list of VMs. */
static char *record_of(const cJSON *workspace, struct error *err)
{
	const cJSON *member;
	cJSON_ArrayForEach(member, workspace)
	{
		if (cJSON_IsArray(member) || cJSON_IsObject(member)) {
			error_set(err, ERROR_INVALID, "'%.40s' of a workspace is not one value",
				  member->string);
			return NULL;
		}
	}
	char *text = json_print(workspace);
	if (strlen(text) <= RECORD_MAX)
		return text;
	error_set(err, ERROR_INVALID, "this workspace's record is too long");
	free(text);
	return NULL;
}

HANDLER(rpc_workspace_end)
{
	const struct conn *holder;
	const cJSON *workspace = json_get(request->params, "workspace");
	const char *id = json_str(request->params, "id", "");
	struct vm *vm = vm_named(request->d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	lease_holder(vm, LEASE_WORKSPACE, &holder);
	/* A new VM under the same name has nothing of what the old one was given. */
	if (strcmp(id, vm->row.id) != 0 || holder != request->conn)
		return error_set(err, ERROR_CONFLICT,
				 "the workspace of vm '%s' was not begun by this connection",
				 vm->row.name);
	lease_give(vm, LEASE_WORKSPACE);
	*ret = cJSON_CreateObject();
	if (!cJSON_IsObject(workspace))
		return 0;
	char *text = record_of(workspace, err);
	if (!text)
		return -1;
	FAILPOINT_STEP("before", STEP_RECORD);
	free(vm->row.workspace);
	vm->row.workspace = text;
	int failed = vm_save(vm, err);
	FAILPOINT_STEP("after", STEP_RECORD);
	return failed;
}
