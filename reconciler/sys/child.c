#include "sys/child.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "sys/proc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* mke2fs and friends live where the PATH of an ordinary user does not look. */
#define ALWAYS_SEARCHED "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Relative entries of PATH are skipped: what runs must not depend on where we stand. */
static char *find_in(const char *path, const char *name)
{
	for (const char *at = path; at; at = strchr(at, ':')) {
		at += *at == ':';
		size_t len = strcspn(at, ":");
		if (*at != '/')
			continue;
		char *file = xasprintf("%.*s/%s", (int)len, at, name);
		struct stat st;
		if (stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0)
			return file;
		free(file);
	}
	return NULL;
}

char *proc_find(const char *name)
{
	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? xstrdup(name) : NULL;
	const char *path = secure_getenv("PATH");
	char *file = path && *name ? find_in(path, name) : NULL;
	return file || !*name ? file : find_in(ALWAYS_SEARCHED, name);
}

char *child_program(const char *name, struct error *err)
{
	if (strchr(name, '/'))
		return xstrdup(name);
	char *file = proc_find(name);
	if (!file) {
		error_set(err, ERROR_SYSTEM, "cannot run '%s': no such program in PATH", name);
		err->sys = ENOENT;
	}
	return file;
}

static const char *find_same_name(const char *const *vars, const char *var)
{
	size_t len = strcspn(var, "=");
	for (; vars && *vars; vars++)
		if (!strncmp(*vars, var, len) && (*vars)[len] == '=')
			return *vars;
	return NULL;
}

char **child_environment(const char *const *extra)
{
	size_t have = 0, more = 0, count = 0;
	while (environ && environ[have])
		have++;
	while (extra && extra[more])
		more++;
	char **all = xcalloc(have + more + 1, sizeof(*all));
	for (size_t i = 0; i < have; i++)
		if (!find_same_name(extra, environ[i]))
			all[count++] = environ[i];
	/* execve() takes char *const[] but does not write to the strings. */
	if (more)
		memcpy(all + count, extra, more * sizeof(*all));
	return all;
}

pid_t child_fork(void)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t pid = -1;
	if (FAULT("fork", NULL))
		errno = EAGAIN;
	else
		pid = fork();
	if (pid == 0)
		return 0;
	int saved = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
	return pid;
}

void child_signals_default(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &action, NULL); /* KILL, STOP and libc's own refuse: fine */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
