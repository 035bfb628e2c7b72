/* cli/unpack.h - a tar stream of somebody else's, unpacked where it can do no harm.
 *
 * Into a new directory; names with "..", absolute ones and those that lead through a link are
 * refused; files, directories and links only; no owner, no set-id bits. */
#ifndef CLI_UNPACK_H
#define CLI_UNPACK_H

#include "base/error.h"

struct unpack;
/* Reads fd to its end; the new directory is made in dir. NULL: err, and nothing is left. */
struct unpack *unpack_stream(int fd, const char *dir, struct error *err);
/* The one thing that was in it gets this name in dir. A directory that is there takes in what came,
 * files and links are replaced, nothing is followed. ERROR_CONFLICT, with nothing moved: one is a
 * directory where the other is none. */
int unpack_finish(struct unpack *unpack, const char *name, struct error *err);
void unpack_free(struct unpack *unpack);

#endif
