#include "agent/exec_port.h"
#include "agent/exec.h"
#include "agent/vsock.h"
#include "base/exec_frames.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define WAITING_MAX   65536u /* bytes in either direction before reading stops */
#define LOOK_AGAIN_MS 5000
#define PORT_STEP_MS  100
#define PORT_TRIES    600

void exec_session_init(struct exec_session *session, int port)
{
	*session = (struct exec_session){ .port = port,
					  .in = -1,
					  .out = -1,
					  .err = -1,
					  .from_host = BUF_INIT,
					  .to_host = BUF_INIT,
					  .to_command = BUF_INIT };
}

static void close_pipe(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Ends the command and everything that has stayed in its session. */
static void end_command(struct exec_session *session)
{
	if (session->pid) {
		kill(-session->pid, SIGKILL);
		kill(session->pid, SIGKILL); /* had it no session of its own yet */
		waitpid(session->pid, NULL, 0);
	}
	session->pid = 0;
	session->input_ended = false;
	close_pipe(&session->in);
	close_pipe(&session->out);
	close_pipe(&session->err);
	buf_reset(&session->to_command);
}

static void lose_host(struct exec_session *session)
{
	end_command(session);
	session->connected = session->greeted = false;
	buf_reset(&session->from_host);
	buf_reset(&session->to_host);
}

void exec_session_clear(struct exec_session *session)
{
	lose_host(session);
	close_pipe(&session->port);
	buf_clear(&session->from_host);
	buf_clear(&session->to_host);
	buf_clear(&session->to_command);
}

static void say_exit(struct exec_session *session, const char *key, int value, const char *error)
{
	auto_json cJSON *json = cJSON_CreateObject();
	if (error)
		json_add_str(json, "error", error);
	else
		json_add_int(json, key, value);
	auto_free char *text = json_print(json);
	exec_frame_add(&session->to_host, EXEC_EXIT, text, strlen(text));
	session->greeted = false;
}

/* --- start --- */

_Noreturn static void run_command(const char *const *argv, const int pipes[3])
{
	static const char *const env[] = { "HOME=/root", "USER=root", "TERM=dumb", EXEC_PATH,
					   NULL };
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	auto_close int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	/* A command is like any other process to the OOM killer; one that cannot be is run too. */
	if (score >= 0 && write(score, "0", 1) < 0)
		errno = 0;
	if (chdir("/root") < 0 && chdir("/") < 0)
		_exit(127);
	for (int i = 0; i < 3; i++)
		if (dup2(pipes[i], i) < 0)
			_exit(127);
	if (strchr(argv[0], '/'))
		exec_program(argv[0], argv, env);
	else
		execvpe(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int open_pipes(int ours[3], int theirs[3])
{
	for (int i = 0; i < 3; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -1;
		ours[i] = ends[i == 0];
		theirs[i] = ends[i != 0];
		fcntl(ours[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static void spawn(struct exec_session *session, const char *const *argv)
{
	int ours[3] = { -1, -1, -1 }, theirs[3] = { -1, -1, -1 };
	pid_t pid = open_pipes(ours, theirs) < 0 ? -1 : fork();
	if (pid == 0)
		run_command(argv, theirs);
	for (int i = 0; i < 3; i++)
		close_pipe(&theirs[i]);
	if (pid < 0) {
		for (int i = 0; i < 3; i++)
			close_pipe(&ours[i]);
		say_exit(session, NULL, 0, "cannot start a process");
		return;
	}
	session->pid = pid;
	session->in = ours[0];
	session->out = ours[1];
	session->err = ours[2];
}

static void start(struct exec_session *session, const char *text, size_t len)
{
	struct error err;
	auto_json cJSON *json = json_parse(text, len, &err);
	const cJSON *list = json_get(json, "argv"), *word;
	int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
	const char *argv[EXEC_ARGV_MAX + 1];
	int used = 0;
	if (session->pid || count < 1 || count > EXEC_ARGV_MAX) {
		say_exit(session, NULL, 0, "'argv' is not a list of words");
		return;
	}
	cJSON_ArrayForEach(word, list)
	{
		if (cJSON_IsString(word))
			argv[used++] = word->valuestring;
	}
	argv[used] = NULL;
	if (used == count && argv[0][0])
		spawn(session, argv);
	else
		say_exit(session, NULL, 0, "'argv' is not a list of words");
}

/* --- bytes --- */

/* False: no more frames for now. */
static bool take_frame(struct exec_session *session)
{
	unsigned char nonce[EXEC_NONCE_LEN];
	struct exec_frame frame;
	if (!session->greeted) {
		if (!exec_find_magic(&session->from_host, nonce))
			return false;
		end_command(session);
		session->greeted = true;
		buf_add_bytes(&session->to_host, EXEC_MAGIC, EXEC_MAGIC_LEN);
		buf_add_bytes(&session->to_host, nonce, sizeof(nonce));
		return true;
	}
	int more = exec_frame_next(&session->from_host, &frame);
	if (more < 0) {
		/* Of somebody else, or rubbish: the next magic begins anew. */
		end_command(session);
		session->greeted = false;
		return true;
	}
	if (!more || session->to_command.len > WAITING_MAX)
		return false;
	if (frame.kind == EXEC_START)
		start(session, frame.data, frame.len);
	else if (frame.kind == EXEC_INPUT && session->pid && frame.len)
		buf_add_bytes(&session->to_command, frame.data, frame.len);
	else if (frame.kind == EXEC_INPUT)
		session->input_ended = true;
	exec_frame_drop(&session->from_host, &frame);
	return true;
}

static void read_host(struct exec_session *session)
{
	char chunk[16384];
	while (session->from_host.len < WAITING_MAX) {
		ssize_t got = read(session->port, chunk, sizeof(chunk));
		if (got <= 0) {
			session->hung_up = got == 0;
			if (got == 0)
				lose_host(session);
			break;
		}
		buf_add_bytes(&session->from_host, chunk, (size_t)got);
	}
}

static void write_some(int fd, struct buf *from)
{
	while (from->len) {
		ssize_t put = write(fd, from->data, from->len);
		if (put <= 0)
			return;
		buf_drop(from, (size_t)put);
	}
}

/* True when frames that wait can be taken now. */
static bool feed_command(struct exec_session *session)
{
	bool full = session->to_command.len > WAITING_MAX;
	if (session->in < 0) {
		buf_reset(&session->to_command);
		return full;
	}
	struct pollfd look = { .fd = session->in, .events = POLLOUT };
	bool closed = poll(&look, 1, 0) > 0 && (look.revents & POLLERR);
	if (!closed)
		write_some(session->in, &session->to_command);
	if (closed || (session->input_ended && !session->to_command.len))
		close_pipe(&session->in);
	if (session->in < 0)
		buf_reset(&session->to_command);
	return full && session->to_command.len <= WAITING_MAX;
}

/* False: nothing came, now or ever. */
static bool read_command(struct exec_session *session, int *fd, char kind)
{
	char chunk[8192];
	if (*fd < 0 || session->to_host.len > WAITING_MAX)
		return false;
	ssize_t got = read(*fd, chunk, sizeof(chunk));
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		close_pipe(fd);
	if (got > 0)
		exec_frame_add(&session->to_host, kind, chunk, (size_t)got);
	return got > 0;
}

/* The command's end is told when what it wrote is out; what its children write later is nobody's.
 */
static void look_at_command(struct exec_session *session)
{
	siginfo_t info = { 0 };
	if (!session->pid)
		return;
	bool ended = waitid(P_PID, (id_t)session->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		     info.si_pid == session->pid;
	bool more = true;
	while (more) {
		more = read_command(session, &session->out, EXEC_OUTPUT);
		more = read_command(session, &session->err, EXEC_ERROR) || more;
	}
	if (!ended || session->to_host.len > WAITING_MAX)
		return;
	waitpid(session->pid, NULL, 0);
	session->pid = 0;
	end_command(session);
	say_exit(session, info.si_code == CLD_EXITED ? "status" : "signal", info.si_status, NULL);
}

/* --- the loop --- */

static size_t poll_list(const struct exec_session *session, int also, struct pollfd fds[5])
{
	size_t count = 0;
	if (also >= 0)
		fds[count++] = (struct pollfd){ .fd = also, .events = POLLIN };
	if (session->connected) {
		int events = session->from_host.len < WAITING_MAX ? POLLIN : 0;
		events |= session->to_host.len ? POLLOUT : 0;
		fds[count++] = (struct pollfd){ .fd = session->port, .events = (short)events };
	}
	if (session->in >= 0 && session->to_command.len)
		fds[count++] = (struct pollfd){ .fd = session->in, .events = POLLOUT };
	if (session->to_host.len > WAITING_MAX)
		return count;
	if (session->out >= 0)
		fds[count++] = (struct pollfd){ .fd = session->out, .events = POLLIN };
	if (session->err >= 0)
		fds[count++] = (struct pollfd){ .fd = session->err, .events = POLLIN };
	return count;
}

void exec_session_turn(struct exec_session *session, int also, int timeout_ms)
{
	struct pollfd fds[5];
	size_t count = poll_list(session, also, fds);
	poll(fds, count, timeout_ms);
	/* Before looking at what they are about, so that none is missed. */
	struct signalfd_siginfo info;
	while (also >= 0 && read(also, &info, sizeof(info)) > 0)
		;
	/* While the host is away the port is always "ready": it is looked at, not polled. */
	struct pollfd look = { .fd = session->port, .events = POLLIN };
	poll(&look, 1, 0);
	bool gone = look.revents & (POLLHUP | POLLERR | POLLNVAL);
	session->hung_up = gone;
	if (gone) {
		char chunk[4096];
		/* What it has left is no command any more. Only now: later it is the next one's. */
		while (session->connected && read(session->port, chunk, sizeof(chunk)) > 0)
			;
		if (session->connected)
			lose_host(session);
		return;
	}
	session->connected = true;
	read_host(session);
	/* What waited for the command to read may go on as soon as it did: no event tells of that.
	 */
	while (take_frame(session) || feed_command(session))
		;
	look_at_command(session);
	write_some(session->port, &session->to_host);
}

/* One connection after the other; a command ends with the one that it came by. */
_Noreturn static void serve_vsock(int signals)
{
	struct error ignored;
	int listener = vsock_listen(VSOCK_EXEC_PORT, &ignored);
	if (listener < 0)
		_exit(0);
	for (;;) {
		struct exec_session session;
		struct pollfd wait = { .fd = listener, .events = POLLIN };
		poll(&wait, 1, -1);
		exec_session_init(&session, vsock_accept(listener));
		while (session.port >= 0 && !session.hung_up)
			exec_session_turn(&session, signals, LOOK_AGAIN_MS);
		exec_session_clear(&session);
	}
}

_Noreturn static void serve(bool vsock)
{
	static const int wanted[] = { SIGIO, SIGCHLD, SIGPIPE, SIGHUP, SIGINT };
	struct error ignored;
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_SETMASK, &set, NULL);
	int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vsock)
		serve_vsock(signals);
	int port = -1;
	for (int tries = 0; port < 0 && tries < PORT_TRIES; tries++) {
		poll(NULL, 0, tries ? PORT_STEP_MS : 0);
		port = channel_open_port(EXEC_PORT_NAME, &ignored);
	}
	if (port < 0)
		_exit(0);
	struct exec_session session;
	exec_session_init(&session, port);
	for (;;)
		exec_session_turn(&session, signals, LOOK_AGAIN_MS);
}

void exec_port_start(bool vsock)
{
	if (fork() != 0)
		return;
	prctl(PR_SET_NAME, "banger-exec");
	serve(vsock);
}
