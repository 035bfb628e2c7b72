/* base/fs.h - files by directory descriptor and name.
 *
 * dirfd may be AT_FDCWD. Files are replaced by temporary name, fsync and rename, so a reader or a
 * crash sees the old or the new one, never a part. */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "base/buf.h"
#include "base/error.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Whole file, at most max_bytes (larger: ERROR_INVALID). Appends to ret. ENOENT keeps err->sys. */
int fs_read(int dirfd, const char *path, size_t max_bytes, struct buf *ret, struct error *err);
/* The same in a directory where others can make files: only a regular file of our own, not what a
 * link leads to (CONFLICT), and nobody who lays a pipe there makes us wait. */
int fs_read_own(int dirfd, const char *name, size_t max_bytes, struct buf *ret, struct error *err);
/* The same from an open descriptor, from its current offset. name is for the message. */
int fs_read_fd(int fd, const char *name, size_t max_bytes, struct buf *ret, struct error *err);
int fs_write(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
	     struct error *err);
/* The same; it is then of this group, at no moment readable by another. */
int fs_write_for(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
		 gid_t group, struct error *err);
/* A regular file, and ours by owner: what a hypervisor makes in its VM's directory is not. */
bool fs_is_own(const struct stat *st);
/* mkdir -p with the mode for each new one; already there is success. */
int fs_mkdirs(const char *path, mode_t mode, struct error *err);
/* rm -rf below dirfd, never through a symlink; already gone is success. */
int fs_remove_tree(int dirfd, const char *path, struct error *err);
/* The entries of a directory, which is no link to one; the caller closes it (auto_dir). NULL with
 * errno. */
DIR *fs_list(int dirfd, const char *path);
/* unlink; already gone is success. */
int fs_unlink(int dirfd, const char *path, struct error *err);
/* All of it, or -1 with errno. */
int fs_write_all(int fd, const void *data, size_t len);
/* Text into a file that is there, as it is: the kernel's, of /proc and /sys. -1 with errno. */
int fs_tell(const char *path, const char *text);
/* size bytes from one file's offset to the other's, blocks shared where the file system can; -1
 * with errno. */
int fs_copy(int to, int from, uint64_t size);

#endif
