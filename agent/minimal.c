#include "agent/minimal.h"
#include "agent/console.h"
#include "agent/exec.h"
#include "agent/power.h"
#include "base/vec.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Between two starts of a server that ends at once. */
#define RESPAWN_S 2

static void mount_usual(void)
{
	static const struct {
		const char *type, *path, *options;
	} mounts[] = {
		{ "tmpfs", "/run", "mode=755" },
		{ "devpts", "/dev/pts", "mode=620" },
		{ "tmpfs", "/dev/shm", "mode=1777" },
		{ NULL, "/run/sshd", NULL }, /* sshd wants the folder */
	};
	for (size_t i = 0; i < ARRAY_COUNT(mounts); i++) {
		mkdir(mounts[i].path, 0755);
		if (mounts[i].type && mount(mounts[i].type, mounts[i].path, mounts[i].type,
					    MS_NOSUID, mounts[i].options) < 0)
			console_say("cannot mount '%s': %s, ignoring", mounts[i].path,
				    strerror(errno));
	}
}

static pid_t start(const char *path, const char *const argv[])
{
	static const char *const env[] = { "HOME=/root", "TERM=linux", EXEC_PATH, NULL };
	pid_t pid = fork();
	if (pid)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	exec_program(path, argv, env);
	_exit(127);
}

void minimal_run(bool by_reset)
{
	static const char *const rc[] = { "/etc/rc", NULL };
	static const char *const sshd[] = { "/usr/sbin/sshd", "-D", NULL };
	const struct timespec pause_time = { .tv_sec = RESPAWN_S };
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	mount_usual();
	if (access(rc[0], X_OK) == 0)
		start(rc[0], rc);
	pid_t server = access(sshd[0], X_OK) == 0 ? start(sshd[0], sshd) : -1;
	for (;;) {
		bool down = server == 0;
		int signal = down ? sigtimedwait(&set, NULL, &pause_time) : sigwaitinfo(&set, NULL);
		if (signal == SIGUSR2 || signal == SIGTERM || signal == SIGINT)
			power_off_now(by_reset);
		if (signal < 0 && down)
			server = start(sshd[0], sshd);
		for (pid_t ended; (ended = waitpid(-1, NULL, WNOHANG)) > 0;)
			if (ended == server)
				server = 0;
	}
}
