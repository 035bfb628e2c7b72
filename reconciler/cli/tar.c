#include "cli/tar.h"
#include "base/fs.h"
#include "base/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK	  (256u << 10)
#define DEPTH_MAX 200
#define PIECE	  (off_t)(1 << 20) /* holes are kept in this measure */

struct tar {
	struct archive *archive;
	char *chunk;
	int fd;
	int broken; /* errno of the write that failed; what follows goes nowhere */
	unsigned sparse;
};

/* libarchive does not free all it has once it was told of a failure, and ends an archive that is
 * just freed. So it is told of none. */
static la_ssize_t on_write(struct archive *archive, void *data, const void *bytes, size_t len)
{
	struct tar *tar = data;
	(void)archive;
	if (!tar->broken && fs_write_all(tar->fd, bytes, len) < 0)
		tar->broken = errno;
	return (la_ssize_t)len;
}

struct tar *tar_new(int fd)
{
	struct tar *tar = xcalloc(1, sizeof(*tar));
	tar->chunk = xmalloc(CHUNK);
	tar->archive = archive_write_new();
	archive_write_set_format_gnutar(tar->archive);
	archive_write_set_bytes_per_block(tar->archive, CHUNK);
	archive_write_set_bytes_in_last_block(tar->archive, 1);
	tar->fd = fd;
	if (archive_write_open(tar->archive, tar, NULL, on_write, NULL) != ARCHIVE_OK)
		BUG("cannot begin an archive: %s", archive_error_string(tar->archive));
	return tar;
}

void tar_free(struct tar *tar)
{
	if (!tar)
		return;
	if (!tar->broken)
		tar->broken = ECANCELED;
	archive_write_free(tar->archive);
	free(tar->chunk);
	free(tar);
}

static int failed(struct tar *tar, const char *name, struct error *err)
{
	if (tar->broken) {
		errno = tar->broken;
		return error_sys(err, "cannot send '%s'", name);
	}
	int cause = archive_errno(tar->archive);
	error_set(err, ERROR_SYSTEM, "cannot send '%s': %s", name,
		  archive_error_string(tar->archive) ? archive_error_string(tar->archive) : "");
	err->sys = cause;
	return -1;
}

enum link { LINK_NONE, LINK_SYMBOLIC, LINK_HARD };

static int add_entry(struct tar *tar, const char *name, mode_t type, const struct stat *st,
		     enum link kind, const char *link, struct error *err)
{
	struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, st->st_mode & 0777);
	archive_entry_set_mtime(entry, st->st_mtim.tv_sec, 0);
	archive_entry_set_size(entry, type == AE_IFREG && kind == LINK_NONE ? st->st_size : 0);
	if (kind == LINK_SYMBOLIC)
		archive_entry_set_symlink(entry, link);
	if (kind == LINK_HARD)
		archive_entry_set_hardlink(entry, link);
	int result = archive_write_header(tar->archive, entry);
	archive_entry_free(entry);
	return result < ARCHIVE_WARN || tar->broken ? failed(tar, name, err) : 0;
}

static int add_header(struct tar *tar, const char *name, mode_t type, const struct stat *st,
		      struct error *err)
{
	return add_entry(tar, name, type, st, LINK_NONE, NULL, err);
}

/* As many bytes as were promised, whatever happens to the file meanwhile. */
static int add_data(struct tar *tar, const char *name, int fd, off_t size, struct error *err)
{
	off_t at = 0;
	while (at < size) {
		size_t want = size - at < (off_t)CHUNK ? (size_t)(size - at) : CHUNK;
		ssize_t got = read(fd, tar->chunk, want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_sys(err, "cannot read '%s'", name);
		if (!got) {
			memset(tar->chunk, 0, want);
			got = (ssize_t)want;
		}
		if (archive_write_data(tar->archive, tar->chunk, (size_t)got) < 0 || tar->broken)
			return failed(tar, name, err);
		at += got;
	}
	return 0;
}

static int add_link(struct tar *tar, const char *name, int dirfd, const char *path,
		    const struct stat *st, struct error *err)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(dirfd, path, target, sizeof(target) - 1);
	if (len < 0)
		return error_sys(err, "cannot read the link '%s'", path);
	target[len] = '\0';
	return add_entry(tar, name, AE_IFLNK, st, LINK_SYMBOLIC, target, err);
}

/* --- sparse files --- */

static bool is_sparse(int fd, const struct stat *st)
{
	return (off_t)st->st_blocks * 512 + PIECE <= st->st_size && lseek(fd, 0, SEEK_HOLE) >= 0;
}

/* The next run of data in whole pieces. false: there is none. */
static bool next_run(int fd, off_t size, off_t from, off_t *ret, off_t *ret_len)
{
	off_t data = lseek(fd, from, SEEK_DATA), end;
	if (data < 0 || data >= size)
		return false;
	*ret = data / PIECE * PIECE;
	for (end = *ret; data >= 0 && data < end + PIECE && end < size;) {
		off_t hole = lseek(fd, data, SEEK_HOLE);
		hole = hole < 0 || hole > size ? size : hole;
		end = (hole + PIECE - 1) / PIECE * PIECE;
		data = lseek(fd, end, SEEK_DATA);
	}
	*ret_len = (end < size ? end : size) - *ret;
	return true;
}

static int add_pieces(struct tar *tar, const char *name, int fd, const struct stat *st,
		      unsigned number, struct error *err)
{
	off_t at = 0, len = 0;
	while (next_run(fd, st->st_size, at + len, &at, &len)) {
		auto_free char *piece =
			xasprintf("sparse/%u/at/%jd", number, (intmax_t)(at / PIECE));
		struct stat part = { .st_mode = 0600, .st_size = len };
		if (lseek(fd, at, SEEK_SET) < 0)
			return error_sys(err, "cannot read '%s'", name);
		if (add_header(tar, piece, AE_IFREG, &part, err) < 0 ||
		    add_data(tar, name, fd, len, err) < 0)
			return -1;
	}
	return 0;
}

static int add_sparse(struct tar *tar, const char *name, int fd, const struct stat *st,
		      struct error *err)
{
	unsigned number = tar->sparse++;
	auto_free char *link = xasprintf("sparse/%u/it", number);
	auto_free char *length = xasprintf("sparse/%u/size", number);
	auto_free char *text = xasprintf("%jd\n", (intmax_t)st->st_size);
	struct stat empty = *st, size = *st;
	empty.st_size = 0;
	size.st_size = (off_t)strlen(text);
	if (add_header(tar, name, AE_IFREG, &empty, err) < 0 ||
	    add_entry(tar, link, AE_IFREG, &empty, LINK_HARD, name, err) < 0 ||
	    add_header(tar, length, AE_IFREG, &size, err) < 0)
		return -1;
	if (archive_write_data(tar->archive, text, strlen(text)) < 0)
		return failed(tar, name, err);
	return add_pieces(tar, name, fd, st, number, err);
}

int tar_add_file(struct tar *tar, const char *name, int dirfd, const char *path, struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : error_sys(err, "cannot look at '%s'", path);
	if (S_ISLNK(st.st_mode))
		return add_link(tar, name, dirfd, path, &st, err);
	if (!S_ISREG(st.st_mode))
		return 0;
	auto_close int fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, "cannot open '%s'", path);
	if (is_sparse(fd, &st))
		return add_sparse(tar, name, fd, &st, err);
	if (lseek(fd, 0, SEEK_SET) < 0 || add_header(tar, name, AE_IFREG, &st, err) < 0)
		return -1;
	return add_data(tar, name, fd, st.st_size, err);
}

int tar_add_bytes(struct tar *tar, const char *name, const void *data, size_t len,
		  struct error *err)
{
	struct stat st = { .st_mode = 0644, .st_size = (off_t)len };
	if (add_header(tar, name, AE_IFREG, &st, err) < 0)
		return -1;
	return len && archive_write_data(tar->archive, data, len) < 0 ? failed(tar, name, err) : 0;
}

int tar_add_dir(struct tar *tar, const char *name, struct error *err)
{
	struct stat st = { .st_mode = 0755 };
	return add_header(tar, name, AE_IFDIR, &st, err);
}

static int add_below(struct tar *tar, const char *name, int at, const char *path, int depth,
		     struct error *err)
{
	struct stat st;
	if (depth > DEPTH_MAX)
		return error_set(err, ERROR_INVALID, "'%s' is too deep", name);
	auto_dir DIR *dir = fs_list(at, path);
	int fd = dir ? dirfd(dir) : -1;
	if (!dir || fstat(fd, &st) < 0)
		return error_sys(err, "cannot open '%s'", path);
	if (add_header(tar, name, AE_IFDIR, &st, err) < 0)
		return -1;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		auto_free char *below = xasprintf("%s/%s", name, entry->d_name);
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		int added = S_ISDIR(st.st_mode)
				    ? add_below(tar, below, fd, entry->d_name, depth + 1, err)
				    : tar_add_file(tar, below, fd, entry->d_name, err);
		if (added < 0)
			return -1;
	}
	return 0;
}

int tar_add_tree(struct tar *tar, const char *name, int dirfd, const char *path, struct error *err)
{
	return add_below(tar, name, dirfd, path, 0, err);
}

int tar_finish(struct tar *tar, struct error *err)
{
	return archive_write_close(tar->archive) == ARCHIVE_OK && !tar->broken
		       ? 0
		       : failed(tar, "the end", err);
}
