#include "sys/unix.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>

#define BACKLOG 64

static int address_of(int dirfd, const char *name, struct sockaddr_un *ret, struct error *err)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int len;
	if (dirfd == AT_FDCWD || name[0] == '/')
		len = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", name);
	else
		len = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dirfd,
			       name);
	if (len < 0 || (size_t)len >= sizeof(ret->sun_path))
		return error_set(err, ERROR_INVALID, "socket name '%s' is too long", name);
	return 0;
}

static int bind_to(int fd, const struct sockaddr_un *address)
{
	return bind(fd, (const struct sockaddr *)address, sizeof(*address));
}

/* The socket of a dead process refuses connections; a file that is no socket does so as well and is
 * not ours to remove. */
static int remove_stale(int dirfd, const char *name, const struct sockaddr_un *address,
			struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISSOCK(st.st_mode))
		return error_set(err, ERROR_CONFLICT, "'%s' is in the way and not a socket", name);
	auto_close int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return error_sys(err, "cannot make a socket");
	if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	    errno == EAGAIN)
		return error_set(err, ERROR_BUSY, "somebody listens on '%s' already", name);
	if (errno == ENOENT)
		return 0;
	if (errno != ECONNREFUSED)
		return error_sys(err, "cannot tell whether '%s' is in use", name);
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return error_sys(err, "cannot remove the stale socket '%s'", name);
	return 0;
}

int unix_listen(int dirfd, const char *name, struct error *err)
{
	struct sockaddr_un address;
	if (address_of(dirfd, name, &address, err) < 0)
		return -1;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of the unbound socket becomes the file's: no moment with a wider one, and no
	 * umask(), which all threads share. */
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return error_sys(err, "cannot make a socket");
	int failed = bind_to(fd, &address);
	if (failed && errno == EADDRINUSE) {
		if (remove_stale(dirfd, name, &address, err) < 0)
			return -1;
		failed = bind_to(fd, &address);
	}
	if (failed || listen(fd, BACKLOG) < 0)
		return error_sys(err, "cannot listen on '%s'", name);
	return take_fd(&fd);
}

static int set_send_timeout(int fd, uint64_t ms)
{
	struct timeval tv = { .tv_sec = (time_t)(ms / 1000),
			      .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* On unix sockets connect() is instant or waits for room in the backlog; that wait obeys the send
 * timeout and ends with EAGAIN. */
static int connect_before(int fd, const struct sockaddr_un *address, uint64_t timeout_ms)
{
	uint64_t deadline = clock_monotonic_ms() + timeout_ms;
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		uint64_t left = deadline > now ? deadline - now : 1;
		if (timeout_ms && set_send_timeout(fd, left) < 0)
			return -1;
		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return timeout_ms ? set_send_timeout(fd, 0) : 0;
		if (errno != EINTR)
			return -1;
	}
}

static int connect_to(const struct sockaddr_un *address, const char *name, uint64_t timeout_ms,
		      int nonblocking, struct error *err)
{
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_sys(err, "cannot make a socket");
	if (connect_before(fd, address, timeout_ms) < 0) {
		int saved = errno;
		error_sys(err, "cannot connect to '%s'", name);
		if (saved == EAGAIN)
			err->code = ERROR_TIMEOUT;
		return -1;
	}
	if (nonblocking && fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return error_sys(err, "cannot connect to '%s'", name);
	return take_fd(&fd);
}

int unix_connect(int dirfd, const char *name, uint64_t timeout_ms, int nonblocking,
		 struct error *err)
{
	struct sockaddr_un address;
	if (address_of(dirfd, name, &address, err) < 0)
		return -1;
	return connect_to(&address, name, timeout_ms, nonblocking, err);
}

int unix_locate(int dirfd, const char *name, char ret_path[UNIX_LOCATED])
{
	struct stat st;
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH };
	auto_close int fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = ENOTSOCK;
		return -1;
	}
	snprintf(ret_path, UNIX_LOCATED, "/proc/self/fd/%d", fd);
	return take_fd(&fd);
}

int unix_connect_within(int dirfd, const char *name, uint64_t timeout_ms, int nonblocking,
			struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	auto_close int at = unix_locate(dirfd, name, address.sun_path);
	if (at < 0)
		return error_sys(err, "cannot connect to '%s'", name);
	return connect_to(&address, name, timeout_ms, nonblocking, err);
}

int unix_peer(int fd, pid_t *ret_pid, uid_t *ret_uid, struct error *err)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return error_sys(err, "cannot tell who is at the other end");
	*ret_pid = peer.pid;
	*ret_uid = peer.uid;
	return 0;
}

#define GROUPS_MAX 65536 /* of one process: NGROUPS_MAX */

bool unix_peer_in_group(int fd, gid_t group)
{
	struct ucred peer;
	socklen_t len = sizeof(peer), size = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	if (peer.gid == group)
		return true;
	/* Too small: it says how much it needs. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE ||
	    size > GROUPS_MAX * sizeof(gid_t))
		return false;
	auto_free gid_t *groups = xmalloc(size);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}
