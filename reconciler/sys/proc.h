/* sys/proc.h - processes: run one and wait, start one that outlives us, look at one that exists.
 *
 * Never a shell. The child does only async-signal-safe things between fork and exec; a failed exec
 * comes back as an error. A foreign process is pinned by a pidfd first and looked at after. */
#ifndef SYS_PROC_H
#define SYS_PROC_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Whom a process runs as. A number need not have a name. */
struct proc_user {
	uid_t uid;
	gid_t gid;
	gid_t group;	     /* the only one beside gid; 0: none */
	const gid_t *groups; /* or all of them, for one who is in more; borrowed */
	size_t group_count;
};

struct proc_run {
	const char *const *argv; /* NULL-terminated; argv[0] looked up in PATH */
	const char *const *env;	 /* extra NAME=VALUE, NULL-terminated; NULL: none */
	const char *cwd;	 /* NULL: unchanged */
	uint64_t timeout_ms;	 /* 0: none; then SIGKILL to its process group, ERROR_TIMEOUT */
	int cancel_fd;		 /* readable: kill it, ERROR_CANCELLED; -1 or 0: none */
	/* It works on files and needs nothing else: as root, none of its rights but to open them */
	bool files_only;
	const struct proc_user *user; /* as this one, without capabilities; NULL: as we are */
	size_t output_max;	      /* of out and of err each; 0: 64 KiB. More is dropped. */
	/* called for each line of stdout (no newline; an unfinished last one too), in the calling
	 * thread; may be NULL */
	void (*on_line)(void *cookie, const char *line);
	void *cookie;
};
/* Waits. 0: it ran, *ret_status is its exit status (128+signal when killed). out/err may be NULL.
 */
int proc_run(const struct proc_run *run, int *ret_status, struct buf *out, struct buf *err_out,
	     struct error *err);
/* The same, but a non-zero exit is an error that quotes the tail of stderr. */
int proc_check(const struct proc_run *run, struct buf *out, struct error *err);

/* Can that user open it? Asked by doing so, in a process of its own. -1: no, errno in err->sys. */
int proc_may_open(const char *path, int flags, const struct proc_user *user, struct error *err);

struct proc_detach {
	const char *const *argv;
	int dirfd;	       /* working directory of the new process */
	const char *lock_name; /* below dirfd: created, locked (flock) in the child before exec and
				* inherited; held already: ERROR_BUSY, nothing was started. NULL:
				* none */
	/* The lock is the new process's standard input, for one that closes all other descriptors
	 * before it becomes the program that is to hold it. */
	bool lock_is_stdin;
	const char *log_name; /* below dirfd: stdout and stderr, 0600; NULL: /dev/null */
	bool log_append;      /* keep what is in the log; else it is truncated */
	/* Below dirfd: a FIFO for stdout instead, opened in both directions, so that writing
	 * neither waits for a reader nor fails without one. NULL: none */
	const char *output_fifo;
	/* It becomes that user after all of the above was opened, without any capability; NULL: it
	 * stays what we are. */
	const struct proc_user *user;
	/* It and what it runs never get more rights than that (no_new_privs), and leave no core:
	 * the memory of a guest is nobody's to find on a disk. */
	bool confined;
	const int *keep_fds; /* kept open besides 0-2 and the lock; ends with -1; NULL: none */
};
/* Starts a process that is nobody's child (own session, parent 1, default signal mask and
 * dispositions). Returns when its exec succeeded. *ret_pidfd: caller's. */
int proc_detach(const struct proc_detach *detach, pid_t *ret_pid, int *ret_pidfd,
		struct error *err);

/* Absolute path of a program: PATH, then the usual sbin and bin. Caller frees; NULL: not there. */
char *proc_find(const char *name);

/* Facts of /proc/<pid>; -1 when it is gone. proc_dirfd: open /proc (tests pass a fake one). */
int proc_start_ticks(int proc_dirfd, pid_t pid, uint64_t *ret); /* field 22 of stat */
/* Such a start time on the wall clock, as it is set now. */
int64_t proc_started_ms(uint64_t start_ticks);
bool proc_is_zombie(int proc_dirfd, pid_t pid);	 /* false when it is gone */
bool proc_is_stopped(int proc_dirfd, pid_t pid); /* by a signal */
/* The text of /proc/<pid>/stat; -1 when it is not one. */
int proc_stat_parse(const char *text, char *ret_state, uint64_t *ret_start_ticks);
/* argv[] NUL-separated as the kernel shows it, at most 128 KiB. */
int proc_cmdline(int proc_dirfd, pid_t pid, struct buf *ret);
/* Walks such a cmdline: the argument after arg (NULL: the first); NULL at the end. */
const char *proc_arg_next(const struct buf *cmdline, const char *arg);
/* The argument that follows option ("-name"); NULL when there is none. */
const char *proc_arg_after(const struct buf *cmdline, const char *option);
/* "qemu-system-x86 (pid 412)" for people; the name is the process's comm. Caller frees. */
char *proc_describe(pid_t pid);
/* Calls fn for every numeric entry; a non-zero return stops and is returned. */
int proc_each(int proc_dirfd, int (*fn)(void *cookie, pid_t pid), void *cookie);

int proc_pidfd(pid_t pid);			    /* pidfd_open, CLOEXEC; -1 with errno */
int proc_signal(int pidfd, int signal);		    /* 0 also when it is already gone */
int proc_wait_gone(int pidfd, uint64_t timeout_ms); /* 0 gone, -1 still there */
/* Somebody holds the flock on it. Takes it shared for a moment (see proc_detach.c); no such file:
 * false. */
bool lock_is_held(int dirfd, const char *name);

#endif
