#include "cli/transfer.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/spawn.h"
#include "cli/tar.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *const mode_names[] = { "shallow", "full", "metadata" };

int transfer_mode_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(mode_names); i++)
		if (!strcmp(name, mode_names[i]))
			return (int)i;
	return -1;
}

const char *transfer_mode_name(enum transfer_mode mode)
{
	return mode_names[mode];
}

void transfer_clear(struct transfer *transfer)
{
	git_changes_clear(&transfer->changes);
	strings_clear(&transfer->submodules);
	strings_clear(&transfer->others);
	strings_clear(&transfer->places);
}

/* --- looking --- */

static int refuse_submodules(const struct transfer *transfer, struct error *err)
{
	auto_buf struct buf names = BUF_INIT;
	for (size_t i = 0; i < transfer->submodules.count && i < 10; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", transfer->submodules.at[i]);
	return error_set(err, ERROR_INVALID,
			 "'%s' has submodules (%s), which only --mode full takes along",
			 transfer->git->root, names.data);
}

/* One that was never initialised is an empty directory here and will be one there. */
static void find_places(struct transfer *transfer)
{
	for (size_t i = 0; i < transfer->submodules.count; i++) {
		auto_free char *dot_git =
			xasprintf("%s/%s/.git", transfer->git->root, transfer->submodules.at[i]);
		if (access(dot_git, F_OK) == 0)
			string_vec_push(&transfer->places, xstrdup(transfer->submodules.at[i]));
	}
}

int transfer_plan(struct transfer *transfer, struct error *err)
{
	struct git *git = transfer->git;
	if (git_submodules(git, transfer->base, &transfer->submodules, err) < 0)
		return -1;
	if (transfer->submodules.count && transfer->mode != TRANSFER_FULL)
		return refuse_submodules(transfer, err);
	if (git_changes(git, &transfer->changes, err) < 0)
		return -1;
	if (!git->bare)
		find_places(transfer);
	if (!strcmp(transfer->base, git->head))
		return 0;
	/* Changes to one commit are not changes to another. */
	transfer->others = transfer->changes.changed;
	transfer->changes.changed = (struct string_vec){ 0 };
	for (size_t i = 0; i < transfer->changes.removed.count; i++)
		string_vec_push(&transfer->others, take_ptr(&transfer->changes.removed.at[i]));
	transfer->changes.removed.count = 0;
	return 0;
}

/* --- the repository --- */

static int make_pack(const struct transfer *t, const char *dir, char **ret_pack, struct error *err)
{
	const char *const one[] = { "rev-list", "--objects", "--no-walk", t->base, "--", NULL };
	const char *const all[] = { "rev-list",	  "--objects", "--all", t->base,
				    t->git->head, "--",	       NULL };
	auto_free char *prefix = xasprintf("%s/pack", dir), *list = xasprintf("%s/objects", dir);
	/* No search for deltas: those that are there are taken over, the rest is sent once. */
	const char *const pack[] = { "-c", "pack.compression=1", "pack-objects",
				     "-q", "--window=0",	 prefix,
				     NULL };
	auto_close int objects = open(list, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	auto_close int name = spawn_scratch(err);
	if (objects < 0 || name < 0)
		return error_sys(err, "cannot write '%s'", list);
	if (git_pipe(t->git, t->mode == TRANSFER_FULL ? all : one, -1, objects, err) < 0)
		return -1;
	lseek(objects, 0, SEEK_SET);
	if (git_pipe(t->git, pack, objects, name, err) < 0)
		return -1;
	char hash[80] = "";
	ssize_t got = pread(name, hash, sizeof(hash) - 1, 0);
	hash[got > 0 ? strcspn(hash, "\n") : 0] = '\0';
	*ret_pack = xasprintf("%s-%s", prefix, hash);
	return 0;
}

static int add_pack(struct tar *tar, const char *at, const char *pack, struct error *err)
{
	static const char *const suffixes[] = { "pack", "idx" };
	if (!pack)
		BUG("a transfer without its pack");
	const char *base = strrchr(pack, '/') + 1;
	for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
		auto_free char *path = xasprintf("%s.%s", pack, suffixes[i]);
		auto_free char *name =
			xasprintf("%srepo/.git/objects/pack/%s.%s", at, base, suffixes[i]);
		if (tar_add_file(tar, name, AT_FDCWD, path, err) < 0)
			return -1;
	}
	return 0;
}

static void add_quoted(struct buf *out, const char *key, const char *value)
{
	buf_addf(out, "\t%s = \"", key);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			buf_add_char(out, '\\');
		if (*value != '\n')
			buf_add_char(out, *value);
	}
	buf_add(out, "\"\n");
}

/* What a guest needs to know; nothing here names a program. */
static void write_config(const struct git *git, struct buf *out)
{
	auto_free char *url = git_config(git, "remote.origin.url");
	auto_free char *clean = git_clean_url(url);
	buf_addf(out,
		 "[core]\n\trepositoryformatversion = %d\n\tfilemode = true\n\tbare = false\n"
		 "\tlogallrefupdates = true\n",
		 git->sha256);
	if (git->sha256)
		buf_add(out, "[extensions]\n\tobjectformat = sha256\n");
	if (!clean[0])
		return;
	buf_add(out, "[remote \"origin\"]\n");
	add_quoted(out, "url", clean);
	buf_add(out, "\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
}

/* All of them with full, else the branch alone. Sorted, as git wants it to be. */
static int write_refs(const struct transfer *t, struct buf *out, struct error *err)
{
	const char *const words[] = { "for-each-ref", "--format=%(objectname) %(refname)", NULL };
	auto_free char *own = xasprintf(" refs/heads/%s", t->branch);
	auto_buf struct buf all = BUF_INIT;
	if (t->mode == TRANSFER_FULL && git_run(t->git, words, &all, NULL, err) < 0)
		return -1;
	for (char *line = all.data, *end; *line; line = end + 1) {
		end = strchrnul(line, '\n');
		const char *ref = memchr(line, ' ', (size_t)(end - line));
		size_t len = ref ? (size_t)(end - ref) : 0;
		bool same = t->branch[0] && len == strlen(own) && !strncmp(ref, own, len);
		if (ref && !same)
			buf_addf(out, "%.*s\n", (int)(end - line), line);
		if (!*end)
			break;
	}
	if (t->branch[0])
		buf_addf(out, "%s%s\n", t->base, own);
	return 0;
}

static int write_shallow(const struct transfer *t, struct buf *out, struct error *err)
{
	const char *const words[] = { "rev-parse", "--git-path", "shallow", NULL };
	if (t->mode != TRANSFER_FULL) {
		buf_addf(out, "%s\n", t->base);
		return 0;
	}
	auto_buf struct buf path = BUF_INIT;
	struct error none;
	if (git_run(t->git, words, &path, NULL, err) < 0)
		return -1;
	path.data[strcspn(path.data, "\n")] = '\0';
	auto_free char *full = path.data[0] == '/' ? xstrdup(path.data)
						   : xasprintf("%s/%s", t->git->root, path.data);
	fs_read(AT_FDCWD, full, 16 << 20, out, &none); /* a repository that is whole has none */
	return 0;
}

static int add_text(struct tar *tar, const char *at, const char *name, const struct buf *text,
		    struct error *err)
{
	auto_free char *path = xasprintf("%s%s", at, name);
	return tar_add_bytes(tar, path, text->data, text->len, err);
}

static int add_repository(const struct transfer *t, struct tar *tar, const char *at,
			  const char *pack, struct error *err)
{
	auto_buf struct buf config = BUF_INIT, refs = BUF_INIT, head = BUF_INIT, shallow = BUF_INIT;
	auto_free char *ref_dir = xasprintf("%srepo/.git/refs/heads", at);
	write_config(t->git, &config);
	if (write_refs(t, &refs, err) < 0 || write_shallow(t, &shallow, err) < 0)
		return -1;
	if (t->branch[0])
		buf_addf(&head, "ref: refs/heads/%s\n", t->branch);
	else
		buf_addf(&head, "%s\n", t->base);
	if (add_text(tar, at, "repo/.git/HEAD", &head, err) < 0 ||
	    add_text(tar, at, "repo/.git/config", &config, err) < 0 ||
	    add_text(tar, at, "repo/.git/packed-refs", &refs, err) < 0 ||
	    tar_add_dir(tar, ref_dir, err) < 0)
		return -1;
	if (shallow.len && add_text(tar, at, "repo/.git/shallow", &shallow, err) < 0)
		return -1;
	return add_pack(tar, at, pack, err);
}

/* --- the working tree --- */

/* What is gone, and of what became a file or a link the directory it was. */
static void list_removed(const struct transfer *t, int root, struct buf *out)
{
	const struct string_vec *removed = &t->changes.removed;
	for (size_t i = 0; i < removed->count; i++) {
		auto_free char *path = xstrdup(removed->at[i]);
		struct stat st;
		for (char *slash = path; (slash = strchr(slash, '/')); slash++) {
			*slash = '\0';
			bool directory = fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
					 S_ISDIR(st.st_mode);
			if (!directory)
				break;
			*slash = '/';
		}
		buf_addf(out, "./%s", path);
		buf_add_bytes(out, "", 1);
	}
	/* A changed one may have been something else: its place is made free. */
	for (size_t i = 0; i < t->changes.changed.count; i++) {
		buf_addf(out, "./%s", t->changes.changed.at[i]);
		buf_add_bytes(out, "", 1);
	}
}

static int add_overlay(struct tar *tar, const char *at, int root, const struct string_vec *paths,
		       struct error *err)
{
	for (size_t i = 0; i < paths->count; i++) {
		auto_free char *name = xasprintf("%soverlay/%s", at, paths->at[i]);
		if (tar_add_file(tar, name, root, paths->at[i], err) < 0)
			return -1;
	}
	return 0;
}

static int add_tree(const struct transfer *t, struct tar *tar, const char *at, struct error *err)
{
	auto_buf struct buf removed = BUF_INIT;
	auto_close int root = open(t->git->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_sys(err, "cannot open '%s'", t->git->root);
	list_removed(t, root, &removed);
	if (removed.len && add_text(tar, at, "removed", &removed, err) < 0)
		return -1;
	if (add_overlay(tar, at, root, &t->changes.changed, err) < 0)
		return -1;
	return t->include_untracked ? add_overlay(tar, at, root, &t->changes.untracked, err) : 0;
}

static void remove_dir(char **path)
{
	struct error ignored;
	if (*path)
		fs_remove_tree(AT_FDCWD, *path, &ignored);
	free(*path);
}

static int send_one(const struct transfer *t, const char *cache, struct tar *tar, const char *at,
		    struct error *err);

static int send_submodule(const struct transfer *t, const char *cache, struct tar *tar,
			  const char *at, size_t n, struct error *err)
{
	auto_free char *source = xasprintf("%s/%s", t->git->root, t->places.at[n]);
	auto_free char *below = xasprintf("%smodules/%zu/", at, n);
	auto_free char *place = xasprintf("%splace", below);
	auto_git struct git git = { 0 };
	if (git_open(&git, source, err) < 0)
		return error_wrap(err, "submodule '%s'", t->places.at[n]);
	auto_transfer struct transfer module = { .mode = TRANSFER_FULL,
						 .include_untracked = t->include_untracked,
						 .branch = git.branch,
						 .base = git.head,
						 .git = &git };
	if (transfer_plan(&module, err) < 0 ||
	    tar_add_bytes(tar, place, t->places.at[n], strlen(t->places.at[n]), err) < 0)
		return -1;
	return send_one(&module, cache, tar, below, err);
}

static int send_one(const struct transfer *t, const char *cache, struct tar *tar, const char *at,
		    struct error *err)
{
	__attribute__((cleanup(remove_dir))) char *dir = xasprintf("%s/workspace-XXXXXX", cache);
	auto_free char *pack = NULL;
	if (!mkdtemp(dir)) {
		error_sys(err, "cannot make a directory in '%s'", cache);
		free(take_ptr(&dir));
		return -1;
	}
	if (make_pack(t, dir, &pack, err) < 0 || add_repository(t, tar, at, pack, err) < 0)
		return -1;
	if (t->mode != TRANSFER_METADATA && !t->git->bare && add_tree(t, tar, at, err) < 0)
		return -1;
	for (size_t i = 0; i < t->places.count; i++)
		if (send_submodule(t, cache, tar, at, i, err) < 0)
			return -1;
	return 0;
}

int transfer_send(const struct transfer *transfer, const char *cache, int fd, struct error *err)
{
	auto_ptr(tar) tar = tar_new(fd);
	if (send_one(transfer, cache, tar, "", err) < 0)
		return -1;
	return tar_finish(tar, err);
}
