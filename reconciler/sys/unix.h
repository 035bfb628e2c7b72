/* sys/unix.h - unix sockets, reached by directory descriptor and name, as 107 bytes is all that a
 * path may have (bound and connected through /proc/self/fd/<dirfd>/<name>). */
#ifndef SYS_UNIX_H
#define SYS_UNIX_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Stream, CLOEXEC, non-blocking; mode 0600. A stale socket (nobody listens) is replaced. */
int unix_listen(int dirfd, const char *name, struct error *err);
/* Blocking connect with a deadline; the descriptor is CLOEXEC and blocking, or non-blocking on
 * request. ECONNREFUSED/ENOENT stay in err->sys. */
int unix_connect(int dirfd, const char *name, uint64_t timeout_ms, int nonblocking,
		 struct error *err);
/* The same for a socket that somebody may have put there whom we do not trust: no link leads out of
 * the directory. */
int unix_connect_within(int dirfd, const char *name, uint64_t timeout_ms, int nonblocking,
			struct error *err);
/* A descriptor that keeps such a socket, and the path by which it can be connected to as long as
 * the descriptor is open. -1 with errno: ENOENT, EXDEV when it is elsewhere, ENOTSOCK. */
#define UNIX_LOCATED 32
int unix_locate(int dirfd, const char *name, char ret_path[UNIX_LOCATED]);
int unix_peer(int fd, pid_t *ret_pid, uid_t *ret_uid, struct error *err); /* SO_PEERCRED */

/* Is that its group, or one of its others? As it was when it connected. */
bool unix_peer_in_group(int fd, gid_t group);

#endif
