/* agent_exec: the host's end against the real agent's, and against guests that lie or say nothing.
 */
#include "agent/exec_port.h"
#include "base/exec_frames.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/agent_exec.h"
#include "driver/driver.h"
#include "sys/unix.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

static char top[] = "/tmp/banger-exec-XXXXXX";
static int dir = -1;
static pid_t guest;
static uint64_t greeting_ms = 20000; /* a loaded machine takes its time; who is silent has less */

/* What the guest is, in a process of its own. */
static void serve_agent(int fd)
{
	struct exec_session session;
	exec_session_init(&session, fd);
	for (;;)
		exec_session_turn(&session, -1, 20);
}

static void serve_garbage(int fd)
{
	char noise[4096];
	memset(noise, 'G', sizeof(noise));
	while (send(fd, noise, sizeof(noise), MSG_NOSIGNAL) > 0)
		;
}

static void serve_nothing(int fd)
{
	(void)fd;
	for (;;)
		pause();
}

/* Greets as it should, then claims a frame that is too long. */
static void serve_lies(int fd)
{
	char hello[EXEC_MAGIC_LEN + EXEC_NONCE_LEN];
	if (recv(fd, hello, sizeof(hello), MSG_WAITALL) == (ssize_t)sizeof(hello) &&
	    send(fd, hello, sizeof(hello), MSG_NOSIGNAL) > 0 &&
	    send(fd, "O\xff\xff\xff\xff", 5, MSG_NOSIGNAL) > 0)
		serve_nothing(fd);
}

static void start_guest(void (*serve)(int fd))
{
	struct error err;
	unlinkat(dir, VM_FILE_EXEC, 0);
	int listener = unix_listen(dir, VM_FILE_EXEC, &err);
	assert_true(listener >= 0);
	guest = fork();
	if (guest == 0) {
		struct pollfd look = { .fd = listener, .events = POLLIN };
		signal(SIGPIPE, SIG_IGN);
		poll(&look, 1, -1);
		int fd = accept4(listener, NULL, NULL,
				 SOCK_CLOEXEC | (serve == serve_agent ? SOCK_NONBLOCK : 0));
		serve(fd);
		_exit(0);
	}
	close(listener);
}

static int end_guest(void **state)
{
	(void)state;
	kill(guest, SIGKILL);
	waitpid(guest, NULL, 0);
	return 0;
}

/* What the command reads and where what it writes ends up. */
struct streams {
	int in, out, err;
};

static struct streams streams_new(const void *input, size_t len)
{
	struct streams s = { memfd_create("in", MFD_CLOEXEC), memfd_create("out", MFD_CLOEXEC),
			     memfd_create("err", MFD_CLOEXEC) };
	assert_true(s.in >= 0 && s.out >= 0 && s.err >= 0);
	assert_int_equal(fs_write_all(s.in, input, len), 0);
	lseek(s.in, 0, SEEK_SET);
	return s;
}

static void streams_close(struct streams *s)
{
	close(s->in);
	close(s->out);
	close(s->err);
}

static void said(int fd, struct buf *ret)
{
	struct error err;
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(fs_read_fd(fd, "output", 16u << 20, ret, &err), 0);
}

static int run(const char *script, const struct streams *s, int *ret_status, struct error *err)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	struct agent_exec exec = { .argv = argv,
				   .in = s->in,
				   .out = s->out,
				   .err = s->err,
				   .greeting_ms = greeting_ms,
				   .also = -1 };
	exec.fd = unix_connect(dir, VM_FILE_EXEC, 1000, 0, err);
	assert_true(exec.fd >= 0);
	int result = agent_exec(&exec, ret_status, err);
	close(exec.fd);
	return result;
}

static void a_command_goes_there_and_back(void **state)
{
	(void)state;
	struct error err;
	int status = -1;
	auto_buf struct buf out = BUF_INIT, bad = BUF_INIT;
	struct streams s = streams_new("hello", 5);
	start_guest(serve_agent);
	if (run("cat; echo x >&2; exit 42", &s, &status, &err) < 0)
		fail_msg("%s", err.text);
	said(s.out, &out);
	said(s.err, &bad);
	streams_close(&s);
	assert_int_equal(status, 42);
	assert_string_equal(out.data, "hello");
	assert_string_equal(bad.data, "x\n");
}

/* Both ways at once, far more than any buffer on the way holds. */
static void many_bytes_pass_unchanged(void **state)
{
	(void)state;
	struct error err;
	int status = -1;
	size_t len = 5u << 20;
	auto_free unsigned char *bytes = xmalloc(len);
	auto_buf struct buf out = BUF_INIT;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(i * 2654435761u >> 13);
	struct streams s = streams_new(bytes, len);
	start_guest(serve_agent);
	if (run("cat", &s, &status, &err) < 0)
		fail_msg("%s", err.text);
	said(s.out, &out);
	streams_close(&s);
	assert_int_equal(status, 0);
	assert_int_equal(out.len, len);
	assert_memory_equal(out.data, bytes, len);
}

static void a_signal_is_128_and_its_number(void **state)
{
	(void)state;
	struct error err;
	int status = -1;
	struct streams s = streams_new("", 0);
	start_guest(serve_agent);
	assert_int_equal(run("kill -15 $$", &s, &status, &err), 0);
	streams_close(&s);
	assert_int_equal(status, 143);
}

/* A signal to us ends the command there, and all that it has started. */
static void interrupting_ends_the_command(void **state)
{
	(void)state;
	struct error err;
	int status = -1;
	auto_buf struct buf out = BUF_INIT;
	struct streams s = streams_new("", 0);
	start_guest(serve_agent);
	pid_t me = getpid(), other = fork();
	if (other == 0) {
		struct stat st;
		while (fstat(s.out, &st) == 0 && st.st_size < 2)
			usleep(1000);
		kill(me, SIGINT);
		_exit(0);
	}
	assert_int_equal(run("echo $$; sleep 1000 & wait", &s, &status, &err), 0);
	waitpid(other, NULL, 0);
	assert_int_equal(status, 128 + SIGINT);
	said(s.out, &out);
	streams_close(&s);
	pid_t pid = (pid_t)strtol(out.data, NULL, 10);
	assert_true(pid > 1);
	for (int tries = 0; kill(pid, 0) == 0 && tries < 10000; tries++)
		usleep(1000);
	assert_int_equal(kill(pid, 0), -1);
}

static void nobody_reads_what_it_writes(void **state)
{
	(void)state;
	struct error err;
	int status = -1, ends[2];
	struct streams s = streams_new("", 0);
	start_guest(serve_agent);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	close(s.out);
	s.out = ends[1];
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(run("yes", &s, &status, &err), 0);
	streams_close(&s);
	assert_int_equal(status, 128 + SIGPIPE);
}

static void fails_with(void (*serve)(int fd), enum error_code code, const char *text)
{
	struct error err;
	int status = -1;
	struct streams s = streams_new("", 0);
	start_guest(serve);
	assert_int_equal(run("sleep 100", &s, &status, &err), -1);
	streams_close(&s);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, text))
		fail_msg("'%s' does not say '%s'", err.text, text);
	assert_int_equal(status, -1);
}

static void garbage_is_bounded(void **state)
{
	(void)state;
	fails_with(serve_garbage, ERROR_SYSTEM, "says too much");
}

static void silence_ends_at_the_deadline(void **state)
{
	(void)state;
	greeting_ms = 600;
	fails_with(serve_nothing, ERROR_TIMEOUT, "did not answer in time");
	greeting_ms = 20000;
}

static void a_lie_about_a_length_is_nonsense(void **state)
{
	(void)state;
	fails_with(serve_lies, ERROR_SYSTEM, "talks nonsense");
}

static int make_top(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

static int remove_top(void **state)
{
	struct error err;
	(void)state;
	close(dir);
	return fs_remove_tree(AT_FDCWD, top, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_command_goes_there_and_back, end_guest),
		cmocka_unit_test_teardown(a_signal_is_128_and_its_number, end_guest),
		cmocka_unit_test_teardown(many_bytes_pass_unchanged, end_guest),
		cmocka_unit_test_teardown(interrupting_ends_the_command, end_guest),
		cmocka_unit_test_teardown(nobody_reads_what_it_writes, end_guest),
		cmocka_unit_test_teardown(garbage_is_bounded, end_guest),
		cmocka_unit_test_teardown(silence_ends_at_the_deadline, end_guest),
		cmocka_unit_test_teardown(a_lie_about_a_length_is_nonsense, end_guest),
	};
	return cmocka_run_group_tests_name("cli/agent_exec", tests, make_top, remove_top);
}
