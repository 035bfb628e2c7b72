/* Theory of operation
 *
 *	daemon ──fork── middle (setsid) ──fork── grandchild
 *	   │              │ _exit                    │ take the lock, open the log
 *	   │ reap middle ─┘                          │
 *	   │ <────────────────────── {pid, 0} ───────┤ ready; blocks
 *	   │ pidfd_open(pid)                         │
 *	   ├────────────────────────── go ─────────> │ execve()
 *	   │ <──────── end of file: exec succeeded ──┘   or {pid, errno, step}
 *
 * A CLOEXEC socket pair carries this. The grandchild cannot end, and its number cannot be reused,
 * between telling its pid and our pidfd_open(): it waits for "go", and when it was killed instead
 * the "go" fails.
 *
 * Never two hypervisors. The lock is opened by the grandchild itself, so that its open file
 * description is shared with nobody, and is held across exec until that process is gone. If the
 * daemon dies before "go", the grandchild reads end of file and exits, which drops the lock. If it
 * dies after, the grandchild execs, holding the lock: the next daemon finds it in /proc, and
 * whoever tries to start a second one meanwhile gets ERROR_BUSY from the lock. There is no third
 * case.
 *
 * lock_is_held() takes the lock shared for a moment; so that this cannot fail a start, the
 * grandchild tries a few times. (/proc/locks would need no moment, but names another device than
 * stat() on btrfs and overlayfs, and hides owners of other pid namespaces.) */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "sys/child.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define LOCK_TRIES    10
#define LOCK_PAUSE_NS 2000000

enum step {
	STEP_READY,
	STEP_FORK,
	STEP_DIRECTORY,
	STEP_STDIO,
	STEP_LOCK,
	STEP_LOG,
	STEP_OUTPUT,
	STEP_USER,
	STEP_EXEC
};

struct message {
	pid_t pid;
	int code; /* errno; 0: ready */
	enum step step;
};

struct plan {
	const struct proc_detach *detach;
	const char *program;
	char *const *argv;
	int socket; /* the child's end, above 2 */
	int *keep;  /* sorted, socket included */
	size_t keep_count;
	int lock_fd; /* in the grandchild */
};

static _Noreturn void fail(const struct plan *plan, enum step step)
{
	struct message message = { .pid = getpid(), .code = errno, .step = step };
	if (plan->lock_fd >= 0)
		close(plan->lock_fd); /* free again by the time the daemon hears of it */
	send(plan->socket, &message, sizeof(message), MSG_NOSIGNAL);
	_exit(127);
}

/* Everything goes but stdio and what is kept; the kept ones survive exec, the socket does not. The
 * copy of the parent's end goes too: it would hide the parent's death. */
static int close_others(const struct plan *plan)
{
	unsigned from = 3;
	for (size_t i = 0; i < plan->keep_count; i++) {
		unsigned fd = (unsigned)plan->keep[i];
		if (fd < from)
			continue;
		if (fd > from && close_range(from, fd - 1, 0) < 0)
			return -1;
		from = fd + 1;
		if (plan->keep[i] != plan->socket && fcntl(plan->keep[i], F_SETFD, 0) < 0)
			return -1;
	}
	return close_range(from, UINT_MAX, 0);
}

static int take_lock(const char *name, int access)
{
	int fd = open(name, access | O_CREAT | O_NOFOLLOW | O_NOCTTY, 0600); /* outlives exec */
	if (fd < 0)
		return -1;
	static const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	for (int i = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			return -1;
		nanosleep(&pause, NULL);
	}
	return fd;
}

static int lock_to_stdin(struct plan *plan)
{
	if (dup2(plan->lock_fd, STDIN_FILENO) < 0)
		return -1;
	close(plan->lock_fd);
	plan->lock_fd = STDIN_FILENO;
	return 0;
}

static int stdio_to(const char *path, int flags, int first, int last)
{
	int fd = open(path, flags | O_NOCTTY, 0600); /* after the fork */
	if (fd < 0)
		return -1;
	for (int i = first; i <= last; i++)
		if (dup2(fd, i) < 0)
			return -1;
	if (fd > 2)
		close(fd);
	return 0;
}

/* Async-signal-safe calls only. The working directory is set before stdio is replaced, so that it
 * may have any number. */
static _Noreturn void grandchild_main(struct plan *plan)
{
	const struct proc_detach *detach = plan->detach;
	if (fchdir(detach->dirfd) < 0)
		fail(plan, STEP_DIRECTORY);
	if (stdio_to("/dev/null", O_RDWR, 0, 2) < 0 || close_others(plan) < 0)
		fail(plan, STEP_STDIO);
	if (detach->lock_name &&
	    (plan->lock_fd =
		     take_lock(detach->lock_name, detach->lock_is_stdin ? O_RDONLY : O_RDWR)) < 0)
		fail(plan, STEP_LOCK);
	if (detach->lock_is_stdin && lock_to_stdin(plan) < 0)
		fail(plan, STEP_LOCK);
	if (detach->log_name && stdio_to(detach->log_name,
					 O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW |
						 (detach->log_append ? 0 : O_TRUNC),
					 1, 2) < 0)
		fail(plan, STEP_LOG);
	if (detach->output_fifo && stdio_to(detach->output_fifo, O_RDWR | O_NOFOLLOW, 1, 1) < 0)
		fail(plan, STEP_OUTPUT);
	if (child_become(detach->user) < 0 || (detach->confined && child_confine() < 0))
		fail(plan, STEP_USER);
	struct message ready = { .pid = getpid(), .step = STEP_READY };
	char go;
	if (send(plan->socket, &ready, sizeof(ready), MSG_NOSIGNAL) < 0 ||
	    recv(plan->socket, &go, 1, 0) != 1)
		_exit(127);
	child_signals_default();
	execve(plan->program, plan->argv, environ);
	fail(plan, STEP_EXEC);
}

static _Noreturn void middle_main(struct plan *plan)
{
	setsid();
	pid_t pid = fork();
	if (pid == 0)
		grandchild_main(plan);
	if (pid < 0)
		fail(plan, STEP_FORK);
	_exit(0);
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int *sorted_keep(const int *keep_fds, int socket, size_t *ret_count)
{
	size_t count = 0;
	while (keep_fds && keep_fds[count] >= 0)
		count++;
	int *keep = xcalloc(count + 1, sizeof(*keep));
	if (count)
		memcpy(keep, keep_fds, count * sizeof(*keep));
	keep[count++] = socket;
	qsort(keep, count, sizeof(*keep), compare_fds);
	*ret_count = count;
	return keep;
}

static int message_error(const struct message *message, const struct proc_detach *detach,
			 const char *program, struct error *err)
{
	errno = message->code;
	if (message->step == STEP_LOCK && errno == EWOULDBLOCK)
		return error_set(err, ERROR_BUSY, "'%s' is locked: it runs already",
				 detach->lock_name);
	if (message->step == STEP_LOCK)
		return error_sys(err, "cannot lock '%s'", detach->lock_name);
	if (message->step == STEP_LOG)
		return error_sys(err, "cannot open the log '%s'", detach->log_name);
	if (message->step == STEP_OUTPUT)
		return error_sys(err, "cannot open '%s'", detach->output_fifo);
	if (message->step == STEP_USER)
		return error_sys(err, "cannot become user %u for '%s'",
				 detach->user ? (unsigned)detach->user->uid : (unsigned)geteuid(),
				 program);
	if (message->step == STEP_DIRECTORY)
		return error_sys(err, "cannot enter the directory of '%s'", program);
	return error_sys(err, "cannot run '%s'", program);
}

/* 1: a message, 0: end of file, -1: errno. */
static int receive(int socket, struct message *ret)
{
	ssize_t got;
	do
		got = recv(socket, ret, sizeof(*ret), 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == ECONNRESET ? 0 : -1;
	return got == sizeof(*ret);
}

/* The parent's half of the protocol, the middle child being reaped. */
static int shake_hands(int socket, const struct proc_detach *detach, const char *program,
		       pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
	struct message message;
	int got = receive(socket, &message);
	if (got < 0)
		return error_sys(err, "cannot run '%s'", program);
	if (got == 0)
		return error_set(err, ERROR_SYSTEM, "'%s' died before it was started", program);
	if (message.code)
		return message_error(&message, detach, program, err);
	pid_t pid = message.pid;
	auto_close int pidfd = proc_pidfd(pid);
	if (pidfd < 0)
		return error_sys(err, "cannot hold process %d of '%s'", (int)pid, program);
	FAILPOINT("spawn-before-exec");
	if (send(socket, "g", 1, MSG_NOSIGNAL) != 1)
		return error_sys(err, "'%s' died before it was started", program);
	FAILPOINT("spawn-after-exec");
	got = receive(socket, &message);
	if (got < 0)
		return error_sys(err, "cannot run '%s'", program);
	if (got > 0)
		return message_error(&message, detach, program, err);
	*ret_pid = pid;
	*ret_pidfd = take_fd(&pidfd);
	return 0;
}

int proc_detach(const struct proc_detach *detach, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
	auto_free char *program = child_program(detach->argv[0], err);
	if (!program)
		return -1;
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_sys(err, "cannot run '%s'", program);
	auto_close int ours = ends[0];
	auto_close int low = ends[1];
	auto_close int theirs = fcntl(low, F_DUPFD_CLOEXEC, 3);
	if (theirs < 0)
		return error_sys(err, "cannot run '%s'", program);
	close(take_fd(&low));

	struct plan plan = {
		.detach = detach, .program = program, .socket = theirs, .lock_fd = -1
	};
	memcpy(&plan.argv, &detach->argv, sizeof(plan.argv)); /* execve() does not write to it */
	auto_free int *keep = plan.keep = sorted_keep(detach->keep_fds, theirs, &plan.keep_count);
	(void)keep;
	pid_t middle = child_fork();
	if (middle == 0)
		middle_main(&plan);
	if (middle < 0)
		return error_sys(err, "cannot run '%s'", program);
	close(take_fd(&theirs));
	FAILPOINT("spawn-forked");
	while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
		;
	return shake_hands(ours, detach, program, ret_pid, ret_pidfd, err);
}
