/* cli/tar.h - a tar stream in the GNU format, which busybox reads too: names of any bytes and any
 * length, links as links.
 *
 * No format of sparse files is read by all of tar's kin. One that is much longer than what it takes
 * on disk goes as an empty file and, each N counted from 0,
 *
 *	sparse/N/it	a hard link to it
 *	sparse/N/size	how long it is, in decimal; with its modification time
 *	sparse/N/at/M	what it has at M MiB
 *
 * of which sparse_function (cli/workspace_script.h) makes the whole. */
#ifndef CLI_TAR_H
#define CLI_TAR_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>

struct tar;
struct tar *tar_new(int fd); /* fd is borrowed */
void tar_free(struct tar *tar);
DEFINE_CLEANUP(tar, tar_free)

/* A file or a link as it is; what is neither, or gone by now, is left out. Never through a link. */
int tar_add_file(struct tar *tar, const char *name, int dirfd, const char *path, struct error *err);
int tar_add_bytes(struct tar *tar, const char *name, const void *data, size_t len,
		  struct error *err);
int tar_add_dir(struct tar *tar, const char *name, struct error *err);
/* A directory with all that is below it. */
int tar_add_tree(struct tar *tar, const char *name, int dirfd, const char *path, struct error *err);
int tar_finish(struct tar *tar, struct error *err);

#endif
