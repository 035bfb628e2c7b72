/* cli/ssh_include.h - our lines in somebody else's ssh_config(5), and that file without them.
 *
 * Text to text: what is not ours comes out byte for byte as it went in. */
#ifndef CLI_SSH_INCLUDE_H
#define CLI_SSH_INCLUDE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

/* Our lines stand first: further down they would belong to a Host block. created: there was no
 * file. Those of an earlier time are replaced. */
int ssh_include_add(const struct buf *config, const char *path, bool created, struct buf *ret,
		    struct error *err);
/* *ret_created: nothing but our lines was ever there. */
int ssh_include_remove(const struct buf *config, struct buf *ret, bool *ret_created,
		       struct error *err);

#endif
