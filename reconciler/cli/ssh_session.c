/* Theory of operation: ask the daemon where the VM listens and what its key is, wait while it
 * starts, then run the system's ssh with nothing taken from the user's configuration.
 *
 * ssh ends with 255 when it fails itself, and with the command's status otherwise, which may be 255
 * as well. To tell them apart ssh is told to run a command on this side once it is connected
 * (LocalCommand): `kill -USR1` to us. Without that signal 255 means "never got there", 125 here. */
#include "cli/ssh_session.h"
#include "cli/conn.h"
#include "cli/spawn.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define WAIT_MS	     120000 /* for a VM that is starting */
#define NOTICE_MS    1000
#define POLL_MS	     100
#define LEASE_TRY_MS 500

static volatile sig_atomic_t connected;
static volatile sig_atomic_t ssh_pid;

static void on_connected(int signal)
{
	(void)signal;
	connected = 1;
}

/* Who ends us means the session. */
static void pass_on(int signal)
{
	if (ssh_pid > 0)
		kill((pid_t)ssh_pid, signal);
}

static bool may_ssh(const cJSON *target)
{
	return json_bool(target, "ready", false);
}

static bool may_exec(const cJSON *target)
{
	return may_ssh(target) || json_bool(target, "agent_only", false);
}

static bool has_agent(const cJSON *target)
{
	return json_bool(target, "agent", false);
}

static int wait_until(struct cli *cli, const char *name, uint64_t limit_ms,
		      bool (*enough)(const cJSON *target), cJSON **ret, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	uint64_t start = clock_monotonic_ms();
	bool told = false;
	json_add_str(params, "name", name);
	for (;;) {
		auto_json cJSON *reply = NULL;
		if (conn_call(cli, "vm.ssh", params, &reply, err) < 0)
			return -1;
		uint64_t waited = clock_monotonic_ms() - start;
		if (enough(reply)) {
			*ret = take_ptr(&reply);
			return 0;
		}
		if (waited >= (limit_ms ? limit_ms : WAIT_MS))
			return error_set(err, ERROR_TIMEOUT,
					 "vm '%s' did not become ready within %" PRIu64 " s", name,
					 waited / 1000);
		if (!told && waited >= NOTICE_MS) {
			told = true;
			cli_note(cli, "vm '%s' is %s, waiting for it", name,
				 json_str(reply, "state", "starting"));
		}
		struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
		nanosleep(&pause, NULL);
	}
}

int ssh_wait_ready(struct cli *cli, const char *name, uint64_t limit_ms, cJSON **ret,
		   struct error *err)
{
	return wait_until(cli, name, limit_ms, may_ssh, ret, err);
}

int exec_wait_ready(struct cli *cli, const char *name, uint64_t limit_ms, bool agent, cJSON **ret,
		    struct error *err)
{
	return wait_until(cli, name, limit_ms, agent ? has_agent : may_exec, ret, err);
}

static void handle(int signal, void (*handler)(int), struct sigaction *before)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	sigaction(signal, &action, before);
}

/* The daemon that had our lease is gone: the next one waits a while for us to say so. */
void lease_renew(struct cli *cli, const char *lease)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	struct error ignored;
	conn_close(cli);
	json_add_str(params, "name", lease);
	conn_call(cli, "vm.lease", params, &reply, &ignored);
}

/* Until ssh ends; the connection says nothing unless it ends. */
static void keep_lease(struct cli *cli, const char *lease, pid_t pid)
{
	auto_close int pidfd = proc_pidfd(pid);
	while (pidfd >= 0) {
		struct pollfd fds[2] = { { .fd = pidfd, .events = POLLIN },
					 { .fd = conn_fd(cli), .events = POLLIN } };
		int ready = poll(fds, 2, fds[1].fd < 0 ? LEASE_TRY_MS : -1);
		if (ready > 0 && fds[0].revents)
			return;
		if (fds[1].fd < 0 || (ready > 0 && fds[1].revents))
			lease_renew(cli, lease);
	}
}

static int run_ssh(struct cli *cli, char *const *argv, const char *lease, struct guest_watch *watch,
		   int *ret_status, struct error *err)
{
	struct sigaction interrupt, quit, term, hup, usr;
	pid_t pid;
	connected = 0;
	/* LocalCommand runs under $SHELL, which may be nologin. */
	setenv("SHELL", "/bin/sh", 1);
	handle(SIGUSR1, on_connected, &usr);
	handle(SIGINT, SIG_IGN, &interrupt);
	handle(SIGQUIT, SIG_IGN, &quit);
	const struct spawn spawn = { (const char *const *)argv, -1, -1, -1 };
	int failed = spawn_start(&spawn, &pid, err);
	if (!failed) {
		ssh_pid = pid;
		guest_watch_start(watch, pid);
		handle(SIGTERM, pass_on, &term);
		handle(SIGHUP, pass_on, &hup);
		if (lease)
			keep_lease(cli, lease, pid);
		*ret_status = spawn_wait(pid);
		ssh_pid = 0;
		sigaction(SIGTERM, &term, NULL);
		sigaction(SIGHUP, &hup, NULL);
	}
	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGQUIT, &quit, NULL);
	sigaction(SIGUSR1, &usr, NULL);
	return failed;
}

/* How the VM is, unless that is "ready". */
static char *trouble_of(struct cli *cli, const char *name, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	json_add_str(params, "name", name);
	if (conn_call(cli, "vm.show", params, &reply, err) < 0)
		return xasprintf(": %s", err->text);
	const char *state = json_str(json_get(reply, "vm"), "state", "");
	return strcmp(state, "ready") != 0 ? xasprintf(", it is %s now", state) : NULL;
}

static int guest_gone(struct cli *cli, const char *name, struct error *err)
{
	struct error asked;
	auto_free char *now = trouble_of(cli, name, &asked);
	return error_set(err, ERROR_UNAVAILABLE,
			 "vm '%s' went away meanwhile: its hypervisor ended%s", name,
			 now ? now : ", and it is ready again");
}

int ssh_session(struct cli *cli, struct ssh_command *command, const char *name, const char *lease,
		bool *ret_reached)
{
	struct error err = { 0 };
	struct ssh_argv argv;
	int status = 0;
	struct guest_watch *watch = guest_watch_new(cli, command->target);
	if (!lease)
		conn_close(cli);
	command->verbose = cli->verbose;
	command->notify_pid = getpid();
	ssh_argv_init(&argv, command);
	fflush(cli->io.out);
	int failed = run_ssh(cli, argv.at, lease, watch, &status, &err);
	ssh_argv_clear(&argv);
	bool gone = guest_watch_end(watch);
	if (gone)
		failed = guest_gone(cli, name, &err);
	if (ret_reached)
		*ret_reached = failed < 0 || status != 255 || connected;
	if (failed < 0) {
		cli_fail_vm(cli, name, &err);
		return STATUS_SSH;
	}
	if (status != 255 || connected)
		return status;
	cli_complain(cli, "banger: ssh could not reach vm '%s'", name);
	if (ret_reached)
		return STATUS_SSH;
	cli_hint(cli,
		 "'banger ps %s' shows how it is, 'banger logs %s' what its console said, "
		 "'banger ssh -v %s' what ssh tries",
		 name, name, name);
	return STATUS_SSH;
}

int guest_start(struct cli *cli, struct guest_script *script, pid_t *ret, struct error *err)
{
	const char *const words[] = { "sh", "-c", script->text };
	struct ssh_command command = { .target = script->target, .words = words, .count = 3 };
	struct ssh_argv argv;
	ssh_argv_init(&argv, &command);
	const struct spawn spawn = { (const char *const *)argv.at, script->in, script->out,
				     script->err };
	script->watch = guest_watch_new(cli, script->target);
	int failed = spawn_start(&spawn, ret, err);
	ssh_argv_clear(&argv);
	if (failed == 0)
		guest_watch_start(script->watch, *ret);
	else
		guest_watch_end(take_ptr(&script->watch));
	return failed;
}

int guest_lost(struct cli *cli, const char *name, const char *said, struct error *err)
{
	/* A connection's end may be here before the hypervisor's is: asked again for a second. */
	const struct timespec pause = { .tv_nsec = 250000000 };
	auto_free char *why = xstrdup(said), *trouble = NULL;
	struct error gone = { .code = ERROR_UNAVAILABLE };
	for (int turn = 0; turn < 5 && !trouble; turn++) {
		if (turn > 0)
			nanosleep(&pause, NULL);
		trouble = trouble_of(cli, name, &gone);
	}
	if (trouble)
		return error_set(err, gone.code, "vm '%s' went away meanwhile%s", name, trouble);
	return error_set(err, ERROR_UNAVAILABLE, "the connection to vm '%s' was lost%s%s", name,
			 why[0] ? ": " : "", why);
}

int guest_wait(struct cli *cli, struct guest_script *script, pid_t pid, int *ret_status,
	       struct error *err)
{
	*ret_status = spawn_wait(pid);
	if (guest_watch_end(take_ptr(&script->watch)))
		return guest_gone(cli, script->name, err);
	if (*ret_status != 255)
		return 0;
	auto_free char *said = script->err >= 0 ? spawn_tail(script->err) : xstrdup("");
	return guest_lost(cli, script->name, said, err);
}

int guest_send(struct cli *cli, const struct guest_script *script,
	       int (*send)(void *cookie, int fd, struct error *err), void *cookie, int *ret_status,
	       struct error *err)
{
	struct guest_script piped = *script;
	struct error broken = { 0 };
	pid_t pid;
	int ends[2];
	auto_close int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, "cannot make a pipe");
	auto_close int reader = ends[0];
	auto_close int writer = ends[1];
	piped.in = reader;
	piped.out = null;
	if (guest_start(cli, &piped, &pid, err) < 0)
		return -1;
	close(take_fd(&reader));
	int sent = send(cookie, writer, &broken);
	bool hung_up = sent < 0 && broken.sys == EPIPE;
	if (sent < 0 && !hung_up)
		kill(pid, SIGTERM); /* the end of a stream that is not whole is no end */
	close(take_fd(&writer));
	int reached = guest_wait(cli, &piped, pid, ret_status, err);
	if (sent == 0 || (hung_up && (reached < 0 || *ret_status)))
		return reached;
	*err = broken;
	return -1;
}
