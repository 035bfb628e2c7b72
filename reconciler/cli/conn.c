/* Theory of operation: connect to <runtime>/bangerd.sock. Nobody there: take the lock start.lock,
 * look again (another banger may have been faster), run bangerd detached with its output in
 * <state>/bangerd.log, and knock until it answers, ends, or START_MS are over; or, where it is a
 * unit of systemd, have that start it. The lock only orders the callers; that there is one daemon
 * is bangerd's own business. */
#include "cli/conn.h"
#include "cli/unit.h"
#include "rpc/rpc.h"
#include "sys/loop.h"
#include "sys/proc.h"
#include "sys/unix.h"
#include "base/fs.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define CONNECT_MS   2000
#define START_MS     15000
#define KNOCK_MS     10
#define OPEN_TRIES   3
#define LIST_MAX     1000000 /* items of a paged list */
#define LOG_TAIL_MAX 300
#define LOG_MAX	     (4 << 20) /* then the next daemon begins a new one */

struct conn {
	struct rpc_client *client;
	struct daemon_info daemon;
	int fd; /* the client's */
};

static int open_dir(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, "cannot open '%s'", path);
	return fd;
}

/* The program beside this one, else the one in PATH. */
static char *daemon_program(const struct cli *cli)
{
	const char *given = secure_getenv("BANGER_DAEMON");
	if (given && given[0] == '/')
		return xstrdup(given);
	char *beside = xasprintf("%s/bangerd", cli->paths.bin);
	if (access(beside, X_OK) == 0)
		return beside;
	free(beside);
	return xstrdup("bangerd");
}

/* The last line of the log says why it ended. */
static void add_log_tail(struct cli *cli, int state_dir, struct error *err)
{
	auto_buf struct buf log = BUF_INIT;
	struct error ignored;
	auto_close int fd = openat(state_dir, "bangerd.log", O_RDONLY | O_CLOEXEC);
	(void)cli;
	if (fd < 0)
		return;
	off_t end = lseek(fd, 0, SEEK_END);
	if (end > LOG_TAIL_MAX)
		lseek(fd, end - LOG_TAIL_MAX, SEEK_SET);
	else
		lseek(fd, 0, SEEK_SET);
	if (fs_read_fd(fd, "bangerd.log", LOG_TAIL_MAX, &log, &ignored) < 0)
		return;
	while (log.len && log.data[log.len - 1] == '\n')
		log.data[--log.len] = '\0';
	const char *last = strrchr(log.data, '\n');
	if (log.len)
		error_append(err, "; it said: %s", last ? last + 1 : log.data);
}

/* Knocks until it answers. Returns the socket. */
static int wait_for_socket(struct cli *cli, int runtime_dir, int state_dir, int pidfd,
			   struct error *err)
{
	uint64_t end = clock_monotonic_ms() + START_MS;
	for (;;) {
		int fd = unix_connect(runtime_dir, RPC_SOCKET, CONNECT_MS, 0, err);
		if (fd >= 0)
			return fd;
		bool gone = proc_wait_gone(pidfd, KNOCK_MS) == 0;
		if (!gone && clock_monotonic_ms() < end)
			continue;
		fd = unix_connect(runtime_dir, RPC_SOCKET, CONNECT_MS, 0, err);
		if (fd >= 0)
			return fd;
		if (gone)
			error_set(err, ERROR_UNAVAILABLE, "bangerd ended while it started");
		else
			error_set(err, ERROR_UNAVAILABLE,
				  "bangerd was started but did not answer within %d s",
				  START_MS / 1000);
		add_log_tail(cli, state_dir, err);
		return -1;
	}
}

static int start_one(struct cli *cli, int runtime_dir, int state_dir, struct error *err)
{
	auto_free char *program = daemon_program(cli);
	const char *const argv[] = { program, cli->paths.system ? "--system" : NULL, NULL };
	const struct proc_detach detach = {
		.argv = argv, .dirfd = state_dir, .log_name = "bangerd.log", .log_append = true
	};
	pid_t pid;
	auto_close int pidfd = -1;
	if (cli->verbose)
		cli_note(cli, "starting %s", program);
	if (proc_detach(&detach, &pid, &pidfd, err) < 0) {
		error_wrap(err, "cannot start bangerd");
		err->code = ERROR_UNAVAILABLE;
		return -1;
	}
	return wait_for_socket(cli, runtime_dir, state_dir, pidfd, err);
}

static int start_daemon(struct cli *cli, int runtime_dir, struct error *err)
{
	auto_close int lock =
		openat(runtime_dir, "start.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return error_sys(err, "cannot lock '%s/start.lock'", cli->paths.runtime);
	int fd = unix_connect(runtime_dir, RPC_SOCKET, CONNECT_MS, 0, err);
	if (fd >= 0)
		return fd;
	if (unit_is_there(&cli->paths))
		return unit_start(err) < 0
			       ? -1
			       : unix_connect(runtime_dir, RPC_SOCKET, CONNECT_MS, 0, err);
	auto_close int state_dir = open_dir(cli->paths.state, err);
	if (state_dir < 0)
		return -1;
	struct stat log;
	if (fstatat(state_dir, "bangerd.log", &log, AT_SYMLINK_NOFOLLOW) == 0 &&
	    log.st_size > LOG_MAX)
		renameat(state_dir, "bangerd.log", state_dir, "bangerd.log.1");
	/* One that ends may take a while to let go of its lock: jobs under way, a busy disk. One
	 * that begins may be of a client that was killed over it, and writes in the same log. */
	uint64_t end = clock_monotonic_ms() + START_MS;
	for (;;) {
		bool held = lock_is_held(state_dir, PATHS_LOCK);
		fd = start_one(cli, runtime_dir, state_dir, err);
		if (fd >= 0 || clock_monotonic_ms() > end)
			return fd;
		held |= lock_is_held(state_dir, PATHS_LOCK);
		if (!held && !strstr(err->text, "another bangerd works on"))
			return -1;
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
}

static int does_not_run(const struct cli *cli, bool start, struct error *err)
{
	const char *remedy = !start			  ? ""
			     : unit_is_there(&cli->paths) ? ", as root: systemctl start bangerd"
							  : ", only root can start it";
	return error_set(err, ERROR_UNAVAILABLE, "bangerd%s does not run%s",
			 cli->system ? " --system" : "", remedy);
}

static int connect_daemon(struct cli *cli, bool start, struct error *err)
{
	if (!cli->paths.runtime && paths_init(&cli->paths, cli->system, err) < 0)
		return -1;
	auto_close int runtime_dir = open_dir(cli->paths.runtime, err);
	if (runtime_dir < 0)
		return cli_is_member(cli) && err->sys == ENOENT ? does_not_run(cli, start, err)
								: -1;
	int fd = unix_connect(runtime_dir, RPC_SOCKET, CONNECT_MS, 0, err);
	if (fd >= 0)
		return fd;
	if (cli->system && err->sys == EACCES)
		return error_set(err, ERROR_UNAVAILABLE,
				 "you may not use '%s/" RPC_SOCKET
				 "': the VMs of the machine are for "
				 "root and members of the group 'banger' (sudo usermod -aG banger "
				 "USER, then log in again)",
				 cli->paths.runtime);
	if (err->sys != ECONNREFUSED && err->sys != ENOENT) {
		err->code = ERROR_UNAVAILABLE;
		return -1;
	}
	if (!start || cli_is_member(cli))
		return does_not_run(cli, start, err);
	return start_daemon(cli, runtime_dir, err);
}

static void warn_of_skew(struct cli *cli, const struct daemon_info *daemon)
{
	bool commits = strcmp(daemon->commit, "unknown") != 0 && strcmp(cli_commit, "unknown") != 0;
	if (!strcmp(daemon->version, cli_version) &&
	    (!commits || !strcmp(daemon->commit, cli_commit)))
		return;
	cli_note(cli, "warning: bangerd is %s (%s), this is %s (%s)", daemon->version,
		 daemon->commit, cli_version, cli_commit);
	cli_hint(cli, "'banger daemon stop' ends the old one, the next command starts the new one; "
		      "VMs run on");
}

static int ask_who(struct cli *cli, struct error *err)
{
	auto_json cJSON *pong = NULL;
	struct daemon_info *daemon = &cli->conn->daemon;
	if (rpc_call(cli->conn->client, "ping", NULL, NULL, 0, CONN_CALL_MS, &pong, err) < 0)
		return -1;
	snprintf(daemon->version, sizeof(daemon->version), "%s", json_str(pong, "version", ""));
	snprintf(daemon->commit, sizeof(daemon->commit), "%s", json_str(pong, "commit", "unknown"));
	daemon->pid = json_int(pong, "pid", 0);
	daemon->started_ms = json_int(pong, "started_ms", 0);
	daemon->vms = json_int(pong, "vms", 0);
	daemon->running = json_int(pong, "running", 0);
	return 0;
}

static int open_once(struct cli *cli, bool start, struct error *err)
{
	int fd = connect_daemon(cli, start, err);
	if (fd < 0)
		return -1;
	cli->conn = xcalloc(1, sizeof(*cli->conn));
	cli->conn->client = rpc_client_new(fd);
	cli->conn->fd = fd;
	if (ask_who(cli, err) == 0)
		return 0;
	conn_close(cli);
	return -1;
}

static bool was_cut(const struct error *err)
{
	return err->sys == EPIPE || err->sys == ECONNRESET;
}

int conn_open(struct cli *cli, bool start, struct error *err)
{
	if (cli->conn)
		return 0;
	signal(SIGPIPE, SIG_IGN);
	int opened = open_once(cli, start, err);
	/* The socket of a dying daemon lets callers in until it is closed. To ask who is there
	 * changes nothing, so ask again: the next one, or one of our own. */
	for (int i = 1; i < OPEN_TRIES && start && opened < 0 && was_cut(err); i++)
		opened = open_once(cli, start, err);
	if (opened < 0)
		return -1;
	if (start)
		warn_of_skew(cli, &cli->conn->daemon);
	return 0;
}

void conn_close(struct cli *cli)
{
	if (!cli->conn)
		return;
	rpc_client_free(cli->conn->client);
	free(cli->conn);
	cli->conn = NULL;
}

const struct daemon_info *conn_daemon(const struct cli *cli)
{
	return &cli->conn->daemon;
}

int conn_fd(const struct cli *cli)
{
	return cli->conn ? cli->conn->fd : -1;
}

bool conn_is_lost(const struct error *err)
{
	return err->code == ERROR_UNAVAILABLE || was_cut(err);
}

int conn_call_fd(struct cli *cli, const char *method, const cJSON *params, int fd, cJSON **ret,
		 struct error *err)
{
	if (conn_open(cli, true, err) < 0)
		return -1;
	if (rpc_call(cli->conn->client, method, params, fd >= 0 ? &fd : NULL, fd >= 0, CONN_CALL_MS,
		     ret, err) == 0)
		return 0;
	if (conn_is_lost(err) || err->code == ERROR_TIMEOUT)
		conn_close(cli);
	return -1;
}

static int take_descriptor(int from, struct error *err)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	char byte;
	struct iovec bytes = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int fd;
	ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	const struct cmsghdr *c = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return error_set(err, ERROR_SYSTEM, "bangerd did not hand over what was asked for");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int conn_call_for_fd(struct cli *cli, const char *method, const cJSON *params, int *ret_fd,
		     struct error *err)
{
	auto_json cJSON *reply = NULL;
	auto_close int ours = -1;
	auto_close int theirs = -1;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_sys(err, "cannot make a socket");
	ours = pair[0];
	theirs = pair[1];
	if (conn_call_fd(cli, method, params, theirs, &reply, err) < 0)
		return -1;
	*ret_fd = take_descriptor(ours, err);
	return *ret_fd < 0 ? -1 : 0;
}

int conn_call(struct cli *cli, const char *method, const cJSON *params, cJSON **ret,
	      struct error *err)
{
	return conn_call_fd(cli, method, params, -1, ret, err);
}

int conn_list(struct cli *cli, const char *method, const cJSON *params, cJSON **ret,
	      struct error *err)
{
	auto_json cJSON *all = cJSON_CreateArray();
	auto_json cJSON *ask = params ? cJSON_Duplicate(params, true) : cJSON_CreateObject();
	int64_t offset = 0;
	while (offset >= 0) {
		auto_json cJSON *page = NULL;
		cJSON_DeleteItemFromObject(ask, "offset");
		json_add_int(ask, "offset", offset);
		if (conn_call(cli, method, ask, &page, err) < 0)
			return -1;
		cJSON *items = cJSON_DetachItemFromObject(page, "items");
		for (cJSON *item; items && (item = cJSON_DetachItemFromArray(items, 0));)
			cJSON_AddItemToArray(all, item);
		cJSON_Delete(items);
		int64_t next = json_int(page, "next", -1);
		if (next >= 0 && (next <= offset || next > LIST_MAX))
			return error_set(err, ERROR_SYSTEM, "bangerd sent a list without an end");
		offset = next;
	}
	*ret = take_ptr(&all);
	return 0;
}

bool conn_item_error(const cJSON *item, struct error *ret)
{
	const cJSON *error = json_get(item, "error");
	if (!cJSON_IsObject(error))
		return false;
	error_set(ret, error_code_parse(json_str(error, "code", NULL)), "%s",
		  json_str(error, "text", "failed without a reason"));
	return true;
}
