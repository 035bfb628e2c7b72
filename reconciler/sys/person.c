/* Theory of operation
 *
 * The one who reads is a copy of this process, not a program: what it is may be neither traced nor
 * looked into by the person (it is not dumpable, as it was root), and gets neither our environment
 * nor our descriptors nor our directory, which /proc/self would lead to. What procfs itself shows
 * there is of us too, so files of it are refused.
 *
 * It is nobody's child and ends itself by an alarm: on a file system that never answers (FUSE, NFS)
 * it cannot be killed, and must not keep the thread that asked. It answers in memory that both
 * share; that it is done is told by the end of a pipe. */
#include "sys/person.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/child.h"
#include "sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_S	   10u
#define ENTRY_MAX  16384
#define GROUPS_MAX 65536

/* --- who it is --- */

static void find_groups(const char *name, struct person *ret)
{
	int room = 64, count;
	do {
		count = room;
		ret->groups = xreallocarray(ret->groups, (size_t)room, sizeof(*ret->groups));
		if (getgrouplist(name, ret->gid, ret->groups, &count) >= 0) {
			ret->group_count = (size_t)count;
			return;
		}
		room = count > room ? count : room * 2;
	} while (room <= GROUPS_MAX);
	ret->group_count = 0; /* fewer rights than he has are no harm */
}

int person_find(uid_t uid, struct person *ret, struct error *err)
{
	struct passwd entry, *found = NULL;
	char room[ENTRY_MAX];
	int code = getpwuid_r(uid, &entry, room, sizeof(room), &found);
	if (!found && code && code != ENOENT && code != ESRCH) {
		errno = code;
		return error_sys(err, "cannot look up user %u", (unsigned)uid);
	}
	if (!found)
		return error_set(err, ERROR_NOT_FOUND, "there is no user %u", (unsigned)uid);
	*ret = (struct person){ .uid = uid, .gid = found->pw_gid, .home = xstrdup(found->pw_dir) };
	find_groups(found->pw_name, ret);
	return 0;
}

void person_clear(struct person *person)
{
	free(person->groups);
	free(person->home);
	*person = (struct person){ 0 };
}

/* --- the one who reads: async-signal-safe calls only --- */

struct answer {
	enum { ANSWER_NONE, ANSWER_BYTES, ANSWER_ERRNO, ANSWER_NO_FILE, ANSWER_TOO_LARGE } kind;
	int code;
	size_t len;
	char bytes[];
};

struct question {
	const char *path;
	size_t max;
	const struct proc_user *user; /* NULL: we are nobody to become another */
	int done_fd;
	struct answer *answer;
};

static void fail(struct answer *answer)
{
	answer->code = errno;
	answer->kind = ANSWER_ERRNO;
}

static void read_bytes(int fd, size_t max, struct answer *answer)
{
	/* One byte more than allowed tells "exactly full" from "too large". */
	while (answer->len <= max) {
		ssize_t got = read(fd, answer->bytes + answer->len, max + 1 - answer->len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			fail(answer);
			return;
		}
		answer->len += (size_t)got;
		if (got == 0) {
			answer->kind = ANSWER_BYTES;
			return;
		}
	}
	answer->kind = ANSWER_TOO_LARGE;
}

static void read_file(const struct question *question)
{
	struct answer *answer = question->answer;
	struct stat st;
	struct statfs fs;
	int fd = open(question->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		fail(answer);
	else if (!S_ISREG(st.st_mode) || fs.f_type == PROC_SUPER_MAGIC)
		answer->kind = ANSWER_NO_FILE;
	else
		read_bytes(fd, question->max, answer);
}

static _Noreturn void reader_main(const struct question *question)
{
	struct answer *answer = question->answer;
	/* Descriptor 0 is the only one it keeps: who writes it has ended when its end is seen. */
	if (dup2(question->done_fd, 0) < 0 || close_range(1, UINT_MAX, 0) < 0 || chdir("/") < 0 ||
	    child_become(question->user) < 0 || child_confine() < 0 ||
	    prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL) < 0) {
		fail(answer);
		_exit(1);
	}
	child_signals_default();
	alarm(READ_S);
	read_file(question);
	_exit(0);
}

static _Noreturn void between_main(const struct question *question)
{
	pid_t pid = fork();
	if (pid == 0)
		reader_main(question);
	if (pid < 0)
		fail(question->answer);
	_exit(0);
}

/* --- the one who asks --- */

static int wait_done(int fd)
{
	uint64_t deadline = clock_monotonic_ms() + (uint64_t)READ_S * 1000;
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		if (now >= deadline)
			return -1;
		if (poll(&poll_fd, 1, (int)(deadline - now)) > 0)
			return 0;
	}
}

static int ask(struct question *question, struct error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, "cannot read file '%s'", question->path);
	auto_close int done = ends[0];
	auto_close int write_end = ends[1];
	question->done_fd = write_end;
	pid_t pid = child_fork();
	if (pid == 0)
		between_main(question);
	if (pid < 0)
		return error_sys(err, "cannot read file '%s'", question->path);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(take_fd(&write_end));
	if (wait_done(done) < 0)
		return error_set(err, ERROR_TIMEOUT, "file '%s' was not read within %u s",
				 question->path, READ_S);
	return 0;
}

static int take_answer(const struct question *question, struct buf *ret, struct error *err)
{
	const struct answer *answer = question->answer;
	switch (answer->kind) {
	case ANSWER_BYTES:
		buf_add_bytes(ret, answer->bytes, answer->len);
		return 0;
	case ANSWER_ERRNO:
		errno = answer->code;
		return error_sys(err, "file '%s'", question->path);
	case ANSWER_NO_FILE:
		return error_set(err, ERROR_INVALID, "file '%s' is not a regular file",
				 question->path);
	case ANSWER_TOO_LARGE:
		error_set(err, ERROR_INVALID, "file '%s' is larger than %zu bytes", question->path,
			  question->max);
		err->sys = EFBIG;
		return -1;
	case ANSWER_NONE:
		break;
	}
	return error_set(err, ERROR_SYSTEM, "file '%s': the process that read it was killed",
			 question->path);
}

int person_read(const struct person *person, const char *path, size_t max_bytes, struct buf *ret,
		struct error *err)
{
	const struct proc_user user = { .uid = person->uid,
					.gid = person->gid,
					.groups = person->groups,
					.group_count = person->group_count };
	size_t size = sizeof(struct answer) + max_bytes + 1;
	if (!person->uid)
		BUG("root is nobody to read as");
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED)
		return error_sys(err, "cannot read file '%s'", path);
	struct question question = {
		.path = path,
		.max = max_bytes,
		.user = geteuid() == person->uid ? NULL : &user,
		.answer = shared,
	};
	int failed = ask(&question, err);
	if (failed == 0)
		failed = take_answer(&question, ret, err);
	munmap(shared, size);
	return failed;
}
