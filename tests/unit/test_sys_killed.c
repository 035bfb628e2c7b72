/* sys/proc_detach: the daemon dies in the middle of a start. Builds its own copy with failpoints;
 * the library's is then not linked. */
#ifndef BANGER_FAILPOINTS
#define BANGER_FAILPOINTS
#endif
#include "base/failpoint.c"
#include "sys/proc_detach.c"

#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/stat.h>

static struct error err;
static char dir_path[64];
static int dir_fd;

static int setup(void **state)
{
	(void)state;
	str_copy(dir_path, sizeof(dir_path), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(dir_path))
		return -1;
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	close(dir_fd);
	return fs_remove_tree(AT_FDCWD, dir_path, &err);
}

static const struct proc_detach detach_to = { .lock_name = "lock", .log_name = "log" };

static int start(void)
{
	struct proc_detach detach = detach_to;
	detach.argv = (const char *const[]){ "sh", "-c", "echo $$ >pid; exec sleep 100", NULL };
	detach.dirfd = dir_fd;
	pid_t pid;
	int pidfd;
	return proc_detach(&detach, &pid, &pidfd, &err);
}

/* A "daemon" that starts one process and dies at the failpoint. */
static void daemon_dies_at(const char *failpoint)
{
	pid_t daemon = fork();
	if (daemon == 0) {
		setenv("BANGER_FAILPOINT", failpoint, 1);
		start();
		_exit(1);
	}
	int status;
	assert_int_equal(waitpid(daemon, &status, 0), daemon);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool wait_for_lock(bool held)
{
	for (int i = 0; i < 500; i++) {
		if (lock_is_held(dir_fd, "lock") == held)
			return true;
		usleep(2000);
	}
	return false;
}

static pid_t started_pid(void)
{
	auto_buf struct buf text = BUF_INIT;
	struct error none;
	if (fs_read(dir_fd, "pid", 64, &text, &none) < 0)
		return 0;
	return (pid_t)strtol(text.data, NULL, 10);
}

static void killed_before_go_starts_nothing(void **state)
{
	(void)state;
	static const char *const points[] = { "spawn-before-exec", "spawn-forked" };
	for (size_t i = 0; i < 2; i++) {
		daemon_dies_at(points[i]);
		/* Longer than the grandchild needs from fork to lock, also on a slow machine. */
		usleep(50000);
		assert_true(wait_for_lock(false));
		assert_int_equal(started_pid(), 0);
	}
}

static void killed_after_go_leaves_one_that_holds_the_lock(void **state)
{
	(void)state;
	daemon_dies_at("spawn-after-exec");
	for (int i = 0; i < 500 && !started_pid(); i++)
		usleep(2000);
	pid_t pid = started_pid();
	assert_true(pid > 1);
	assert_true(lock_is_held(dir_fd, "lock"));
	assert_int_equal(start(), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	auto_close int pidfd = proc_pidfd(pid);
	assert_int_equal(proc_signal(pidfd, SIGKILL), 0);
	assert_int_equal(proc_wait_gone(pidfd, 2000), 0);
	assert_true(wait_for_lock(false));
}

static void the_nth_passage_can_be_chosen(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		setenv("BANGER_FAILPOINT", "here@3", 1);
		for (int i = 1; i <= 3; i++) {
			FAILPOINT("her");
			FAILPOINT("here-not");
			if (i == 3)
				assert_int_equal(fs_write(dir_fd, "third", "", 0, 0600, &err), 0);
			FAILPOINT("here");
		}
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	struct stat st;
	assert_int_equal(fstatat(dir_fd, "third", &st, 0), 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(killed_before_go_starts_nothing),
		CASE(killed_after_go_leaves_one_that_holds_the_lock),
		CASE(the_nth_passage_can_be_chosen),
	};
	return cmocka_run_group_tests_name("sys/killed", tests, NULL, NULL);
}
