/* By a thread, as we may be in the middle of writing a stream into that ssh. */
#include "cli/guest_watch.h"
#include "cli/conn.h"
#include "sys/proc.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

/* What ssh has received is still its to write, and mostly it learns of the end by itself. */
#define GRACE_MS 1500
#define TERM_MS	 1000

struct guest_watch {
	int hypervisor, ssh; /* pidfds; -1: none */
	bool gone;	     /* hypervisor: before we could look */
	bool started, ended_it;
	pthread_t thread;
};

struct guest_watch *guest_watch_new(struct cli *cli, const cJSON *target)
{
	struct error err;
	auto_json cJSON *params = cJSON_CreateObject();
	struct guest_watch *watch = xcalloc(1, sizeof(*watch));
	watch->hypervisor = watch->ssh = -1;
	json_add_str(params, "name", json_str(target, "name", ""));
	json_add_int(params, "run", json_int(target, "run", 0));
	/* A daemon that is older, or gone: then ssh finds out in its own time. */
	if (conn_call_for_fd(cli, "vm.pidfd", params, &watch->hypervisor, &err) < 0)
		watch->gone = err.code == ERROR_CONFLICT;
	return watch;
}

static bool ssh_ends_within(const struct guest_watch *watch, int timeout_ms)
{
	struct pollfd fd = { .fd = watch->ssh, .events = POLLIN };
	return poll(&fd, 1, timeout_ms) > 0;
}

static void *look_on(void *arg)
{
	struct guest_watch *watch = arg;
	struct pollfd fds[2] = { { .fd = watch->ssh, .events = POLLIN },
				 { .fd = watch->hypervisor, .events = POLLIN } };
	while (!watch->gone) {
		poll(fds, 2, -1);
		if (fds[0].revents)
			return NULL;
		watch->gone = fds[1].revents != 0;
	}
	if (ssh_ends_within(watch, GRACE_MS))
		return NULL;
	watch->ended_it = true;
	proc_signal(watch->ssh, SIGTERM);
	if (!ssh_ends_within(watch, TERM_MS))
		proc_signal(watch->ssh, SIGKILL);
	return NULL;
}

void guest_watch_start(struct guest_watch *watch, pid_t ssh)
{
	sigset_t all, before;
	watch->ssh = proc_pidfd(ssh);
	if (watch->ssh < 0 || (watch->hypervisor < 0 && !watch->gone))
		return;
	sigfillset(&all); /* they are for who waits for ssh */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	watch->started = pthread_create(&watch->thread, NULL, look_on, watch) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool guest_watch_end(struct guest_watch *watch)
{
	if (!watch)
		return false;
	if (watch->started)
		pthread_join(watch->thread, NULL);
	bool ended_it = watch->ended_it;
	cleanup_close(&watch->hypervisor);
	cleanup_close(&watch->ssh);
	free(watch);
	return ended_it;
}
