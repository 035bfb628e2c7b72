/* The least that can be done between a save and an exec: waits for a file of a directory to be
 * closed after writing, forks, and runs a program. The lower bound for "save to hypervisor".
 *
 *	bench_inotify DIRECTORY PROGRAM [ARGUMENT…]     until it is killed */
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char events[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
	if (argc < 3)
		return 2;
	int fd = inotify_init1(IN_CLOEXEC);
	if (fd < 0 || inotify_add_watch(fd, argv[1], IN_CLOSE_WRITE) < 0) {
		perror(argv[1]);
		return 1;
	}
	signal(SIGCHLD, SIG_IGN);
	puts("ready");
	fflush(stdout);
	while (read(fd, events, sizeof(events)) > 0)
		if (fork() == 0) {
			execv(argv[2], argv + 2);
			_exit(127);
		}
	return 1;
}
