/* driver/vm_user.h - the user of its own that the hypervisor of a VM runs as, where we are root.
 *
 * It is a number without a name, user and group alike, from a range that nobody else uses. The
 * group of the VM's directory is the only record of it. The directory stays root's, sticky: its
 * hypervisor can make sockets in it, and neither replace nor remove what is there. What it writes
 * to is its own (vm_user_give), what it reads its group's (vm_user_show), and images and kernels
 * are anyone's to read who knows their digest (vm_user_share). */
#ifndef DRIVER_VM_USER_H
#define DRIVER_VM_USER_H

#include "base/error.h"
#include "sys/proc.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Above what directory services hand out, below what systemd calls foreign: BANGER_UID_BASE says
 * another. */
#define VM_USER_BASE  UINT32_C(2100000000)
#define VM_USER_COUNT UINT32_C(65536)
#define VM_USER_MIN   UINT32_C(65536) /* what a distribution hands out lies below */
#define VM_DIR_MODE   01771

/* INVALID: BANGER_UID_BASE is no number from VM_USER_MIN on with room for the range. */
int vm_user_base(uid_t *ret, struct error *err);
bool vm_user_in_range(uid_t uid);
/* That a VM's directory names; 0: none. */
uid_t vm_user_of(const struct stat *dir);
uid_t vm_user_of_fd(int vm_dirfd);

/* The one it has, else one that no other directory below vms_dir has; the directory is then as it
 * has to be. Any thread. */
int vm_user_take(const char *vms_dir, const char *id, int vm_dirfd, uid_t *ret, struct error *err);
/* With what it takes to use KVM when that is wanted: a group of /dev/kvm. CONFLICT: root's alone.
 */
int vm_user_fill(uid_t uid, bool kvm, struct proc_user *ret, struct error *err);

/* CONFLICT: it may not open /dev/net/tun, and so not its tap. */
int vm_user_check_tun(uid_t uid, struct error *err);

/* A file below vm_dirfd becomes its user's, for nobody else. CONFLICT: it is somebody's already, or
 * has another name elsewhere. Already done is success. */
int vm_user_give(int vm_dirfd, const char *name, uid_t user, struct error *err);
/* A file of ours below vm_dirfd, to be read by its user. */
int vm_user_show(int vm_dirfd, const char *name, uid_t user, struct error *err);
/* A device node. */
int vm_user_give_device(const char *path, uid_t user, struct error *err);
/* A file of the store at <folder>/<digest>/<name>, to be read by all. */
int vm_user_share(const char *path, struct error *err);

/* unix_connect() to a hypervisor's socket: whoever listens is the VM's user, where it has one, for
 * a hypervisor may put a link to another's socket in its place. */
int vm_connect(int vm_dirfd, const char *name, uint64_t timeout_ms, int nonblocking,
	       struct error *err);

#endif
