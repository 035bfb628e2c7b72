/* driver/cgroup.h - cgroups of version 2 for single processes: /sys/fs/cgroup/banger/<name>. As
 * root.
 *
 * Where version 2 is not mounted there, there are none: cgroup_can() says so, and making and
 * removing does nothing. The parent is there as long as one of its own is. */
#ifndef DRIVER_CGROUP_H
#define DRIVER_CGROUP_H

#include "base/error.h"

#include <stdbool.h>

#define CGROUP_ROOT   "/sys/fs/cgroup"
#define CGROUP_PARENT "banger"

/* "memory": is there such a controller? NULL: are there cgroups at all? */
bool cgroup_can(const char *controller);
/* Empty, no limits; already there is success. */
int cgroup_make(const char *name, struct error *err);
bool cgroup_is_populated(const char *name); /* some process lives in it */
/* What still lives in it is killed. Already gone is success. */
int cgroup_remove(const char *name, struct error *err);

#endif
