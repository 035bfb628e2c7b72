#include "base/fs.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

int fs_read_fd(int fd, const char *name, size_t max_bytes, struct buf *ret, struct error *err)
{
	size_t start = ret->len;
	for (;;) {
		size_t have = ret->len - start;
		if (have > max_bytes)
			return error_set(err, ERROR_INVALID, "'%s' is larger than %zu bytes", name,
					 max_bytes);
		/* One byte more than allowed tells "exactly full" from "too large". */
		size_t want = max_bytes + 1 - have;
		if (want > 65536)
			want = 65536;
		ssize_t got = read(fd, buf_grow(ret, want), want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_sys(err, "cannot read '%s'", name);
		if (got == 0)
			return 0;
		buf_grown(ret, (size_t)got);
	}
}

int fs_read(int dirfd, const char *path, size_t max_bytes, struct buf *ret, struct error *err)
{
	auto_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return error_sys(err, "cannot open '%s'", path);
	return fs_read_fd(fd, path, max_bytes, ret, err);
}

bool fs_is_own(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid();
}

int fs_read_own(int dirfd, const char *name, size_t max_bytes, struct buf *ret, struct error *err)
{
	struct stat st;
	auto_close int fd =
		openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno != ELOOP)
		return error_sys(err, "cannot open '%s'", name);
	if (fd < 0 || fstat(fd, &st) < 0 || !fs_is_own(&st))
		return error_set(err, ERROR_CONFLICT, "'%s' is not a file of our own", name);
	return fs_read_fd(fd, name, max_bytes, ret, err);
}

int fs_write_all(int fd, const void *data, size_t len)
{
	const char *at = data;
	while (len) {
		ssize_t put = write(fd, at, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		at += put;
		len -= (size_t)put;
	}
	return 0;
}

int fs_tell(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -1 : fs_write_all(fd, text, strlen(text));
}

int fs_write_for(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
		 gid_t group, struct error *err)
{
	auto_free char *tmp = xasprintf("%s.tmp%d", path, (int)gettid());
	unlinkat(dirfd, tmp, 0);
	auto_close int fd =
		openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return error_sys(err, "cannot create '%s'", tmp);
	if ((group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) < 0) ||
	    fs_write_all(fd, data, len) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
	    renameat(dirfd, tmp, dirfd, path) < 0) {
		error_sys(err, "cannot write '%s'", path);
		unlinkat(dirfd, tmp, 0);
		return -1;
	}
	return 0;
}

int fs_write(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
	     struct error *err)
{
	return fs_write_for(dirfd, path, data, len, mode, (gid_t)-1, err);
}

int fs_mkdirs(const char *path, mode_t mode, struct error *err)
{
	auto_free char *part = xstrdup(path);
	for (char *slash = part + 1; *part; slash++) {
		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		struct stat st;
		if (mkdir(part, mode) < 0 &&
		    (errno != EEXIST || stat(part, &st) < 0 || !S_ISDIR(st.st_mode)))
			return error_sys(err, "cannot make directory '%s'", part);
		if (!slash)
			return 0;
		*slash = '/';
	}
	return 0;
}

int fs_unlink(int dirfd, const char *path, struct error *err)
{
	if (unlinkat(dirfd, path, 0) < 0 && errno != ENOENT && errno != ENOTDIR)
		return error_sys(err, "cannot remove '%s'", path);
	return 0;
}

DIR *fs_list(int dirfd, const char *path)
{
	auto_close int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	if (list)
		take_fd(&fd);
	return list;
}

/* Ours are two levels deep, an image's some more; one without end would take our stack. */
#define TREE_DEPTH_MAX 256

static int remove_tree(int at, const char *path, unsigned depth, struct error *err)
{
	if (unlinkat(at, path, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return error_sys(err, "cannot remove '%s'", path);
	if (depth > TREE_DEPTH_MAX)
		return error_set(err, ERROR_SYSTEM, "'%s' is more than %u directories deep", path,
				 TREE_DEPTH_MAX);
	auto_dir DIR *dir = fs_list(at, path);
	if (!dir)
		return error_sys(err, "cannot list '%s'", path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (remove_tree(dirfd(dir), entry->d_name, depth + 1, err) < 0)
			return error_wrap(err, "in '%s'", path);
	}
	if (unlinkat(at, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return error_sys(err, "cannot remove directory '%s'", path);
	return 0;
}

int fs_remove_tree(int dirfd, const char *path, struct error *err)
{
	return remove_tree(dirfd, path, 0, err);
}

/* copy_file_range shares blocks where it can, sendfile copies in the kernel between any two file
 * systems. Both say on their first call whether they can do it at all. */
int fs_copy(int to, int from, uint64_t size)
{
	bool by_range = true;
	while (size) {
		ssize_t put = by_range ? copy_file_range(from, NULL, to, NULL, size, 0)
				       : sendfile(to, from, NULL, size);
		if (put < 0 && errno == EINTR)
			continue;
		if (by_range && put <= 0) {
			/* Also 0: some file systems' way to say no; a short file ends below. */
			by_range = false;
			continue;
		}
		if (put < 0)
			return -1;
		if (put == 0) {
			errno = EIO; /* it shrank while we read */
			return -1;
		}
		size -= (uint64_t)put;
	}
	return 0;
}
