#include "cli/spawn.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define TAIL_MAX 400

extern char **environ;

int spawn_start(const struct spawn *spawn, pid_t *ret, struct error *err)
{
	posix_spawnattr_t attributes;
	posix_spawn_file_actions_t files;
	sigset_t all, none;
	const int fds[3] = { spawn->in, spawn->out, spawn->err };
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&files);
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			posix_spawn_file_actions_adddup2(&files, fds[i], i);
	/* posix_spawn() takes char *const * for history's sake and writes to none of them. */
	union {
		const char *const *in;
		char *const *out;
	} argv = { .in = spawn->argv };
	int failed = posix_spawnp(ret, spawn->argv[0], &files, &attributes, argv.out, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	if (!failed)
		return 0;
	errno = failed;
	return error_sys(err, "cannot run %s (is it installed?)", spawn->argv[0]);
}

int spawn_wait(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int spawn_check(const struct spawn *spawn, struct error *err)
{
	struct spawn kept = *spawn;
	pid_t pid;
	auto_close int said = spawn_scratch(err);
	if (said < 0)
		return -1;
	kept.err = said;
	if (spawn_start(&kept, &pid, err) < 0)
		return -1;
	int status = spawn_wait(pid);
	if (!status)
		return 0;
	auto_free char *tail = spawn_tail(said);
	return error_set(err, ERROR_SYSTEM, "%s ended with %d%s%s", spawn->argv[0], status,
			 tail[0] ? ": " : "", tail);
}

int spawn_scratch(struct error *err)
{
	int fd = memfd_create("banger", MFD_CLOEXEC);
	return fd < 0 ? error_sys(err, "cannot make a file in memory") : fd;
}

char *spawn_tail(int fd)
{
	char text[TAIL_MAX + 1];
	off_t size = lseek(fd, 0, SEEK_END), from = size > TAIL_MAX ? size - TAIL_MAX : 0;
	ssize_t got = pread(fd, text, TAIL_MAX, from);
	size_t len = got > 0 ? (size_t)got : 0;
	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\n')
			text[i] = ';';
		else if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	return xstrdup(text);
}
