#include "agent/home.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK 65536

/* Its own position in the folder, whatever the descriptor's is; NULL with errno. */
static DIR *list_folder(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !dir)
		close(fd);
	return dir;
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

bool home_is_empty(int folder)
{
	auto_dir DIR *dir = list_folder(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (!is_dots(entry->d_name) && strcmp(entry->d_name, "lost+found") != 0)
			return false;
	return dir != NULL;
}

/* Owner first: chown takes set-id bits away. */
static int settle(int fd, const struct stat *st, const char *name, struct error *err)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0 ||
	    futimens(fd, times) < 0)
		return error_sys(err, "cannot settle '%s'", name);
	return 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st, struct error *err)
{
	auto_close int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (target < 0 && errno == EEXIST)
		return 0;
	if (source < 0 || target < 0)
		return error_sys(err, "cannot copy '%s'", name);
	auto_free char *chunk = xmalloc(CHUNK);
	ssize_t got;
	while ((got = read(source, chunk, CHUNK)) > 0)
		if (fs_write_all(target, chunk, (size_t)got) < 0)
			return error_sys(err, "cannot write '%s'", name);
	if (got < 0)
		return error_sys(err, "cannot read '%s'", name);
	return settle(target, st, name, err);
}

static int copy_link(int from, int to, const char *name, const struct stat *st, struct error *err)
{
	char target[PATH_MAX];
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	ssize_t len = readlinkat(from, name, target, sizeof(target) - 1);
	if (len < 0)
		return error_sys(err, "cannot read link '%s'", name);
	target[len] = '\0';
	if (symlinkat(target, to, name) < 0)
		return errno == EEXIST ? 0 : error_sys(err, "cannot copy link '%s'", name);
	if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, "cannot settle link '%s'", name);
	return 0;
}

static int copy_folder(int from, int to, dev_t device, unsigned depth, struct error *err);

static int copy_below(int from, int to, const char *name, const struct stat *st, unsigned depth,
		      struct error *err)
{
	if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
		return error_sys(err, "cannot make '%s'", name);
	auto_close int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (source < 0 || target < 0)
		return error_sys(err, "cannot open '%s'", name);
	if (copy_folder(source, target, st->st_dev, depth + 1, err) < 0)
		return -1;
	return settle(target, st, name, err);
}

static int copy_folder(int from, int to, dev_t device, unsigned depth, struct error *err)
{
	auto_dir DIR *dir = list_folder(from);
	if (!dir)
		return error_sys(err, "cannot list a folder");
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st;
		int failed = 0;
		if (is_dots(entry->d_name) ||
		    fstatat(from, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    st.st_dev != device)
			continue;
		if (S_ISREG(st.st_mode))
			failed = copy_file(from, to, entry->d_name, &st, err);
		else if (S_ISLNK(st.st_mode))
			failed = copy_link(from, to, entry->d_name, &st, err);
		else if (S_ISDIR(st.st_mode) && depth < HOME_DEPTH_MAX)
			failed = copy_below(from, to, entry->d_name, &st, depth, err);
		if (failed < 0)
			return -1;
	}
	return 0;
}

int home_copy(int from, int to, struct error *err)
{
	struct stat st;
	if (fstat(from, &st) < 0)
		return error_sys(err, "cannot look at a folder");
	if (copy_folder(from, to, st.st_dev, 0, err) < 0)
		return error_wrap(err, "new work disk");
	return settle(to, &st, ".", err);
}
