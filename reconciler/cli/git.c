/* Theory of operation: plumbing only, whose output is stable, and `-c` for everything in a
 * repository's configuration that names a program. The filters' names are the repository's own
 * choice, so they are asked for first; reading configuration runs nothing. */
#include "cli/git.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "cli/spawn.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define OUTPUT_MAX (256u << 20)

extern char **environ;

void strings_clear(struct string_vec *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->at[i]);
	string_vec_clear(strings);
}

void git_clear(struct git *git)
{
	free(git->source);
	free(git->root);
	free(git->head);
	free(git->branch);
	strings_clear(&git->overrides);
	*git = (struct git){ 0 };
}

void git_changes_clear(struct git_changes *changes)
{
	strings_clear(&changes->changed);
	strings_clear(&changes->removed);
	strings_clear(&changes->untracked);
}

/* --- running it --- */

/* Called from a hook we would inherit the repository of that hook. */
static void forget_environment(void)
{
	static const char *const kept[] = { "GIT_CONFIG_GLOBAL=", "GIT_CONFIG_SYSTEM=",
					    "GIT_CONFIG_NOSYSTEM=", "GIT_CEILING_DIRECTORIES=" };
	for (size_t i = 0; environ[i];) {
		bool drop = !strncmp(environ[i], "GIT_", 4);
		for (size_t j = 0; j < ARRAY_COUNT(kept); j++)
			drop &= strncmp(environ[i], kept[j], strlen(kept[j])) != 0;
		if (!drop) {
			i++;
			continue;
		}
		auto_free char *name = xstrndup(environ[i], strcspn(environ[i], "="));
		unsetenv(name);
	}
	setenv("GIT_OPTIONAL_LOCKS", "0", 1);
	setenv("GIT_TERMINAL_PROMPT", "0", 1);
	setenv("GIT_NO_LAZY_FETCH", "1", 1);
	setenv("GIT_NO_REPLACE_OBJECTS", "1", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
}

static void add_override(struct git *git, const char *key, const char *value)
{
	string_vec_push(&git->overrides, xstrdup("-c"));
	string_vec_push(&git->overrides, xasprintf("%s=%s", key, value));
}

static void add_overrides(struct git *git)
{
	static const char *const off[][2] = {
		{ "core.fsmonitor", "false" },	{ "core.hooksPath", "/dev/null" },
		{ "core.sshCommand", "false" }, { "core.gitProxy", "" },
		{ "core.pager", "cat" },	{ "core.untrackedCache", "false" },
		{ "core.splitIndex", "false" }, { "diff.external", "" },
		{ "protocol.allow", "never" },	{ "core.askPass", "false" },
		{ "credential.helper", "" },	{ "uploadpack.packObjectsHook", "" },
		{ "core.quotePath", "false" },	{ "submodule.recurse", "false" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(off); i++)
		add_override(git, off[i][0], off[i][1]);
}

static const char **command_line(const struct git *git, const char *const *words)
{
	size_t count = 0, at = 0;
	while (words[count])
		count++;
	const char **argv = xcalloc(count + git->overrides.count + 4, sizeof(*argv));
	argv[at++] = "git";
	argv[at++] = "-C";
	argv[at++] = git->root ? git->root : git->source;
	for (size_t i = 0; i < git->overrides.count; i++)
		argv[at++] = git->overrides.at[i];
	for (size_t i = 0; i < count; i++)
		argv[at++] = words[i];
	return argv;
}

static int read_all(int fd, struct buf *out, struct error *err)
{
	off_t size = lseek(fd, 0, SEEK_END);
	if (size < 0 || size > OUTPUT_MAX)
		return error_set(err, ERROR_INVALID, "git said too much for one list");
	char *to = buf_grow(out, (size_t)size);
	off_t got = 0;
	while (got < size) {
		ssize_t n = pread(fd, to + got, (size_t)(size - got), got);
		if (n <= 0)
			return error_sys(err, "cannot read what git said");
		got += n;
	}
	buf_grown(out, (size_t)size);
	return 0;
}

int git_run(const struct git *git, const char *const *words, struct buf *out, int *ret_status,
	    struct error *err)
{
	auto_free const char **argv = command_line(git, words);
	auto_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	auto_close int said = spawn_scratch(err), complained = spawn_scratch(err);
	if (said < 0 || complained < 0)
		return -1;
	const struct spawn spawn = { argv, null, said, complained };
	pid_t pid;
	if (spawn_start(&spawn, &pid, err) < 0)
		return -1;
	int status = spawn_wait(pid);
	if (ret_status)
		*ret_status = status;
	else if (status) {
		auto_free char *tail = spawn_tail(complained);
		return error_set(err, ERROR_INVALID, "git %s in '%s' failed: %s", words[0],
				 git->root ? git->root : git->source, tail);
	}
	return out ? read_all(said, out, err) : 0;
}

int git_pipe(const struct git *git, const char *const *words, int in_fd, int out_fd,
	     struct error *err)
{
	auto_free const char **argv = command_line(git, words);
	auto_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct spawn spawn = { argv, in_fd >= 0 ? in_fd : null, out_fd >= 0 ? out_fd : null,
				     -1 };
	if (spawn_check(&spawn, err) < 0)
		return error_wrap(err, "'%s'", git->root);
	return 0;
}

/* One line of text, "" when the command failed. */
static char *ask(const struct git *git, const char *const *words)
{
	auto_buf struct buf out = BUF_INIT;
	struct error ignored;
	int status = 0;
	if (git_run(git, words, &out, &status, &ignored) < 0 || status)
		return xstrdup("");
	while (out.len && out.data[out.len - 1] == '\n')
		out.data[--out.len] = '\0';
	return buf_take(&out);
}

/* --- what it is --- */

/* "filter.NAME.clean" of every filter: switched off by name. */
static void override_filters(struct git *git)
{
	static const char *const words[] = {
		"config", "-z", "--name-only", "--get-regexp", "^(filter|diff|merge)\\.", NULL
	};
	static const char *const dangerous[] = { ".clean",   ".smudge",	  ".process", ".required",
						 ".command", ".textconv", ".driver" };
	auto_buf struct buf out = BUF_INIT;
	auto_strings struct string_vec keys = { 0 };
	struct error ignored;
	int status;
	if (git_run(git, words, &out, &status, &ignored) < 0)
		return;
	git_split(&out, &keys);
	for (size_t i = 0; i < keys.count; i++) {
		const char *last = strrchr(keys.at[i], '.');
		for (size_t j = 0; j < ARRAY_COUNT(dangerous); j++)
			/* A key with "=" cannot be written so; git then says so and fails. */
			if (!strcmp(last, dangerous[j]))
				add_override(git, keys.at[i], j == 3 ? "false" : "");
	}
}

static int find_root(struct git *git, struct error *err)
{
	static const char *const is_bare[] = { "rev-parse", "--is-bare-repository", NULL };
	static const char *const top[] = { "rev-parse", "--show-toplevel", NULL };
	static const char *const dir[] = { "rev-parse", "--absolute-git-dir", NULL };
	auto_buf struct buf out = BUF_INIT;
	if (git_run(git, is_bare, &out, NULL, err) < 0)
		return -1;
	git->bare = !strncmp(out.data, "true", 4);
	git->root = ask(git, git->bare ? dir : top);
	if (git->root[0] == '/')
		return 0;
	free(git->root);
	git->root = NULL;
	return error_set(err, ERROR_INVALID, "'%s' is inside a repository's own directory",
			 git->source);
}

int git_open(struct git *ret, const char *source, struct error *err)
{
	static const char *const head[] = { "rev-parse", "-q", "--verify", "HEAD^{commit}", NULL };
	static const char *const branch[] = { "symbolic-ref", "-q", "--short", "HEAD", NULL };
	static const char *const format[] = { "rev-parse", "--show-object-format", NULL };
	*ret = (struct git){ .source = realpath(source, NULL) };
	if (!ret->source)
		return error_sys(err, "cannot open '%s'", source);
	struct stat st;
	if (stat(ret->source, &st) == 0 && !S_ISDIR(st.st_mode))
		return error_set(err, ERROR_INVALID, "'%s' is not a directory", source);
	forget_environment();
	add_overrides(ret);
	if (find_root(ret, err) < 0)
		return -1;
	override_filters(ret);
	ret->head = ask(ret, head);
	if (!ret->head[0])
		return error_set(err, ERROR_INVALID,
				 "'%s' has no commits yet: commit something first", ret->root);
	ret->branch = ask(ret, branch);
	auto_free char *object_format = ask(ret, format);
	ret->sha256 = !strcmp(object_format, "sha256");
	return 0;
}

char *git_commit_of(const struct git *git, const char *name, struct error *err)
{
	auto_free char *text = xasprintf("%s^{commit}", name);
	const char *const words[] = { "rev-parse", "-q", "--verify", text, NULL };
	auto_free char *commit = name[0] == '-' ? xstrdup("") : ask(git, words);
	if (commit[0])
		return take_ptr(&commit);
	error_set(err, ERROR_INVALID, "'%.80s' is no commit of '%s'", name, git->root);
	return NULL;
}

char *git_config(const struct git *git, const char *key)
{
	const char *const words[] = { "config", "--get", key, NULL };
	return ask(git, words);
}

/* --- lists --- */

void git_split(const struct buf *text, struct string_vec *ret)
{
	for (size_t at = 0; at < text->len;) {
		size_t len = strnlen(text->data + at, text->len - at);
		if (len)
			string_vec_push(ret, xstrndup(text->data + at, len));
		at += len + 1;
	}
}

int git_parse_status(const struct buf *text, struct git_changes *ret, struct error *err)
{
	auto_strings struct string_vec parts = { 0 };
	git_split(text, &parts);
	if (parts.count % 2)
		return error_set(err, ERROR_SYSTEM, "git's list of changes ends in the middle");
	for (size_t i = 0; i < parts.count; i += 2) {
		struct string_vec *to = parts.at[i][0] == 'D' ? &ret->removed : &ret->changed;
		string_vec_push(to, take_ptr(&parts.at[i + 1]));
	}
	return 0;
}

/* A path is listed once for each stage of a merge that goes on. */
static void drop_repeats(struct string_vec *paths)
{
	size_t kept = 0;
	for (size_t i = 0; i < paths->count; i++) {
		if (kept && !strcmp(paths->at[kept - 1], paths->at[i]))
			free(paths->at[i]);
		else
			paths->at[kept++] = paths->at[i];
	}
	paths->count = kept;
}

int git_changes(const struct git *git, struct git_changes *ret, struct error *err)
{
	static const char *const tracked[] = { "diff-index",
					       "-z",
					       "--name-status",
					       "--no-renames",
					       "--no-ext-diff",
					       "--ignore-submodules=all",
					       "HEAD",
					       "--",
					       NULL };
	static const char *const others[] = { "ls-files",	    "-z", "--others",
					      "--exclude-standard", "--", NULL };
	auto_buf struct buf status = BUF_INIT, list = BUF_INIT;
	if (git->bare)
		return 0;
	if (git_run(git, tracked, &status, NULL, err) < 0 ||
	    git_run(git, others, &list, NULL, err) < 0 || git_parse_status(&status, ret, err) < 0)
		return -1;
	drop_repeats(&ret->changed);
	drop_repeats(&ret->removed);
	git_split(&list, &ret->untracked);
	return 0;
}

/* `ls-tree -r -z`: "MODE TYPE HASH\tPATH". */
static int list_tree(const struct git *git, const char *commit, bool submodules,
		     struct string_vec *ret, struct error *err)
{
	const char *const words[] = { "ls-tree", "-r", "-z", "--full-tree", commit, NULL };
	auto_buf struct buf out = BUF_INIT;
	auto_strings struct string_vec lines = { 0 };
	if (git_run(git, words, &out, NULL, err) < 0)
		return -1;
	git_split(&out, &lines);
	for (size_t i = 0; i < lines.count; i++) {
		const char *tab = strchr(lines.at[i], '\t');
		if (tab && (!strncmp(lines.at[i], "160000 ", 7)) == submodules)
			string_vec_push(ret, xstrdup(tab + 1));
	}
	return 0;
}

int git_submodules(const struct git *git, const char *commit, struct string_vec *ret,
		   struct error *err)
{
	return list_tree(git, commit, true, ret, err);
}

int git_files(const struct git *git, const char *commit, struct string_vec *ret, struct error *err)
{
	return list_tree(git, commit, false, ret, err);
}

char *git_clean_url(const char *url)
{
	const char *host = strstr(url, "://");
	if (!host)
		return xstrdup(url);
	host += 3;
	size_t authority = strcspn(host, "/");
	const char *at = memrchr(host, '@', authority);
	if (!at || !strncmp(url, "ssh:", 4))
		return xstrdup(url);
	return xasprintf("%.*s%s", (int)(host - url), url, at + 1);
}
