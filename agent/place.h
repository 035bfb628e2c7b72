/* agent/place.h - put what the seed says into the guest's root, which is "/" by now.
 *
 * Every function is idempotent, and writes only what differs: a boot of a VM that is as it should
 * be dirties no block of its disk. */
#ifndef AGENT_PLACE_H
#define AGENT_PLACE_H

#include "agent/seed.h"

#include <sys/types.h>

/* "USER[:GROUP]" by the guest's own /etc/passwd and /etc/group, or numbers. Without GROUP it is
 * the user's own. passwd and group: the text of those files. Fails with ERROR_NOT_FOUND. (libc's
 * getpwnam would load libraries of the image into a process of the initrd.) */
int owner_resolve(const char *owner, const char *passwd, const char *group, uid_t *ret_uid,
		  gid_t *ret_gid, struct error *err);

int place_hostname(const struct seed *seed, struct error *err); /* /etc/hostname, /etc/hosts */
int place_resolver(const struct seed *seed, struct error *err); /* /etc/resolv.conf */
/* blobs_fd: the folder with the files' bytes, borrowed. */
int place_files(const struct seed *seed, int blobs_fd, struct error *err);

/* The block in root's authorized_keys, and the modes without which sshd ignores the file.
 * home: "/root" (tests pass another). */
int place_keys(const char *home, const char *const *keys, size_t count, struct error *err);

#endif
