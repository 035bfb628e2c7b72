/* Theory of operation: look at the repository; take the VM's workspace lease, which orders clients
 * and nothing else; let tar run in the guest and write to it through ssh; tell the daemon what is
 * there. A VM that is stopped or deleted meanwhile ends ssh, which ends us with a word about it:
 * what was unpacked by then lies beside the workspace and goes with its script. */
#include "cli/workspace.h"
#include "cli/conn.h"
#include "cli/spawn.h"
#include "cli/ssh_session.h"
#include "cli/workspace_script.h"
#include "sys/loop.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define TURN_MS	     600000
#define TURN_POLL_MS 200
#define SHORT_HASH   10

void workspace_clear(struct workspace *workspace)
{
	transfer_clear(&workspace->transfer);
	git_clear(&workspace->git);
	free(workspace->branch);
	free(workspace->base);
}

static int check_branch(const struct git *git, const char *branch, struct error *err)
{
	const char *const words[] = { "check-ref-format", "--branch", branch, NULL };
	int status = 0;
	if (branch[0] != '-' && git_run(git, words, NULL, &status, err) < 0)
		return -1;
	if (branch[0] == '-' || status)
		return error_set(err, ERROR_INVALID, "'%.80s' cannot name a branch", branch);
	return 0;
}

int workspace_open(struct workspace *ret, const struct workspace_options *options,
		   struct error *err)
{
	*ret = (struct workspace){ .options = *options,
				   .path = options->path ? options->path : WORKSPACE_PATH };
	if (options->from && !options->branch)
		return error_set(err, ERROR_INVALID,
				 "--from says where --branch begins: give both");
	if (git_open(&ret->git, options->source, err) < 0)
		return -1;
	if (options->branch && check_branch(&ret->git, options->branch, err) < 0)
		return -1;
	ret->branch = xstrdup(options->branch ? options->branch : ret->git.branch);
	ret->base = options->from ? git_commit_of(&ret->git, options->from, err)
				  : xstrdup(ret->git.head);
	if (!ret->base)
		return -1;
	ret->transfer = (struct transfer){ .mode = options->mode,
					   .include_untracked = options->include_untracked,
					   .branch = ret->branch,
					   .base = ret->base,
					   .git = &ret->git };
	return transfer_plan(&ret->transfer, err);
}

void workspace_notes(struct cli *cli, const struct workspace *workspace)
{
	const struct transfer *t = &workspace->transfer;
	if (t->changes.untracked.count && !t->include_untracked && t->mode != TRANSFER_METADATA)
		cli_note(cli,
			 "%zu untracked file%s stay%s here, --include-untracked takes %s along",
			 t->changes.untracked.count, t->changes.untracked.count == 1 ? "" : "s",
			 t->changes.untracked.count == 1 ? "s" : "",
			 t->changes.untracked.count == 1 ? "it" : "them");
	if (t->others.count)
		cli_note(cli, "%zu changed file%s stay%s here: the branch begins at another commit",
			 t->others.count, t->others.count == 1 ? "" : "s",
			 t->others.count == 1 ? "s" : "");
	if (t->places.count < t->submodules.count)
		cli_note(cli, "%zu of %zu submodules are not checked out here and stay empty",
			 t->submodules.count - t->places.count, t->submodules.count);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_in(const struct string_vec *sorted, const char *name)
{
	return sorted->count && bsearch(&name, sorted->at, sorted->count, sizeof(char *), by_text);
}

static void add_all(struct string_vec *to, const struct string_vec *from,
		    const struct string_vec *but)
{
	for (size_t i = 0; i < from->count; i++)
		if (!but || !is_in(but, from->at[i]))
			string_vec_push(to, xstrdup(from->at[i]));
}

static void print_names(struct cli *cli, const struct string_vec *names)
{
	auto_json cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < names->count; i++) {
		if (i && !strcmp(names->at[i], names->at[i - 1]))
			continue;
		if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML)
			cJSON_AddItemToArray(list, cJSON_CreateString(names->at[i]));
		else if (cli->io.out_tty)
			for (char *at = names->at[i]; *at; at++)
				*at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
		if (cli->output != OUTPUT_JSON && cli->output != OUTPUT_YAML)
			cli_say(cli, "%s\n", names->at[i]);
	}
	cli_print_structured(cli, list);
}

void workspace_list(struct cli *cli, const struct workspace *workspace)
{
	const struct transfer *t = &workspace->transfer;
	auto_strings struct string_vec names = { 0 };
	auto_strings struct string_vec files = { 0 }, gone = { 0 };
	struct error err = { 0 };
	if (t->mode == TRANSFER_METADATA)
		return;
	add_all(&gone, &t->changes.removed, NULL);
	if (gone.count)
		qsort(gone.at, gone.count, sizeof(char *), by_text);
	if (git_files(&workspace->git, workspace->base, &files, &err) < 0)
		cli_note(cli, "%s", err.text);
	add_all(&names, &files, &gone);
	add_all(&names, &t->changes.changed, &gone);
	if (t->include_untracked)
		add_all(&names, &t->changes.untracked, NULL);
	if (names.count)
		qsort(names.at, names.count, sizeof(char *), by_text);
	print_names(cli, &names);
}

/* --- turn by turn --- */

int workspace_begin(struct cli *cli, const char *name, cJSON **ret, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	uint64_t end = clock_monotonic_ms() + TURN_MS;
	bool told = false;
	json_add_str(params, "name", name);
	while (conn_call(cli, "workspace.begin", params, ret, err) < 0) {
		if (err->code != ERROR_BUSY || clock_monotonic_ms() > end)
			return -1;
		if (!told)
			cli_note(cli, "waiting: %s", err->text);
		told = true;
		struct timespec pause = { .tv_nsec = TURN_POLL_MS * 1000000L };
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int end_once(struct cli *cli, const char *name, const char *id, const cJSON *record,
		    struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	json_add_str(params, "name", name);
	json_add_str(params, "id", id);
	if (record)
		cJSON_AddItemToObject(params, "workspace", cJSON_Duplicate(record, true));
	return conn_call(cli, "workspace.end", params, &reply, err);
}

int workspace_end(struct cli *cli, const char *name, const char *id, const cJSON *record,
		  struct error *err)
{
	auto_json cJSON *again = NULL;
	if (end_once(cli, name, id, record, err) == 0 || !record)
		return 0;
	/* The daemon was restarted meanwhile, and the lease went with the old one. */
	if (workspace_begin(cli, name, &again, err) < 0)
		return -1;
	return end_once(cli, name, id, record, err);
}

/* --- sending --- */

static cJSON *record_of(const struct workspace *w)
{
	cJSON *record = cJSON_CreateObject();
	json_add_str(record, "path", w->path);
	json_add_str(record, "source", w->git.source);
	json_add_str(record, "root", w->git.root);
	json_add_str(record, "head", w->git.head);
	json_add_str(record, "branch", w->branch);
	json_add_str(record, "base", w->base);
	json_add_str(record, "mode", transfer_mode_name(w->options.mode));
	json_add_str(record, "wanted_branch", w->options.branch ? w->options.branch : "");
	json_add_str(record, "wanted_from", w->options.from ? w->options.from : "");
	json_add_bool(record, "include_untracked", w->options.include_untracked);
	json_add_int(record, "prepared_ms", clock_wall_ms());
	return record;
}

int workspace_failure(const char *name, const char *path, int status, int said, struct error *err)
{
	auto_free char *tail = spawn_tail(said);
	switch (status) {
	case GUEST_NO_GIT:
		return error_set(err, ERROR_INVALID, "the image of vm '%s' has no git", name);
	case GUEST_HAS_WORK:
		return error_set(
			err, ERROR_CONFLICT,
			"%s of vm '%s' holds work that is only there: 'banger workspace "
			"export %s' brings it here, 'banger workspace prepare %s --force' throws it away",
			path, name, name, name);
	case GUEST_NO_WORKSPACE:
		return error_set(err, ERROR_NOT_FOUND,
				 "there is no repository at %s of vm '%s': 'banger workspace "
				 "prepare %s' makes it",
				 path, name, name);
	case GUEST_NO_BASE:
		return error_set(
			err, ERROR_INVALID,
			"the repository in vm '%s' does not have the commit to compare with", name);
	default:
		break;
	}
	if (strstr(tail, "No space left"))
		return error_set(err, ERROR_SYSTEM,
				 "the disk of vm '%s' is full (%s): give it a larger work_disk",
				 name, tail);
	return error_set(err, ERROR_SYSTEM, "vm '%s' could not do it (status %d): %s", name, status,
			 tail);
}

struct sender {
	const struct transfer *transfer;
	const char *cache;
};

static int send_transfer(void *cookie, int fd, struct error *err)
{
	const struct sender *sender = cookie;
	return transfer_send(sender->transfer, sender->cache, fd, err);
}

/* The stream goes into ssh while the guest unpacks it. */
static int stream(struct cli *cli, struct workspace *w, const char *name, const cJSON *target,
		  struct error *err)
{
	struct prepare_script script = { .path = w->path,
					 .checkout = w->options.mode != TRANSFER_METADATA,
					 .force = w->options.force };
	struct sender sender = { &w->transfer, cli->paths.cache };
	auto_buf struct buf text = BUF_INIT;
	auto_close int said = spawn_scratch(err);
	int status;
	if (said < 0)
		return -1;
	prepare_script(&text, &script);
	const struct guest_script guest = {
		.name = name, .target = target, .text = text.data, .err = said
	};
	if (guest_send(cli, &guest, send_transfer, &sender, &status, err) < 0)
		return -1;
	return status ? workspace_failure(name, w->path, status, said, err) : 0;
}

int workspace_send(struct cli *cli, struct workspace *workspace, const char *name,
		   const cJSON *target, struct error *err)
{
	auto_json cJSON *begun = NULL;
	auto_json cJSON *record = record_of(workspace);
	struct error ignored;
	if (workspace_begin(cli, name, &begun, err) < 0)
		return -1;
	const char *id = json_str(begun, "id", "");
	if (stream(cli, workspace, name, target, err) == 0)
		return workspace_end(cli, name, id, record, err);
	workspace_end(cli, name, id, NULL, &ignored);
	return -1;
}

void workspace_say(struct cli *cli, const struct workspace *workspace, const char *name)
{
	if (!cli->quiet && (cli->output == OUTPUT_TABLE || cli->output == OUTPUT_WIDE))
		cli_say(cli, "%s:%s is %s at %.*s%s%s\n", name, workspace->path,
			workspace->git.root, SHORT_HASH, workspace->base,
			workspace->branch[0] ? ", branch " : "", workspace->branch);
}
