/* driver/jail.h - where a jailed process lives: <vm>/jail/<program>/<name>/root is its root
 * directory, as Firecracker's jailer lays it out below what it is given as its base, and the cgroup
 * of the same name is what it may use. Both go together. As root. */
#ifndef DRIVER_JAIL_H
#define DRIVER_JAIL_H

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* "jail/firecracker/banger-ab12/root", to a path in the VM's directory. */
void jail_root_path(const char *program, const char *name, struct buf *ret);
/* INVALID: devices or programs are nothing on the file system of this directory. */
int jail_possible(int fd, struct error *err);
/* Makes the empty root and the cgroup, and opens the root. */
int jail_make(int vm_dirfd, const char *program, const char *name, struct error *err);
/* Puts a file into it, read-only and as it is, by a link, or by a copy where it is on another file
 * system. from is a path below dirfd. */
int jail_share(int root, const char *name, int dirfd, const char *from, struct error *err);
/* A link to the VM's own file, which belongs to uid from now on. */
int jail_give(int root, int vm_dirfd, const char *name, uid_t uid, struct error *err);
/* A node for a block device. */
int jail_device(int root, const char *name, const char *device, uid_t uid, struct error *err);
/* All of it. Nobody may live in it: what does all the same is killed. Already gone is success. */
int jail_remove(int vm_dirfd, struct error *err);

#endif
