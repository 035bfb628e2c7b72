/* cli/tar.h - a tar stream in the GNU format, which busybox reads too: names of any bytes and any
 * length, links as links. */
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
