/* Theory of operation
 *
 * fork, a few system calls, execve. The write end of a CLOEXEC pipe stays with the child: exec
 * closes it, a failure before that writes its errno into it. So one read in the parent tells
 * "runs" from "could not run" without a guess.
 *
 * The child leads its own process group, killed as a whole when time is over or the work is
 * cancelled, and always before the leader is reaped: until then its number cannot be reused. It
 * dies with the thread that started it (PDEATHSIG), which waits here until it is gone: nobody is
 * left writing to a disk that the next daemon looks at.
 *
 * The parent polls both pipes, the pidfd and cancel_fd. It is done when the *child* has ended and
 * the pipes are empty, not when they are closed: a grandchild that went to the background may hold
 * them for ever. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/child.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define OUTPUT_MAX_DEFAULT 65536
#define LINE_MAX_BYTES	   65536
#define TAIL_BYTES	   600 /* of stderr, quoted in the error */

/* Where one stream goes. */
struct sink {
	struct buf *to; /* NULL: nowhere */
	size_t max;
	bool keep_tail; /* of too much output keep the end, not the beginning */
};

struct child {
	pid_t pid;
	int pidfd, out_fd, err_fd;
};

/* Everything the child needs, made before fork: no malloc after. */
struct plan {
	const char *program, *cwd;
	char *const *argv, *const *env;
	int null_fd, out_fd, err_fd, report_fd;
	pid_t parent;
	bool files_only;
	const struct proc_user *user;
};

static void report(int fd)
{
	int code = errno;
	ssize_t ignored = write(fd, &code, sizeof(code));
	(void)ignored;
	_exit(127);
}

static _Noreturn void child_main(const struct plan *plan)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != plan->parent)
		_exit(127);
	/* All sources are above 2, so no dup2() hits one that is still needed. */
	if (dup2(plan->null_fd, 0) < 0 || dup2(plan->out_fd, 1) < 0 || dup2(plan->err_fd, 2) < 0 ||
	    close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0 ||
	    (plan->cwd && chdir(plan->cwd) < 0))
		report(plan->report_fd);
	if (child_become(plan->user) < 0)
		report(plan->report_fd);
	if (plan->files_only &&
	    ((geteuid() == 0 && child_bound(UINT64_C(1) << CAP_DAC_OVERRIDE) < 0) ||
	     child_confine() < 0))
		report(plan->report_fd);
	child_signals_default();
	execve(plan->program, plan->argv, plan->env);
	report(plan->report_fd);
	_exit(127);
}

/* A descriptor above 2, whatever this process was started with. */
static int above_stdio(int *fd)
{
	if (*fd < 0 || *fd > 2)
		return *fd;
	int low = *fd;
	*fd = fcntl(low, F_DUPFD_CLOEXEC, 3);
	cleanup_close(&low);
	return *fd;
}

static int pipe_above_stdio(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	return above_stdio(&ends[0]) < 0 || above_stdio(&ends[1]) < 0 ? -1 : 0;
}

/* 0: exec succeeded; else the errno of what failed. */
static int read_report(int fd)
{
	int code = 0;
	ssize_t got;
	do
		got = read(fd, &code, sizeof(code));
	while (got < 0 && errno == EINTR);
	return got == sizeof(code) ? code : 0;
}

static int reap(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 127; /* SIGCHLD is ignored: it ended, nobody knows how */
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int child_start(const struct proc_run *run, struct child *ret, struct error *err)
{
	auto_free char *program = child_program(run->argv[0], err);
	if (!program)
		return -1;
	auto_free char **env = child_environment(run->env);
	auto_close int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	auto_close int out_r = -1, out_w = -1, err_r = -1, err_w = -1, rep_r = -1, rep_w = -1;
	int out[2] = { -1, -1 }, errs[2] = { -1, -1 }, reports[2] = { -1, -1 };
	int failed = above_stdio(&null_fd) < 0 || pipe_above_stdio(out) < 0 ||
		     pipe_above_stdio(errs) < 0 || pipe_above_stdio(reports) < 0;
	out_r = out[0], out_w = out[1], err_r = errs[0], err_w = errs[1];
	rep_r = reports[0], rep_w = reports[1];
	if (failed || fcntl(out_r, F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(err_r, F_SETFL, O_NONBLOCK) < 0)
		return error_sys(err, "cannot run '%s'", run->argv[0]);

	/* execve() takes char *const[] for history's sake; it does not write. */
	char *const *argv;
	memcpy(&argv, &run->argv, sizeof(argv));
	struct plan plan = { .program = program,
			     .cwd = run->cwd,
			     .argv = argv,
			     .env = env,
			     .null_fd = null_fd,
			     .out_fd = out_w,
			     .err_fd = err_w,
			     .report_fd = rep_w,
			     .parent = getpid(),
			     .files_only = run->files_only,
			     .user = run->user };
	pid_t pid = child_fork();
	if (pid == 0)
		child_main(&plan);
	if (pid < 0)
		return error_sys(err, "cannot run '%s'", run->argv[0]);
	close(take_fd(&rep_w));
	int code = read_report(rep_r);
	int pidfd = code ? -1 : proc_pidfd(pid);
	if (pidfd < 0) {
		errno = code ? code : errno;
		error_sys(err, "cannot run '%s'", program);
		kill(-pid, SIGKILL);
		reap(pid);
		return -1;
	}
	*ret = (struct child){ pid, pidfd, take_fd(&out_r), take_fd(&err_r) };
	return 0;
}

static void sink_add(struct sink *sink, const char *data, size_t len)
{
	struct buf *to = sink->to;
	if (!to)
		return;
	if (sink->keep_tail) {
		buf_add_bytes(to, data, len);
		if (to->len > sink->max)
			buf_drop(to, to->len - sink->max);
		return;
	}
	size_t room = to->len < sink->max ? sink->max - to->len : 0;
	buf_add_bytes(to, data, len < room ? len : room);
}

/* Cuts data into lines; an endless one is passed on in pieces of LINE_MAX_BYTES. */
static void feed_lines(const struct proc_run *run, struct buf *line, const char *data, size_t len)
{
	while (run->on_line && len) {
		const char *end = memchr(data, '\n', len);
		size_t part = end ? (size_t)(end - data) : len;
		buf_add_bytes(line, data, part);
		if (end || line->len >= LINE_MAX_BYTES) {
			run->on_line(run->cookie, line->data);
			buf_reset(line);
		}
		data += part + !!end;
		len -= part + !!end;
	}
}

/* Reads what is there. false: the end, or nothing more for now (then *fd stays). */
static bool drain_some(int *fd, struct sink *sink, const struct proc_run *run, struct buf *line)
{
	char data[8192];
	ssize_t got = *fd < 0 ? -1 : read(*fd, data, sizeof(data));
	if (*fd < 0 || (got < 0 && errno == EAGAIN))
		return false;
	if (got < 0 && errno == EINTR)
		return true;
	if (got <= 0) {
		close(take_fd(fd));
		return false;
	}
	sink_add(sink, data, (size_t)got);
	if (line)
		feed_lines(run, line, data, (size_t)got);
	return true;
}

static int poll_ms(uint64_t deadline)
{
	if (!deadline)
		return -1;
	uint64_t now = clock_monotonic_ms();
	uint64_t left = deadline > now ? deadline - now : 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

/* Until the child has ended. ERROR_NONE, or why it has to be killed. */
static enum error_code child_watch(const struct proc_run *run, struct child *child,
				   struct sink *out, struct sink *errs, struct buf *line)
{
	uint64_t deadline = run->timeout_ms ? clock_monotonic_ms() + run->timeout_ms : 0;
	for (;;) {
		struct pollfd polls[] = {
			{ .fd = child->pidfd, .events = POLLIN },
			{ .fd = child->out_fd, .events = POLLIN },
			{ .fd = child->err_fd, .events = POLLIN },
			{ .fd = run->cancel_fd > 0 ? run->cancel_fd : -1, .events = POLLIN },
		};
		int wait = poll_ms(deadline);
		poll(polls, 4, wait);
		if (polls[0].revents)
			return ERROR_NONE;
		if (polls[3].revents)
			return ERROR_CANCELLED;
		if (deadline && clock_monotonic_ms() >= deadline)
			return ERROR_TIMEOUT;
		drain_some(&child->out_fd, out, run, line);
		drain_some(&child->err_fd, errs, run, NULL);
	}
}

static int run_with(const struct proc_run *run, int *ret_status, struct sink *out,
		    struct sink *errs, struct error *err)
{
	struct child child = { .pidfd = -1, .out_fd = -1, .err_fd = -1 };
	if (child_start(run, &child, err) < 0)
		return -1;
	auto_buf struct buf line = BUF_INIT;
	enum error_code why = child_watch(run, &child, out, errs, &line);
	if (why != ERROR_NONE) {
		kill(-child.pid, SIGKILL);
		proc_signal(child.pidfd, SIGKILL); /* it may have left its group */
	}
	int status = reap(child.pid);
	/* A writer that outlives the child may go on for ever: what a pipe holds is enough. */
	for (int i = 0; i < 64 && drain_some(&child.out_fd, out, run, &line); i++)
		;
	for (int i = 0; i < 64 && drain_some(&child.err_fd, errs, run, NULL); i++)
		;
	if (line.len && run->on_line)
		run->on_line(run->cookie, line.data);
	cleanup_close(&child.pidfd);
	cleanup_close(&child.out_fd);
	cleanup_close(&child.err_fd);
	if (why == ERROR_TIMEOUT)
		return error_set(err, why, "'%s' took longer than %llu ms, killed", run->argv[0],
				 (unsigned long long)run->timeout_ms);
	if (why == ERROR_CANCELLED)
		return error_set(err, why, "'%s' was cancelled", run->argv[0]);
	*ret_status = status;
	return 0;
}

int proc_run(const struct proc_run *run, int *ret_status, struct buf *out, struct buf *err_out,
	     struct error *err)
{
	size_t max = run->output_max ? run->output_max : OUTPUT_MAX_DEFAULT;
	struct sink to_out = { .to = out, .max = max };
	struct sink to_err = { .to = err_out, .max = max };
	return run_with(run, ret_status, &to_out, &to_err, err);
}

int proc_check(const struct proc_run *run, struct buf *out, struct error *err)
{
	auto_buf struct buf tail = BUF_INIT;
	struct sink to_out = { .to = out,
			       .max = run->output_max ? run->output_max : OUTPUT_MAX_DEFAULT };
	struct sink to_err = { .to = &tail, .max = TAIL_BYTES, .keep_tail = true };
	int status = 0;
	if (run_with(run, &status, &to_out, &to_err, err) < 0)
		return -1;
	if (status == 0)
		return 0;
	while (tail.len && strchr(" \n\r\t", tail.data[tail.len - 1]))
		tail.data[--tail.len] = '\0';
	if (status > 128)
		error_set(err, ERROR_SYSTEM, "'%s' was killed by signal %d", run->argv[0],
			  status - 128);
	else
		error_set(err, ERROR_SYSTEM, "'%s' failed with status %d", run->argv[0], status);
	return tail.len ? error_append(err, ": %s", tail.data) : -1;
}

/* The status of a process has room for an errno. */
int proc_may_open(const char *path, int flags, const struct proc_user *user, struct error *err)
{
	int status = 0;
	pid_t pid = child_fork();
	if (pid < 0)
		return error_sys(err, "cannot make a process");
	if (pid == 0) {
		int fd = child_become(user) < 0 ? -1 : open(path, flags | O_CLOEXEC);
		_exit(fd >= 0 ? 0 : errno);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
	return errno ? error_sys(err, "user %u cannot open '%s'",
				 user ? (unsigned)user->uid : (unsigned)geteuid(), path)
		     : 0;
}
