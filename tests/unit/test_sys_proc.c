/* sys/proc: programs that are waited for, processes looked at. */
#include "test_sys_help.h"

static void output_and_status_come_back(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT, errs = BUF_INIT;
	int status = -1;
	const char *const env[] = { "BANGER_X=new", "HOME=/nowhere", NULL };
	struct proc_run run = { .argv = SHELL("echo $BANGER_X $HOME; pwd; echo bad >&2; exit 3"),
				.env = env,
				.cwd = "/usr" };
	assert_int_equal(proc_run(&run, &status, &out, &errs, &err), 0);
	assert_int_equal(status, 3);
	assert_string_equal(out.data, "new /nowhere\n/usr\n");
	assert_string_equal(errs.data, "bad\n");
	buf_reset(&out); /* a shell would hide the second HOME= */
	run.argv = (const char *const[]){ "env", NULL };
	assert_int_equal(proc_run(&run, &status, &out, NULL, &err), 0);
	const char *home = strstr(out.data, "HOME=");
	assert_null(strstr(home + 1, "\nHOME="));
	run.argv = SHELL("kill -9 $$");
	assert_int_equal(proc_run(&run, &status, NULL, NULL, &err), 0);
	assert_int_equal(status, 128 + 9);
	no_child_is_left();
}

static void missing_and_unrunnable_programs_are_errors(void **state)
{
	(void)state;
	int status;
	struct proc_run run = { .argv = (const char *const[]){ "no-such-program-x", NULL } };
	assert_int_equal(proc_run(&run, &status, NULL, NULL, &err), -1);
	assert_int_equal(err.sys, ENOENT);
	assert_non_null(strstr(err.text, "no-such-program-x"));
	auto_free char *plain = xasprintf("%s/plain", dir_path);
	assert_int_equal(fs_write(dir_fd, "plain", "", 0, 0600, &err), 0);
	run.argv = (const char *const[]){ plain, NULL };
	assert_int_equal(proc_run(&run, &status, NULL, NULL, &err), -1);
	assert_int_equal(err.sys, EACCES);
	run.argv = SHELL("true");
	run.cwd = "/no/such/dir";
	assert_int_equal(proc_run(&run, &status, NULL, NULL, &err), -1);
	assert_int_equal(err.sys, ENOENT);
	no_child_is_left();
}

static void check_quotes_the_tail_of_stderr(void **state)
{
	(void)state;
	struct proc_run run = {
		.argv = SHELL(
			"i=0; while [ $i -lt 3000 ]; do echo progress $i; i=$((i+1)); done >&2;"
			"echo 'disk is full' >&2; exit 7")
	};
	assert_int_equal(proc_check(&run, NULL, &err), -1);
	assert_non_null(strstr(err.text, "status 7"));
	assert_non_null(strstr(err.text, "disk is full"));
	run.argv = SHELL("exit 0");
	assert_int_equal(proc_check(&run, NULL, &err), 0);
}

static void output_is_bounded_and_drained(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT;
	struct proc_run run = { .argv = SHELL("head -c 3000000 /dev/zero; echo end >&2"),
				.output_max = 1000 };
	auto_buf struct buf errs = BUF_INIT;
	int status;
	assert_int_equal(proc_run(&run, &status, &out, &errs, &err), 0);
	assert_int_equal(status, 0);
	assert_int_equal(out.len, 1000);
	assert_string_equal(errs.data, "end\n");
}

static void add_line(void *cookie, const char *line)
{
	buf_addf(cookie, "[%s]", line);
}

static void lines_are_passed_on_whole(void **state)
{
	(void)state;
	auto_buf struct buf lines = BUF_INIT;
	struct proc_run run = {
		.argv = SHELL("printf 'one\\ntw'; sleep 0.02; printf 'o\\n\\nlast'"),
		.on_line = add_line,
		.cookie = &lines,
	};
	assert_int_equal(proc_check(&run, NULL, &err), 0);
	assert_string_equal(lines.data, "[one][two][][last]");
}

static void a_timeout_kills_the_whole_group(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT;
	struct proc_run run = { .argv = SHELL("sleep 100 & echo $!; wait"), .timeout_ms = 100 };
	int status;
	uint64_t start = clock_monotonic_ms();
	assert_int_equal(proc_run(&run, &status, &out, NULL, &err), -1);
	assert_int_equal(err.code, ERROR_TIMEOUT);
	assert_true(clock_monotonic_ms() - start < 2000);
	pid_t sleeper = (pid_t)strtol(out.data, NULL, 10);
	assert_true(sleeper > 1);
	int pidfd = proc_pidfd(sleeper);
	assert_true(pidfd < 0 || proc_wait_gone(pidfd, 2000) == 0);
	cleanup_close(&pidfd);
	no_child_is_left();
}

static void *cancel_soon(void *data)
{
	usleep(30000);
	eventfd_write(*(int *)data, 1);
	return NULL;
}

static void cancelling_ends_it(void **state)
{
	(void)state;
	auto_close int cancel = eventfd(0, EFD_CLOEXEC);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
	struct proc_run run = { .argv = SHELL("sleep 100"), .cancel_fd = cancel };
	int status;
	assert_int_equal(proc_run(&run, &status, NULL, NULL, &err), -1);
	assert_int_equal(err.code, ERROR_CANCELLED);
	pthread_join(thread, NULL);
	no_child_is_left();
}

static void a_background_grandchild_does_not_hold_us(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT;
	struct proc_run run = { .argv = SHELL("sleep 1 & echo done"), .timeout_ms = 900 };
	assert_int_equal(proc_check(&run, &out, &err), 0);
	assert_string_equal(out.data, "done\n");
}

/* libc's own two do not count: its posix_spawn() ignores them in the child, sigaction() refuses to
 * change them back, and so whatever make runs has them ignored. */
static void assert_signals_default(const char *status)
{
	unsigned long long blocked, ignored;
	assert_int_equal(sscanf(status, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
	assert_int_equal(blocked, 0);
	assert_int_equal(ignored & ~(3ULL << 31), 0); /* signals 32 and 33 */
}

static void a_child_sees_only_stdio_and_default_signals(void **state)
{
	(void)state;
	/* Without CLOEXEC: what a careless library would leave open. */
	auto_close int stray = open("/dev/null", O_RDONLY);
	assert_true(stray > 2);
	sigset_t set, old;
	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	signal(SIGPIPE, SIG_IGN);
	auto_buf struct buf out = BUF_INIT;
	struct proc_run run = { .argv = (const char *const[]){ "grep", "-E", "^Sig(Blk|Ign):",
							       "/proc/self/status", NULL } };
	assert_int_equal(proc_check(&run, &out, &err), 0);
	signal(SIGPIPE, SIG_DFL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert_signals_default(out.data);
	buf_reset(&out);
	run.argv = (const char *const[]){ "ls", "/proc/self/fd", NULL };
	assert_int_equal(proc_check(&run, &out, &err), 0);
	assert_string_equal(out.data, "0\n1\n2\n3\n"); /* 3: the listing itself */
}

/* --- looking at processes --- */

static int find_self(void *cookie, pid_t pid)
{
	(void)cookie;
	return pid == getpid() ? 42 : 0;
}

static void facts_of_this_process_are_readable(void **state)
{
	(void)state;
	uint64_t ticks = 0;
	auto_buf struct buf cmdline = BUF_INIT;
	assert_int_equal(proc_start_ticks(proc_fd, getpid(), &ticks), 0);
	assert_true(ticks > 0);
	assert_false(proc_is_zombie(proc_fd, getpid()));
	assert_int_equal(proc_cmdline(proc_fd, getpid(), &cmdline), 0);
	assert_non_null(strstr(proc_arg_next(&cmdline, NULL), "test_sys_proc"));
	assert_int_equal(proc_each(proc_fd, find_self, NULL), 42);
	auto_free char *text = proc_describe(getpid());
	assert_non_null(strstr(text, "test_sys_proc (pid "));
	assert_int_equal(proc_start_ticks(proc_fd, 0x3ffffff, &ticks), -1);
	auto_free char *gone = proc_describe(0x3ffffff);
	assert_string_equal(gone, "pid 67108863");
}

static void a_zombie_is_seen_as_one(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(proc_is_zombie(proc_fd, pid));
	auto_close int pidfd = proc_pidfd(pid);
	assert_int_equal(proc_wait_gone(pidfd, 0), 0);
	waitpid(pid, NULL, 0);
	assert_false(proc_is_zombie(proc_fd, pid));
}

static void stat_with_a_hostile_name_is_parsed(void **state)
{
	(void)state;
	char run_state = 0;
	uint64_t ticks = 0;
	assert_int_equal(proc_stat_parse("7 (a) Z 1 (b) S 1 7 7 0 -1 4 1 1 1 1 1 1 1 1 20 0 1 0 "
					 "98765 1 2",
					 &run_state, &ticks),
			 0);
	assert_int_equal(run_state, 'S');
	assert_int_equal(ticks, 98765);
	static const char *const bad[] = {
		"",
		"7",
		"7 (a)",
		"7 (a) ",
		"7 (a) S",
		")",
		"(a) S 1 2 3",
		/* field 22 is no number */
		"7 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(proc_stat_parse(bad[i], &run_state, &ticks), -1);
}

static void arguments_are_walked_within_bounds(void **state)
{
	(void)state;
	auto_buf struct buf cmdline = BUF_INIT;
	assert_null(proc_arg_next(&cmdline, NULL));
	assert_null(proc_arg_after(&cmdline, "-name"));
	static const char text[] = "qemu\0-name\0vm1\0\0-last";
	buf_add_bytes(&cmdline, text, sizeof(text) - 1);
	assert_string_equal(proc_arg_after(&cmdline, "-name"), "vm1");
	assert_string_equal(proc_arg_after(&cmdline, "vm1"), "");
	assert_null(proc_arg_after(&cmdline, "-last"));
	assert_null(proc_arg_after(&cmdline, "-nam"));
}

static void programs_of_root_are_found_without_its_path(void **state)
{
	(void)state;
	auto_free char *old = xstrdup(getenv("PATH"));
	setenv("PATH", "relative:/nowhere:", 1);
	auto_free char *sh = proc_find("sh"), *none = proc_find("no-such-program-x");
	auto_free char *empty = proc_find("");
	setenv("PATH", old, 1);
	assert_string_equal(sh, "/usr/bin/sh");
	assert_null(none);
	assert_null(empty);
}

static void who_may_open_a_file_is_tried(void **state)
{
	(void)state;
	const struct proc_user nobody = { .uid = 2100000000, .gid = 2100000000 };
	auto_free char *path = xasprintf("%s/file", dir_path);
	assert_int_equal(fs_write(dir_fd, "file", "", 0, 0600, &err), 0);
	assert_int_equal(proc_may_open(path, O_RDWR, NULL, &err), 0);
	if (geteuid() != 0)
		return;
	assert_int_equal(chmod(dir_path, 0755), 0);
	assert_int_equal(proc_may_open(path, O_RDWR, &nobody, &err), -1);
	assert_int_equal(err.sys, EACCES);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(proc_may_open(path, O_RDWR, &nobody, &err), -1);
	assert_int_equal(proc_may_open(path, O_RDONLY, &nobody, &err), 0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(proc_may_open(path, O_RDWR, &nobody, &err), 0);
	no_child_is_left();
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(output_and_status_come_back),
		CASE(missing_and_unrunnable_programs_are_errors),
		CASE(check_quotes_the_tail_of_stderr),
		CASE(output_is_bounded_and_drained),
		CASE(lines_are_passed_on_whole),
		CASE(a_timeout_kills_the_whole_group),
		CASE(cancelling_ends_it),
		CASE(a_background_grandchild_does_not_hold_us),
		CASE(a_child_sees_only_stdio_and_default_signals),
		CASE(facts_of_this_process_are_readable),
		CASE(a_zombie_is_seen_as_one),
		CASE(stat_with_a_hostile_name_is_parsed),
		CASE(arguments_are_walked_within_bounds),
		CASE(programs_of_root_are_found_without_its_path),
		CASE(who_may_open_a_file_is_tried),
	};
	return cmocka_run_group_tests_name("sys/proc", tests, NULL, NULL);
}
