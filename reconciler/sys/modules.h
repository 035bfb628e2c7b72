/* sys/modules.h - modules of the running kernel: loaded, or there to be. */
#ifndef SYS_MODULES_H
#define SYS_MODULES_H

#include "base/buf.h"

#include <stdbool.h>

bool module_is_loaded(const char *name);
/* Appends its file, or "built in". False: this kernel has no such module. */
bool module_find(const char *name, struct buf *ret);
/* The same in the indexes of one kernel; root: "" or what is before the paths in them. */
bool module_find_in(const char *root, const char *release, const char *name, struct buf *ret);

#endif
