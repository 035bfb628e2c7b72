#include "cli/unpack.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK	  (256u << 10)
#define DEPTH_MAX 200
#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

struct unpack {
	char *dir;     /* where it goes in the end */
	char *scratch; /* a new directory in it */
};

void unpack_free(struct unpack *unpack)
{
	struct error ignored;
	if (!unpack)
		return;
	if (unpack->scratch)
		fs_remove_tree(AT_FDCWD, unpack->scratch, &ignored);
	free(unpack->scratch);
	free(unpack->dir);
	free(unpack);
}

static int refuse(const char *name, struct error *err)
{
	return error_set(err, ERROR_INVALID, "the guest sent a name that leads elsewhere: '%.200s'",
			 name);
}

static bool leads_out(const char *name)
{
	if (name[0] == '/' || !name[0])
		return true;
	for (const char *at = name; at; at = strchr(at, '/')) {
		at += *at == '/';
		if (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2]))
			return true;
	}
	return false;
}

/* libarchive checks again on the way: no link is followed, nothing that is there is kept. Zeros
 * become holes. */
#define FLAGS                                                                                      \
	(ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_SPARSE | ARCHIVE_EXTRACT_SECURE_SYMLINKS |         \
	 ARCHIVE_EXTRACT_SECURE_NODOTDOT)

static int extract(struct archive *from, struct archive *to, struct archive_entry *entry,
		   const char *scratch, struct error *err)
{
	/* Copies: what the entry gives out ends when something is set. */
	auto_free char *name = xstrdup(archive_entry_pathname(entry));
	auto_free char *hard = xstrdup(archive_entry_hardlink(entry));
	mode_t type = archive_entry_filetype(entry);
	if (!name || leads_out(name))
		return refuse(name ? name : "", err);
	if (hard) {
		if (leads_out(hard))
			return refuse(name, err);
		auto_free char *link = xasprintf("%s/%s", scratch, hard);
		archive_entry_set_hardlink(entry, link);
	} else if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) {
		return 0;
	}
	auto_free char *path = xasprintf("%s/%s", scratch, name);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_perm(entry, archive_entry_perm(entry) & 0777);
	if (archive_write_header(to, entry) < ARCHIVE_WARN)
		return error_set(err, ERROR_SYSTEM, "cannot write '%s': %s", name,
				 archive_error_string(to));
	const void *data;
	size_t len;
	la_int64_t at;
	int got;
	while ((got = archive_read_data_block(from, &data, &len, &at)) == ARCHIVE_OK)
		if (archive_write_data_block(to, data, len, at) < ARCHIVE_OK)
			return error_set(err, ERROR_SYSTEM, "cannot write '%s': %s", name,
					 archive_error_string(to));
	if (got < ARCHIVE_WARN)
		return error_set(err, ERROR_SYSTEM, "the guest's answer ended in '%s': %s", name,
				 archive_error_string(from));
	return archive_write_finish_entry(to) < ARCHIVE_WARN
		       ? error_set(err, ERROR_SYSTEM, "cannot write '%s': %s", name,
				   archive_error_string(to))
		       : 0;
}

static int extract_all(struct archive *from, struct archive *to, const char *scratch,
		       struct error *err)
{
	struct archive_entry *entry;
	int got;
	while ((got = archive_read_next_header(from, &entry)) == ARCHIVE_OK || got == ARCHIVE_WARN)
		if (extract(from, to, entry, scratch, err) < 0)
			return -1;
	if (got != ARCHIVE_EOF)
		return error_set(err, ERROR_SYSTEM, "the guest's answer is no archive: %s",
				 archive_error_string(from));
	return 0;
}

struct unpack *unpack_stream(int fd, const char *dir, struct error *err)
{
	struct unpack *unpack = xcalloc(1, sizeof(*unpack));
	/* Through links of our own user's making, but the rest of the way is ours. */
	unpack->dir = realpath(dir, NULL);
	unpack->scratch = unpack->dir ? xasprintf("%s/.banger-cp.XXXXXX", unpack->dir) : NULL;
	if (!unpack->dir || !mkdtemp(unpack->scratch)) {
		error_sys(err, "cannot write to '%s'", dir);
		free(unpack->scratch);
		unpack->scratch = NULL;
		unpack_free(unpack);
		return NULL;
	}
	struct archive *from = archive_read_new(), *to = archive_write_disk_new();
	archive_read_support_format_tar(from);
	archive_write_disk_set_options(to, FLAGS);
	int failed = archive_read_open_fd(from, fd, CHUNK) != ARCHIVE_OK
			     ? error_set(err, ERROR_SYSTEM, "the guest sent nothing")
			     : extract_all(from, to, unpack->scratch, err);
	archive_read_free(from);
	archive_write_free(to);
	if (failed == 0)
		return unpack;
	unpack_free(unpack);
	return NULL;
}

/* --- into place --- */

struct merge {
	bool look; /* only: would it work? */
	int depth;
	struct error *err;
};

static int merge_entry(struct merge *merge, int from, const char *name, int to, const char *as);

/* Nothing is followed: a directory that is there is one, and no link to one. */
static int merge_directory(struct merge *merge, int from, const char *name, int to, const char *as)
{
	auto_close int target = openat(to, as, DIRECTORY | O_CLOEXEC);
	int fd = openat(from, name, DIRECTORY | O_CLOEXEC);
	auto_dir DIR *list = fd < 0 ? NULL : fdopendir(fd);
	if (!list || target < 0)
		return error_sys(merge->err, "cannot open '%s'", as);
	if (++merge->depth > DEPTH_MAX)
		return error_set(merge->err, ERROR_INVALID, "'%s' is too deep", as);
	for (const struct dirent *entry; (entry = readdir(list));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    merge_entry(merge, fd, entry->d_name, target, entry->d_name) < 0)
			return -1;
	merge->depth--;
	return 0;
}

static int merge_entry(struct merge *merge, int from, const char *name, int to, const char *as)
{
	struct stat new, old;
	if (fstatat(from, name, &new, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(merge->err, "cannot look at '%s'", name);
	bool there = fstatat(to, as, &old, AT_SYMLINK_NOFOLLOW) == 0;
	if (there && S_ISDIR(new.st_mode) && S_ISDIR(old.st_mode))
		return merge_directory(merge, from, name, to, as);
	if (there && (S_ISDIR(new.st_mode) || S_ISDIR(old.st_mode)))
		return error_set(merge->err, ERROR_CONFLICT,
				 "'%s' is there already, and %s directory: move it away", as,
				 S_ISDIR(old.st_mode) ? "is a" : "no");
	if (!merge->look && renameat(from, name, to, as) < 0)
		return error_sys(merge->err, "cannot make '%s'", as);
	return 0;
}

int unpack_finish(struct unpack *unpack, const char *name, struct error *err)
{
	auto_close int from = open(unpack->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int to = open(unpack->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_dir DIR *list = opendir(unpack->scratch);
	const struct dirent *entry = NULL;
	while (list && (entry = readdir(list)) &&
	       (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")))
		;
	if (from < 0 || to < 0 || !entry)
		return error_set(err, ERROR_SYSTEM, "the guest sent nothing");
	struct merge look = { .look = true, .err = err }, move = { .err = err };
	if (merge_entry(&look, from, entry->d_name, to, name) < 0 ||
	    merge_entry(&move, from, entry->d_name, to, name) < 0)
		return error_wrap(err, "'%s'", unpack->dir);
	return 0;
}
