#include "sys/proc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <time.h>

#define CMDLINE_MAX 131072

static int open_entry(int proc_dirfd, pid_t pid, const char *file)
{
	char path[64];
	snprintf(path, sizeof(path), "%d/%s", (int)pid, file);
	return openat(proc_dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

/* At most max bytes, appended; a process that ends while it is read is gone (ESRCH). */
static int read_entry(int proc_dirfd, pid_t pid, const char *file, size_t max, struct buf *ret)
{
	auto_close int fd = open_entry(proc_dirfd, pid, file);
	if (fd < 0)
		return -1;
	while (max) {
		size_t want = max < 16384 ? max : 16384;
		ssize_t got = read(fd, buf_grow(ret, want), want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			return 0;
		buf_grown(ret, (size_t)got);
		max -= (size_t)got;
	}
	return 0;
}

/* "pid (comm) S ppid …": comm may hold spaces and parentheses, so the last ')' ends it. */
int proc_stat_parse(const char *text, char *ret_state, uint64_t *ret_start_ticks)
{
	const char *at = strrchr(text, ')');
	if (!at || at[1] != ' ' || !isalpha((unsigned char)at[2]))
		return -1;
	char state = at[2];
	at += 2;
	for (int field = 3; field < 22; field++) {
		at = strchr(at, ' ');
		if (!at)
			return -1;
		at++;
	}
	if (!isdigit((unsigned char)*at))
		return -1;
	*ret_start_ticks = strtoull(at, NULL, 10);
	*ret_state = state;
	return 0;
}

static int read_stat(int proc_dirfd, pid_t pid, char *ret_state, uint64_t *ret_start_ticks)
{
	auto_buf struct buf text = BUF_INIT;
	if (read_entry(proc_dirfd, pid, "stat", 4096, &text) < 0)
		return -1;
	return proc_stat_parse(text.data, ret_state, ret_start_ticks);
}

int proc_start_ticks(int proc_dirfd, pid_t pid, uint64_t *ret)
{
	char state;
	return read_stat(proc_dirfd, pid, &state, ret);
}

int64_t proc_started_ms(uint64_t start_ticks)
{
	struct timespec up;
	clock_gettime(CLOCK_BOOTTIME, &up);
	int64_t since_boot = (int64_t)(start_ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
	return clock_wall_ms() - ((int64_t)up.tv_sec * 1000 + up.tv_nsec / 1000000 - since_boot);
}

bool proc_is_zombie(int proc_dirfd, pid_t pid)
{
	char state;
	uint64_t ticks;
	return read_stat(proc_dirfd, pid, &state, &ticks) == 0 && (state == 'Z' || state == 'X');
}

bool proc_is_stopped(int proc_dirfd, pid_t pid)
{
	char state;
	uint64_t ticks;
	return read_stat(proc_dirfd, pid, &state, &ticks) == 0 && state == 'T';
}

int proc_cmdline(int proc_dirfd, pid_t pid, struct buf *ret)
{
	return read_entry(proc_dirfd, pid, "cmdline", CMDLINE_MAX, ret);
}

/* buf's NUL after the last byte ends an argument that was cut off at CMDLINE_MAX. */
const char *proc_arg_next(const struct buf *cmdline, const char *arg)
{
	const char *end = cmdline->data + cmdline->len;
	const char *next = arg ? arg + strlen(arg) + 1 : cmdline->data;
	return next < end ? next : NULL;
}

const char *proc_arg_after(const struct buf *cmdline, const char *option)
{
	const char *arg = NULL;
	while ((arg = proc_arg_next(cmdline, arg)))
		if (!strcmp(arg, option))
			return proc_arg_next(cmdline, arg);
	return NULL;
}

char *proc_describe(pid_t pid)
{
	auto_buf struct buf name = BUF_INIT;
	auto_close int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0 || read_entry(proc, pid, "comm", 64, &name) < 0 || name.len < 2)
		return xasprintf("pid %d", (int)pid);
	name.data[strcspn(name.data, "\n")] = '\0';
	return xasprintf("%s (pid %d)", name.data, (int)pid);
}

static pid_t entry_pid(const char *name)
{
	long pid = 0;
	for (; isdigit((unsigned char)*name); name++) {
		pid = pid * 10 + (*name - '0');
		if (pid > INT_MAX)
			return -1;
	}
	return *name ? -1 : (pid_t)pid;
}

int proc_each(int proc_dirfd, int (*fn)(void *cookie, pid_t pid), void *cookie)
{
	auto_dir DIR *dir = fs_list(proc_dirfd, ".");
	if (!dir)
		return -1;
	for (struct dirent *entry; (entry = readdir(dir));) {
		pid_t pid = entry_pid(entry->d_name);
		int result = pid > 0 ? fn(cookie, pid) : 0;
		if (result)
			return result;
	}
	return 0;
}

int proc_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0); /* CLOEXEC by nature */
}

int proc_signal(int pidfd, int signal)
{
	if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0)
		return 0;
	return errno == ESRCH ? 0 : -1;
}

int proc_wait_gone(int pidfd, uint64_t timeout_ms)
{
	uint64_t now = clock_monotonic_ms();
	uint64_t deadline = now + (timeout_ms > INT_MAX ? INT_MAX : timeout_ms);
	for (;; now = clock_monotonic_ms()) {
		struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };
		int got = poll(&poll_fd, 1, now < deadline ? (int)(deadline - now) : 0);
		if (got > 0)
			return poll_fd.revents & POLLIN ? 0 : -1;
		if (got == 0)
			return -1;
		if (errno != EINTR)
			return -1;
	}
}

bool lock_is_held(int dirfd, const char *name)
{
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
