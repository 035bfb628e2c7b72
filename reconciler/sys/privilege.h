/* sys/privilege.h - what a process that began as root goes on being able to do. */
#ifndef SYS_PRIVILEGE_H
#define SYS_PRIVILEGE_H

#include "base/error.h"

#include <stddef.h>

/* Drops every capability but these (CAP_… of linux/capability.h) from all sets, the bounding one
 * included: nothing that this process ever runs has more. Before there are threads, as each has
 * sets of its own. */
int privilege_keep(const unsigned *capabilities, size_t count, struct error *err);

#endif
