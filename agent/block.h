/* agent/block.h - banger's own lines inside of a file that belongs to the guest's user.
 *
 * What stands between "# banger begin" and "# banger end" is ours, every other line is kept. */
#ifndef AGENT_BLOCK_H
#define AGENT_BLOCK_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>

#define BLOCK_BEGIN    "# banger begin"
#define BLOCK_END      "# banger end"
#define BLOCK_MAX_FILE ((size_t)4 << 20)

/* Appends the file's new text to ret. A begin without an end owns only its own line: better one
 * stale key than the user's keys gone. No lines: no block is left. */
void block_edit(const char *old, size_t len, const char *const *lines, size_t count,
		struct buf *ret);

/* The same for a file on disk, replaced only when its text changes. A file that is not there is
 * made with mode. */
int block_write(const char *path, const char *const *lines, size_t count, unsigned mode,
		struct error *err);

#endif
