#include "sys/child.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "sys/proc.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/* Of the bounding set too: a set-id program, were one reached all the same, would get nothing. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	return syscall(SYS_capset, &header, none) == 0 ? 0 : -1;
}

int child_bound(uint64_t keep)
{
	int has;
	for (unsigned long cap = 0; (has = prctl(PR_CAPBSET_READ, cap, 0UL, 0UL, 0UL)) >= 0; cap++)
		if (has && !(cap < 64 && keep >> cap & 1) &&
		    prctl(PR_CAPBSET_DROP, cap, 0UL, 0UL, 0UL) < 0)
			return -1;
	return 0;
}

/* By the kernel's calls: libc's would ask threads to follow that this process no longer has. */
int child_become(const struct proc_user *user)
{
	if (!user)
		return 0;
	const gid_t *groups = user->groups ? user->groups : &user->group;
	size_t count = user->groups ? user->group_count : user->group != 0;
	if (child_bound(0) < 0 || syscall(SYS_setgroups, count, groups) < 0 ||
	    syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0 ||
	    syscall(SYS_setresuid, user->uid, user->uid, user->uid) < 0)
		return -1;
	return drop_capabilities();
}

int child_confine(void)
{
	const struct rlimit none = { 0, 0 };
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
}
