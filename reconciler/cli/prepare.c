/* Theory of operation: the daemon says what a spec wants (it knows no git) and which record the
 * last client left; this end compares both with the source, as the caller, and does the work. */
#include "cli/prepare.h"
#include "cli/conn.h"
#include "cli/ssh_session.h"
#include "plan/plan.h"

#include <string.h>

#define SHORT_COMMIT 7
#define NAMES_MAX    200 /* one request */

/* The commit that a workspace of this source would begin at; NULL with err. */
static char *host_commit(const char *source, const char *from, char **ret_source, struct error *err)
{
	auto_git struct git git = { 0 };
	if (git_open(&git, source, err) < 0)
		return NULL;
	if (ret_source)
		*ret_source = xstrdup(git.source);
	return from[0] ? git_commit_of(&git, from, err) : xstrdup(git.head);
}

enum workspace_standing workspace_stands(const struct workspace_spec *want, const cJSON *record,
					 char **ret_commit)
{
	bool wants = want && want->source[0];
	struct error ignored;
	auto_free char *source = NULL;
	*ret_commit = xstrdup("");
	if (!wants && !record)
		return WORKSPACE_NONE;
	char *commit = wants ? host_commit(want->source, want->from, &source, &ignored)
			     : host_commit(json_str(record, "root", ""),
					   json_str(record, "wanted_from", ""), NULL, &ignored);
	if (commit) {
		free(*ret_commit);
		*ret_commit = commit;
	}
	if (!record)
		return WORKSPACE_MISSING;
	if (wants && !workspace_is_as_wanted(want, source ? source : want->source, record))
		return WORKSPACE_OTHER;
	return commit && strcmp(commit, json_str(record, "base", "")) != 0 ? WORKSPACE_MOVED
									   : WORKSPACE_FRESH;
}

char *workspace_why(enum workspace_standing standing, const cJSON *record, const char *commit)
{
	switch (standing) {
	case WORKSPACE_MISSING:
		return xstrdup("its workspace has not been prepared");
	case WORKSPACE_OTHER:
		return xasprintf("its workspace was prepared otherwise, of '%s'",
				 json_str(record, "source", ""));
	case WORKSPACE_MOVED:
		return xasprintf("'%s' is at %.*s now, its workspace was prepared from %.*s",
				 json_str(record, "root", ""), SHORT_COMMIT, commit, SHORT_COMMIT,
				 json_str(record, "base", ""));
	default:
		return xstrdup("");
	}
}

struct workspace_options workspace_options_of(const struct workspace_spec *want)
{
	int mode = transfer_mode_parse(workspace_mode_name(want->mode));
	return (struct workspace_options){
		.source = want->source,
		.path = want->path,
		.branch = want->branch[0] ? want->branch : NULL,
		.from = want->from[0] ? want->from : NULL,
		.mode = (enum transfer_mode)mode,
		.include_untracked = want->include_untracked,
	};
}

struct vm_spec *workspace_wanted(const cJSON *vm)
{
	struct error ignored;
	const cJSON *wanted = json_get(vm, "wanted_workspace");
	if (!cJSON_IsObject(wanted))
		return NULL;
	auto_json cJSON *spec = cJSON_CreateObject();
	json_add_str(spec, "name", json_str(vm, "name", ""));
	cJSON_AddItemToObject(spec, "workspace", cJSON_Duplicate(wanted, true));
	return vm_spec_from_json(spec, &ignored);
}

/* --- for apply and diff --- */

cJSON *workspaces_look(struct cli *cli, const struct spec_set *set)
{
	cJSON *found = cJSON_CreateObject();
	for (size_t i = 0; i < set->count; i++) {
		const struct workspace_spec *want = &set->vms[i]->workspace;
		struct error err = { 0 };
		auto_free char *source = NULL;
		if (!want->source[0])
			continue;
		auto_free char *commit = host_commit(want->source, want->from, &source, &err);
		if (!commit) {
			cli_note(cli, "vm '%s': its workspace: %s", set->vms[i]->name, err.text);
			continue;
		}
		cJSON *item = cJSON_AddObjectToObject(found, set->vms[i]->name);
		json_add_str(item, "source", source);
		json_add_str(item, "commit", commit);
	}
	return found;
}

static int prepare(struct cli *cli, const char *name, const struct workspace_spec *want,
		   struct error *err)
{
	auto_workspace struct workspace workspace = { 0 };
	auto_json cJSON *target = NULL;
	const struct workspace_options options = workspace_options_of(want);
	if (workspace_open(&workspace, &options, err) < 0)
		return -1;
	workspace_notes(cli, &workspace);
	if (ssh_wait_ready(cli, name, 0, &target, err) < 0 ||
	    workspace_send(cli, &workspace, name, target, err) < 0)
		return -1;
	workspace_say(cli, &workspace, name);
	return 0;
}

/* One that did not come up has been told of. */
static int prepare_one(struct cli *cli, const struct vm_spec *spec, const cJSON *vm)
{
	struct error err = { 0 };
	auto_free char *commit = NULL;
	const char *state = json_str(vm, "state", "");
	const cJSON *record = json_get(vm, "workspace");
	if (strcmp(state, "ready") != 0 && strcmp(state, "running") != 0)
		return STATUS_DONE;
	enum workspace_standing standing = workspace_stands(&spec->workspace, record, &commit);
	if (standing == WORKSPACE_FRESH && commit[0])
		return STATUS_DONE;
	if (prepare(cli, spec->name, &spec->workspace, &err) == 0)
		return STATUS_DONE;
	return cli_fail_vm(cli, spec->name, &err);
}

static bool wants_one(const struct vm_spec *spec)
{
	return spec->workspace.source[0] && spec->state == STATE_RUNNING;
}

static int prepare_some(struct cli *cli, const struct spec_set *set, const cJSON *names)
{
	struct error err = { 0 };
	int status = STATUS_DONE;
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *list = NULL;
	cJSON_AddItemToObject(params, "names", cJSON_Duplicate(names, true));
	if (conn_list(cli, "vm.list", params, &list, &err) < 0)
		return cli_fail(cli, &err);
	const cJSON *vm;
	cJSON_ArrayForEach(vm, list)
	{
		const struct vm_spec *spec = spec_set_find(set, json_str(vm, "name", ""));
		if (spec)
			status = worse(status, prepare_one(cli, spec, vm));
	}
	return status;
}

int workspaces_prepare(struct cli *cli, const struct spec_set *set)
{
	int status = STATUS_DONE;
	for (size_t i = 0; i < set->count;) {
		auto_json cJSON *names = cJSON_CreateArray();
		size_t count = 0;
		for (; i < set->count && count < NAMES_MAX; i++)
			if (wants_one(set->vms[i])) {
				cJSON_AddItemToArray(names, cJSON_CreateString(set->vms[i]->name));
				count++;
			}
		if (count)
			status = worse(status, prepare_some(cli, set, names));
	}
	return status;
}
