/* guest exec: the host's end against the real agent's, and against guests that lie or say nothing.
 */
#include "agent/exec_port.h"
#include "base/exec_frames.h"
#include "base/fs.h"
#include "base/mem.h"
#include "driver/driver.h"
#include "guest/guest.h"
#include "sys/unix.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <cmocka.h>

static char top[] = "/tmp/banger-exec-XXXXXX";
static int dir = -1;
static pid_t guest;

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

static void collect(void *arg, bool is_error, const char *data, size_t len)
{
	struct buf *to = arg;
	buf_add(to, is_error ? "E" : "O");
	buf_add_bytes(to, data, len);
}

static int run(const char *script, const char *input, uint64_t timeout_ms, struct buf *out,
	       int *ret_status, struct error *err)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	const struct guest_exec exec = { .argv = argv,
					 .input = input,
					 .input_len = input ? strlen(input) : 0,
					 .on_output = collect,
					 .arg = out };
	return guest_exec(dir, &exec, timeout_ms, ret_status, err);
}

static void a_command_goes_there_and_back(void **state)
{
	(void)state;
	struct error err;
	int status = -1;
	auto_buf struct buf out = BUF_INIT;
	start_guest(serve_agent);
	if (run("cat; exit 42", "hello", 10000, &out, &status, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(status, 42);
	assert_string_equal(out.data, "Ohello");
}

static void a_signal_is_128_and_its_number(void **state)
{
	(void)state;
	struct error err;
	int status = -1;
	auto_buf struct buf out = BUF_INIT;
	start_guest(serve_agent);
	assert_int_equal(run("echo x >&2; kill -15 $$", NULL, 10000, &out, &status, &err), 0);
	assert_int_equal(status, 143);
	assert_string_equal(out.data, "Ex\n");
}

static void fails_with(void (*serve)(int fd), enum error_code code, const char *text)
{
	struct error err;
	int status = -1;
	auto_buf struct buf out = BUF_INIT;
	start_guest(serve);
	assert_int_equal(run("sleep 100", NULL, 600, &out, &status, &err), -1);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, text))
		fail_msg("'%s' does not say '%s'", err.text, text);
	assert_int_equal(status, -1);
}

static void a_deadline_is_kept(void **state)
{
	(void)state;
	fails_with(serve_agent, ERROR_TIMEOUT, "did not finish the command in time");
}

static void garbage_is_bounded(void **state)
{
	(void)state;
	fails_with(serve_garbage, ERROR_SYSTEM, "says too much");
}

static void silence_ends_at_the_deadline(void **state)
{
	(void)state;
	fails_with(serve_nothing, ERROR_TIMEOUT, "did not answer in time");
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
		cmocka_unit_test_teardown(a_deadline_is_kept, end_guest),
		cmocka_unit_test_teardown(garbage_is_bounded, end_guest),
		cmocka_unit_test_teardown(silence_ends_at_the_deadline, end_guest),
		cmocka_unit_test_teardown(a_lie_about_a_length_is_nonsense, end_guest),
	};
	return cmocka_run_group_tests_name("guest/exec", tests, make_top, remove_top);
}
