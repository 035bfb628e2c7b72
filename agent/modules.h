/* agent/modules.h - load the kernel's modules that came in the initrd.
 *
 * <folder>/<release>/order names the files in the order of their dependencies, one a line. The
 * line "-" divides those that the boot waits for from those that can come later. */
#ifndef AGENT_MODULES_H
#define AGENT_MODULES_H

#include "base/error.h"

#define MODULES_FOLDER "lib/banger/modules"

enum modules_part { MODULES_EARLY, MODULES_LATE };

/* root_fd: the initrd's root, borrowed. A folder that is not there is a kernel with everything
 * built in: success. A module that does not load is said on the console and passed over: whether
 * it was needed shows at what it was needed for. Blocks while drivers probe. */
int modules_load(int root_fd, enum modules_part part, struct error *err);

/* Calls visit for each file name of that part of an order file; stops at and returns its -1. */
int modules_each(const char *order, enum modules_part part,
		 int (*visit)(void *arg, const char *name, struct error *err), void *arg,
		 struct error *err);

#endif
