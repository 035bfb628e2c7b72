/* sys/proc: programs that outlive us. */
#include "test_sys_help.h"

/* libc's own two do not count: its posix_spawn() ignores them in the child, sigaction() refuses to
 * change them back, and so whatever make runs has them ignored. */
static void assert_signals_default(const char *status)
{
	unsigned long long blocked, ignored;
	assert_int_equal(sscanf(status, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
	assert_int_equal(blocked, 0);
	assert_int_equal(ignored & ~(3ULL << 31), 0); /* signals 32 and 33 */
}

static char *read_file(const char *name)
{
	auto_buf struct buf text = BUF_INIT;
	assert_int_equal(fs_read(dir_fd, name, 65536, &text, &err), 0);
	return buf_take(&text);
}

static void wait_for_file(const char *name)
{
	struct stat st;
	for (int i = 0; i < 500; i++) {
		if (fstatat(dir_fd, name, &st, 0) == 0)
			return;
		usleep(4000);
	}
	fail_msg("'%s' does not come", name);
}

static char *open_fds(pid_t pid)
{
	auto_buf struct buf text = BUF_INIT;
	for (int fd = 0; fd < 1024; fd++) {
		char path[64];
		snprintf(path, sizeof(path), "%d/fd/%d", (int)pid, fd);
		if (faccessat(proc_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			buf_addf(&text, "%d ", fd);
	}
	return buf_take(&text);
}

/* Waits until it has these and no others: a program that begins has its libraries open too. */
static void assert_open_fds(pid_t pid, const char *wanted)
{
	auto_free char *fds = open_fds(pid);
	for (int i = 0; i < 1000 && strcmp(fds, wanted) != 0; i++) {
		usleep(5000);
		free(fds);
		fds = open_fds(pid);
	}
	assert_string_equal(fds, wanted);
}

static void a_detached_process_is_nobodys_child(void **state)
{
	(void)state;
	int keep[] = { fcntl(dir_fd, F_DUPFD_CLOEXEC, 40), -1 };
	auto_close int stray = open("/dev/null", O_RDONLY), high = dup2(stray, 90);
	assert_int_equal(high, 90);
	struct proc_detach detach = {
		.argv = SHELL("echo out; echo err >&2;"
			      "cut -d' ' -f5,6 /proc/$$/stat >session;"
			      "grep -E 'Sig(Blk|Ign):' /proc/self/status >signals; touch up;"
			      " exec sleep 100"),
		.dirfd = dir_fd,
		.lock_name = "lock",
		.log_name = "log",
		.keep_fds = keep,
	};
	pid_t pid;
	auto_close int pidfd = -1;
	sigset_t set, old;
	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(proc_detach(&detach, &pid, &pidfd, &err), 0);
	signal(SIGPIPE, SIG_DFL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	wait_for_file("up");
	no_child_is_left();
	auto_free char *log = read_file("log"), *ids = read_file("session");
	assert_open_fds(pid, "0 1 2 3 40 ");
	assert_string_equal(log, "out\nerr\n");
	auto_free char *signals = read_file("signals");
	assert_signals_default(signals);
	assert_int_not_equal(strtol(ids, NULL, 10), getpgrp());
	assert_int_not_equal(strtol(strchr(ids, ' '), NULL, 10), getsid(0));
	struct stat st;
	fstatat(dir_fd, "log", &st, 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);

	assert_true(lock_is_held(dir_fd, "lock"));
	pid_t second_pid;
	int second_fd = -1;
	assert_int_equal(proc_detach(&detach, &second_pid, &second_fd, &err), -1);
	close(keep[0]);
	assert_int_equal(err.code, ERROR_BUSY);
	assert_int_equal(second_fd, -1);
	free(log);
	log = read_file("log"); /* the loser must not truncate it */
	assert_string_equal(log, "out\nerr\n");

	assert_int_equal(proc_wait_gone(pidfd, 0), -1);
	assert_int_equal(proc_signal(pidfd, SIGKILL), 0);
	assert_int_equal(proc_wait_gone(pidfd, 2000), 0);
	assert_int_equal(proc_signal(pidfd, SIGKILL), 0);
	assert_false(lock_is_held(dir_fd, "lock"));
}

static void a_failed_detach_is_told_and_leaves_no_lock(void **state)
{
	(void)state;
	auto_free char *plain = xasprintf("%s/plain", dir_path);
	assert_int_equal(fs_write(dir_fd, "plain", "", 0, 0600, &err), 0);
	struct proc_detach detach = { .argv = (const char *const[]){ plain, NULL },
				      .dirfd = dir_fd,
				      .lock_name = "lock" };
	pid_t pid = 0;
	int pidfd = -1;
	assert_int_equal(proc_detach(&detach, &pid, &pidfd, &err), -1);
	assert_int_equal(err.sys, EACCES);
	assert_int_equal(pid, 0);
	assert_int_equal(pidfd, -1);
	assert_false(lock_is_held(dir_fd, "lock"));
	detach.argv = (const char *const[]){ "true", NULL };
	detach.log_name = "no/such/log";
	assert_int_equal(proc_detach(&detach, &pid, &pidfd, &err), -1);
	assert_non_null(strstr(err.text, "no/such/log"));
	no_child_is_left();
}

static void *look_at_lock(void *data)
{
	volatile int *stop = data;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		lock_is_held(dir_fd, "lock");
		usleep(100);
	}
	return NULL;
}

static void looking_at_a_lock_does_not_fail_a_start(void **state)
{
	(void)state;
	int stop = 0;
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, look_at_lock, &stop), 0);
	struct proc_detach detach = { .argv = (const char *const[]){ "true", NULL },
				      .dirfd = dir_fd,
				      .lock_name = "lock" };
	for (int i = 0; i < 30; i++) {
		pid_t pid;
		auto_close int pidfd = -1;
		if (proc_detach(&detach, &pid, &pidfd, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(proc_wait_gone(pidfd, 2000), 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

struct race {
	int started, busy;
};

static void *start_one(void *data)
{
	struct race *race = data;
	struct proc_detach detach = { .argv = SHELL("echo x >>count; exec sleep 100"),
				      .dirfd = dir_fd,
				      .lock_name = "lock" };
	struct error why = { 0 };
	pid_t pid;
	int pidfd = -1;
	if (proc_detach(&detach, &pid, &pidfd, &why) == 0) {
		__atomic_add_fetch(&race->started, 1, __ATOMIC_SEQ_CST);
		wait_for_file("count");
		for (int i = 0; i < 500 && __atomic_load_n(&race->busy, __ATOMIC_SEQ_CST) < 3; i++)
			usleep(4000);
		proc_signal(pidfd, SIGKILL);
		proc_wait_gone(pidfd, 2000);
		close(pidfd);
	} else if (why.code == ERROR_BUSY) {
		__atomic_add_fetch(&race->busy, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void of_many_starts_at_once_one_wins(void **state)
{
	(void)state;
	struct race race = { 0 };
	pthread_t threads[4];
	/* The winner must outlive the losers' tries: it is held until all have their answer. */
	auto_close int fd = openat(dir_fd, "lock", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, start_one, &race);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.busy, 4);
	assert_int_equal(race.started, 0);
	struct stat st;
	assert_int_equal(fstatat(dir_fd, "count", &st, 0), -1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(a_detached_process_is_nobodys_child),
		CASE(a_failed_detach_is_told_and_leaves_no_lock),
		CASE(looking_at_a_lock_does_not_fail_a_start),
		CASE(of_many_starts_at_once_one_wins),
	};
	return cmocka_run_group_tests_name("sys/detach", tests, NULL, NULL);
}
