/* sys/unix: sockets by directory and name. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"
#include "sys/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct error err;
static char top[64];
static int dir_fd;

/* Deeper than a socket path could ever name. */
static int setup(void **state)
{
	(void)state;
	str_copy(top, sizeof(top), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	auto_free char *deep = xasprintf("%s/%0100d/%0100d", top, 1, 2);
	if (fs_mkdirs(deep, 0700, &err) < 0)
		return -1;
	dir_fd = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	close(dir_fd);
	return fs_remove_tree(AT_FDCWD, top, &err);
}

static void listens_and_connects_below_a_deep_directory(void **state)
{
	(void)state;
	auto_close int server = unix_listen(dir_fd, "s", &err);
	assert_true(server >= 0);
	struct stat st;
	assert_int_equal(fstatat(dir_fd, "s", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	auto_close int client = unix_connect(dir_fd, "s", 1000, 0, &err);
	assert_true(client >= 0);
	assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(client, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(server, F_GETFL) & O_NONBLOCK);
	auto_close int other = unix_connect(dir_fd, "s", 0, 1, &err);
	assert_true(fcntl(other, F_GETFL) & O_NONBLOCK);
	auto_close int peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	pid_t pid;
	uid_t uid;
	assert_int_equal(unix_peer(peer, &pid, &uid, &err), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
}

static void a_living_socket_is_kept_and_a_stale_one_replaced(void **state)
{
	(void)state;
	int server = unix_listen(dir_fd, "s", &err);
	assert_int_equal(unix_listen(dir_fd, "s", &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	close(server);
	assert_int_equal(unix_connect(dir_fd, "s", 100, 0, &err), -1);
	assert_int_equal(err.sys, ECONNREFUSED);
	server = unix_listen(dir_fd, "s", &err);
	assert_true(server >= 0);
	close(server);
}

static void other_files_are_never_removed(void **state)
{
	(void)state;
	assert_int_equal(fs_write(dir_fd, "s", "x", 1, 0600, &err), 0);
	assert_int_equal(unix_listen(dir_fd, "s", &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_int_equal(faccessat(dir_fd, "s", F_OK, 0), 0);
}

static void nobody_and_too_long_are_told(void **state)
{
	(void)state;
	assert_int_equal(unix_connect(dir_fd, "none", 100, 0, &err), -1);
	assert_int_equal(err.sys, ENOENT);
	char name[120];
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(unix_listen(dir_fd, name, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
}

static void a_full_backlog_ends_with_the_deadline(void **state)
{
	(void)state;
	auto_close int server = unix_listen(dir_fd, "s", &err);
	assert_int_equal(listen(server, 0), 0);
	auto_close int first = unix_connect(dir_fd, "s", 50, 0, &err);
	assert_true(first >= 0);
	uint64_t start = clock_monotonic_ms();
	assert_int_equal(unix_connect(dir_fd, "s", 50, 0, &err), -1);
	assert_int_equal(err.code, ERROR_TIMEOUT);
	uint64_t took = clock_monotonic_ms() - start;
	assert_true(took >= 45 && took < 2000);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(listens_and_connects_below_a_deep_directory),
		CASE(a_living_socket_is_kept_and_a_stale_one_replaced),
		CASE(other_files_are_never_removed),
		CASE(nobody_and_too_long_are_told),
		CASE(a_full_backlog_ends_with_the_deadline),
	};
	return cmocka_run_group_tests_name("sys/unix", tests, NULL, NULL);
}
