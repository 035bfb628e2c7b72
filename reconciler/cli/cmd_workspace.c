/* workspace prepare, export and diff. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/spawn.h"
#include "cli/ssh_session.h"
#include "cli/term.h"
#include "cli/prepare.h"
#include "cli/workspace_script.h"
#include "base/fs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PATCH_MAX (UINT64_C(4) << 30)
#define TEXT_MAX  (64u << 20)

/* What its spec says, when nothing else is named; a VM that is not there has none. */
static struct vm_spec *wanted_of(struct cli *cli, const char *name)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	struct error ignored;
	json_add_str(params, "name", name);
	if (conn_call(cli, "vm.show", params, &reply, &ignored) < 0)
		return NULL;
	return workspace_wanted(json_get(reply, "vm"));
}

static struct workspace_options options_of(struct cli *cli, const char *source,
					   const struct vm_spec *wanted)
{
	struct workspace_options options = { .source = source, .mode = TRANSFER_SHALLOW };
	if (wanted)
		options = workspace_options_of(&wanted->workspace);
	int mode = transfer_mode_parse(cli_value(cli, "mode", ""));
	if (mode >= 0)
		options.mode = (enum transfer_mode)mode;
	options.branch = cli_value(cli, "branch", options.branch);
	options.from = cli_value(cli, "from", options.from);
	options.include_untracked |= cli_flag(cli, "include-untracked");
	options.force = cli_flag(cli, "force");
	return options;
}

int cmd_workspace_prepare(struct cli *cli)
{
	struct error err = { 0 };
	auto_workspace struct workspace workspace = { 0 };
	auto_json cJSON *target = NULL;
	const struct word_vec *words = &cli->args.words;
	auto_ptr(vm_spec) wanted = words->count > 1 ? NULL : wanted_of(cli, words->at[0]);
	const struct workspace_options options =
		options_of(cli, words->count > 1 ? words->at[1] : ".", wanted);
	if (workspace_open(&workspace, &options, &err) < 0)
		return cli_fail(cli, &err);
	workspace_notes(cli, &workspace);
	if (cli_flag(cli, "dry-run")) {
		workspace_list(cli, &workspace);
		return STATUS_DONE;
	}
	if (ssh_wait_ready(cli, words->at[0], 0, &target, &err) < 0)
		return cli_fail_vm(cli, words->at[0], &err);
	const char *name = json_str(target, "name", words->at[0]);
	if (workspace_send(cli, &workspace, name, target, &err) < 0)
		return cli_fail_vm(cli, name, &err);
	workspace_say(cli, &workspace, name);
	return STATUS_DONE;
}

/* --- export and diff --- */

struct export
{
	const char *name; /* of the VM, whole */
	cJSON *target;
	const cJSON *record; /* NULL: nothing was prepared */
};

/* What the script says, in a file without a name. Returns the descriptor. */
static int run_export(struct cli *cli, const struct export *export, enum export_what what,
		      int *ret_fd, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	const char *path = json_str(export->record, "path", WORKSPACE_PATH);
	const char *base = json_str(export->record, "base", "HEAD");
	auto_close int out = open(cli->paths.cache, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	auto_close int said = spawn_scratch(err), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int status;
	pid_t pid;
	if (out < 0)
		out = spawn_scratch(err);
	if (out < 0 || said < 0)
		return -1;
	bool chosen = command_flag(cli->command, "base-commit") != NULL;
	export_script(&text, path, chosen ? cli_value(cli, "base-commit", NULL) : NULL, base, what);
	struct guest_script guest = {
		export->name, export->target, text.data, null, out, said, NULL
	};
	if (guest_start(cli, &guest, &pid, err) < 0 ||
	    guest_wait(cli, &guest, pid, &status, err) < 0)
		return -1;
	if (status)
		return workspace_failure(export->name, path, status, said, err);
	*ret_fd = take_fd(&out);
	return 0;
}

/* In its turn, so that no half-made tree is looked at. */
static int export_once(struct cli *cli, struct export *export, const char *name,
		       enum export_what what, int *ret_fd, struct error *err)
{
	auto_json cJSON *begun = NULL;
	struct error ignored;
	if (ssh_wait_ready(cli, name, 0, &export->target, err) < 0)
		return -1;
	export->name = json_str(export->target, "name", name);
	export->record = json_get(export->target, "workspace");
	if (workspace_begin(cli, export->name, &begun, err) < 0)
		return -1;
	int failed = run_export(cli, export, what, ret_fd, err);
	workspace_end(cli, export->name, json_str(begun, "id", ""), NULL, &ignored);
	return failed;
}

static int copy(int from, int to, struct error *err)
{
	char chunk[65536];
	ssize_t got;
	off_t at = 0;
	while ((got = pread(from, chunk, sizeof(chunk), at)) > 0) {
		if (fs_write_all(to, chunk, (size_t)got) < 0)
			return error_sys(err, "cannot write the patch");
		at += got;
	}
	return got < 0 ? error_sys(err, "cannot read the patch") : 0;
}

/* Never over anything that is there, unless told to. */
static int write_patch(struct cli *cli, int from, const char *path, struct error *err)
{
	int over = cli_flag(cli, "force") ? O_TRUNC : O_EXCL;
	fflush(cli->io.out);
	if (!path || !strcmp(path, "-"))
		return copy(from, fileno(cli->io.out), err);
	auto_close int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | over, 0666);
	if (to < 0 && errno == EEXIST)
		return error_set(err, ERROR_CONFLICT, "'%s' exists, --force writes over it", path);
	if (to < 0)
		return error_sys(err, "cannot write '%s'", path);
	if (copy(from, to, err) == 0 && fsync(to) == 0)
		return 0;
	unlink(path);
	return -1;
}

static void tell_of_move(struct cli *cli, const cJSON *record, const char *file)
{
	auto_free char *commit = NULL;
	if (!record || workspace_stands(NULL, record, &commit) != WORKSPACE_MOVED)
		return;
	cli_note(cli, "'%s' has moved from %.10s to %.10s since this workspace was prepared",
		 json_str(record, "root", ""), json_str(record, "base", ""), commit);
	cli_hint(cli, "'git apply -3 %s' merges where it does not fit", file ? file : "FILE");
}

int cmd_workspace_export(struct cli *cli)
{
	struct error err = { 0 };
	struct export export = { 0 };
	const char *name = cli->args.words.at[0], *file = cli_value(cli, "file", NULL);
	auto_close int patch = -1;
	struct stat st;
	/* Not after minutes of work. */
	if (file && strcmp(file, "-") != 0 && !cli_flag(cli, "force") && lstat(file, &st) == 0) {
		error_set(&err, ERROR_CONFLICT, "'%s' exists, --force writes over it", file);
		return cli_fail(cli, &err);
	}
	int failed = export_once(cli, &export, name, EXPORT_PATCH, &patch, &err);
	if (failed == 0)
		failed = write_patch(cli, patch, file, &err);
	if (failed == 0) {
		tell_of_move(cli, export.record, file);
		if (file && fstat(patch, &st) == 0 && !st.st_size)
			cli_note(cli, "nothing has changed in vm '%s', the patch is empty",
				 export.name);
	}
	int status =
		failed < 0 ? cli_fail_vm(cli, export.name ? export.name : name, &err) : STATUS_DONE;
	cJSON_Delete(export.target);
	return status;
}

/* "M\0a\0R100\0old\0new\0": the names as they will be. */
static cJSON *changed_names(const struct buf *text)
{
	auto_strings struct string_vec parts = { 0 };
	cJSON *list = cJSON_CreateArray();
	git_split(text, &parts);
	for (size_t i = 0; i + 1 < parts.count; i += 2) {
		cJSON *item = cJSON_CreateObject();
		char kind[2] = { parts.at[i][0], '\0' };
		json_add_str(item, "status", kind);
		if ((kind[0] == 'R' || kind[0] == 'C') && i + 2 < parts.count)
			json_add_str(item, "from", parts.at[++i]);
		json_add_str(item, "path", parts.at[i + 1]);
		cJSON_AddItemToArray(list, item);
	}
	return list;
}

static int show_diff(struct cli *cli, int fd, enum export_what what, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	lseek(fd, 0, SEEK_SET);
	if (what == EXPORT_TEXT && !cli->io.out_tty) {
		fflush(cli->io.out);
		return copy(fd, fileno(cli->io.out), err);
	}
	if (fs_read_fd(fd, "the difference", TEXT_MAX, &text, err) < 0)
		return -1;
	if (what == EXPORT_TEXT) {
		auto_buf struct buf clean = BUF_INIT;
		term_clean_lines(&clean, text.data);
		cli_say(cli, "%s", clean.data);
		return 0;
	}
	auto_json cJSON *names = changed_names(&text);
	if (cli_print_structured(cli, names))
		return 0;
	const cJSON *item;
	cJSON_ArrayForEach(item, names)
	{
		auto_buf struct buf clean = BUF_INIT;
		term_clean(&clean, json_str(item, "path", ""));
		cli_say(cli, "%s\n", clean.data);
	}
	return 0;
}

int cmd_workspace_diff(struct cli *cli)
{
	struct error err = { 0 };
	struct export export = { 0 };
	const char *name = cli->args.words.at[0];
	bool text = (cli->output == OUTPUT_TABLE || cli->output == OUTPUT_WIDE) && !cli->quiet;
	enum export_what what = text ? EXPORT_TEXT : EXPORT_NAMES;
	auto_close int fd = -1;
	int failed = export_once(cli, &export, name, what, &fd, &err);
	if (failed == 0)
		failed = show_diff(cli, fd, what, &err);
	int status =
		failed < 0 ? cli_fail_vm(cli, export.name ? export.name : name, &err) : STATUS_DONE;
	cJSON_Delete(export.target);
	return status;
}
