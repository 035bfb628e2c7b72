/* Theory of operation: ask the daemon where the VM listens and what its key is, wait while it
 * starts, then run the system's ssh with nothing taken from the user's configuration.
 *
 * ssh ends with 255 when it fails itself, and with the command's status otherwise, which may be 255
 * as well. To tell them apart ssh is told to run a command on this side once it is connected
 * (LocalCommand): `kill -USR1` to us. Without that signal 255 means "never got there", 125 here. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/ssh_argv.h"
#include "sys/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define WAIT_MS	  120000 /* for a VM that is starting */
#define NOTICE_MS 1000
#define POLL_MS	  100

extern char **environ;

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

static int fail_ssh(struct cli *cli, const struct error *err)
{
	cli_fail_vm(cli, cli->args.words.at[0], err);
	return STATUS_SSH;
}

/* Asks until the VM is ready. */
static int wait_ready(struct cli *cli, cJSON **ret, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	uint64_t limit_ms, start = clock_monotonic_ms();
	bool told = false;
	json_add_str(params, "name", cli->args.words.at[0]);
	if (cli_duration(cli, "timeout", &limit_ms, err) < 0)
		return -1;
	for (;;) {
		auto_json cJSON *reply = NULL;
		if (conn_call(cli, "vm.ssh", params, &reply, err) < 0)
			return -1;
		uint64_t waited = clock_monotonic_ms() - start;
		if (json_bool(reply, "ready", false)) {
			*ret = take_ptr(&reply);
			return 0;
		}
		if (waited >= (limit_ms ? limit_ms : WAIT_MS))
			return error_set(err, ERROR_TIMEOUT,
					 "vm '%s' did not become ready within %" PRIu64 " s",
					 cli->args.words.at[0], waited / 1000);
		if (!told && waited >= NOTICE_MS) {
			told = true;
			cli_note(cli, "vm '%s' is %s, waiting for it", cli->args.words.at[0],
				 json_str(reply, "state", "starting"));
		}
		struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
		nanosleep(&pause, NULL);
	}
}

static void handle(int signal, void (*handler)(int), struct sigaction *before)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	sigaction(signal, &action, before);
}

/* ssh as a child with our terminal; its signals are the default ones. */
static int spawn_ssh(char *const *argv, pid_t *ret, struct error *err)
{
	posix_spawnattr_t attributes;
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	/* LocalCommand runs under $SHELL, which may be nologin. */
	setenv("SHELL", "/bin/sh", 1);
	int failed = posix_spawnp(ret, "ssh", NULL, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	if (!failed)
		return 0;
	errno = failed;
	return error_sys(err, "cannot run ssh (is openssh-client installed?)");
}

static int run_ssh(char *const *argv, int *ret_status, struct error *err)
{
	struct sigaction interrupt, quit, term, hup, usr;
	pid_t pid;
	int status = 0;
	connected = 0;
	handle(SIGUSR1, on_connected, &usr);
	handle(SIGINT, SIG_IGN, &interrupt);
	handle(SIGQUIT, SIG_IGN, &quit);
	int failed = spawn_ssh(argv, &pid, err);
	if (!failed) {
		ssh_pid = pid;
		handle(SIGTERM, pass_on, &term);
		handle(SIGHUP, pass_on, &hup);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		ssh_pid = 0;
		sigaction(SIGTERM, &term, NULL);
		sigaction(SIGHUP, &hup, NULL);
	}
	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGQUIT, &quit, NULL);
	sigaction(SIGUSR1, &usr, NULL);
	if (failed)
		return -1;
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

int cmd_ssh(struct cli *cli)
{
	struct error err = { 0 };
	auto_json cJSON *target = NULL;
	if (wait_ready(cli, &target, &err) < 0)
		return fail_ssh(cli, &err);
	conn_close(cli);
	const struct word_vec *words = &cli->args.words;
	struct ssh_command command = {
		.target = target,
		.words = words->at + 1,
		.count = words->count - 1,
		.tty = cli_flag(cli, "tty"),
		.verbose = cli->verbose,
		.notify_pid = getpid(),
	};
	struct ssh_argv argv;
	ssh_argv_init(&argv, &command);
	int status = 0;
	fflush(cli->io.out);
	int failed = run_ssh(argv.at, &status, &err);
	ssh_argv_clear(&argv);
	if (failed < 0)
		return fail_ssh(cli, &err);
	if (status != 255 || connected)
		return status;
	cli_complain(cli, "banger: ssh could not reach vm '%s'", words->at[0]);
	cli_hint(cli,
		 "'banger ps %s' shows how it is, 'banger logs %s' what its console said, "
		 "'banger ssh -v %s' what ssh tries",
		 words->at[0], words->at[0], words->at[0]);
	return STATUS_SSH;
}
