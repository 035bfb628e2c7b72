/* driver: users of their own for hypervisors. As root, as it is about giving files away. */
#include "driver/vm_user.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static char root[] = "/tmp/banger-test-XXXXXX";

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	struct error err;
	(void)state;
	return fs_remove_tree(AT_FDCWD, root, &err);
}

static int make_dir(const char *id)
{
	struct error err;
	auto_free char *path = xasprintf("%s/%s", root, id);
	assert_int_equal(fs_mkdirs(path, 0700, &err), 0);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void every_vm_has_another(void **state)
{
	struct error err;
	uid_t taken[40], again;
	(void)state;
	need_root();
	for (int i = 0; i < 40; i++) {
		auto_free char *id = xasprintf("vm%d", i);
		auto_close int fd = make_dir(id);
		assert_int_equal(vm_user_of_fd(fd), 0);
		assert_int_equal(vm_user_take(root, id, fd, &taken[i], &err), 0);
		assert_true(vm_user_in_range(taken[i]));
		assert_int_equal(vm_user_take(root, id, fd, &again, &err), 0);
		assert_int_equal(again, taken[i]);
		for (int k = 0; k < i; k++)
			assert_int_not_equal(taken[k], taken[i]);
		struct stat st;
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_uid, 0);
		assert_int_equal(st.st_mode & 07777, VM_DIR_MODE);
	}
}

static void one_that_is_taken_is_passed_over(void **state)
{
	struct error err;
	uid_t first, second;
	(void)state;
	need_root();
	auto_close int one = make_dir("same"), other = make_dir("other");
	assert_int_equal(vm_user_take(root, "same", one, &first, &err), 0);
	/* It begins to look at the same place. */
	assert_int_equal(vm_user_take(root, "same", other, &second, &err), 0);
	assert_true(second == first + 1 || (second < first && vm_user_in_range(second)));
}

static void the_beginning_can_be_set(void **state)
{
	struct error err;
	uid_t base;
	static const char *const bad[] = { "0",	      "1000",	    "65535",	  "-1",	   "x",
					   "100000x", "4294967295", "2147483647", " 70000" };
	(void)state;
	setenv("BANGER_UID_BASE", "70000", 1);
	assert_int_equal(vm_user_base(&base, &err), 0);
	assert_int_equal(base, 70000);
	assert_true(vm_user_in_range(70000) && vm_user_in_range(70000 + VM_USER_COUNT - 1));
	assert_false(vm_user_in_range(69999) || vm_user_in_range(70000 + VM_USER_COUNT));
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		setenv("BANGER_UID_BASE", bad[i], 1);
		assert_int_equal(vm_user_base(&base, &err), -1);
		assert_int_equal(err.code, ERROR_INVALID);
		assert_non_null(strstr(err.text, "BANGER_UID_BASE"));
	}
	unsetenv("BANGER_UID_BASE");
	assert_int_equal(vm_user_base(&base, &err), 0);
	assert_int_equal(base, VM_USER_BASE);
}

static struct stat look(int dirfd, const char *name)
{
	struct stat st;
	assert_int_equal(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static void files_are_given_and_shown(void **state)
{
	struct error err;
	(void)state;
	need_root();
	auto_close int fd = make_dir("files");
	assert_int_equal(fs_write(fd, "disk", "x", 1, 0600, &err), 0);
	assert_int_equal(fs_write(fd, "initrd", "x", 1, 0600, &err), 0);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(vm_user_give(fd, "disk", 70001, &err), 0);
		assert_int_equal(vm_user_show(fd, "initrd", 70001, &err), 0);
	}
	struct stat disk = look(fd, "disk"), initrd = look(fd, "initrd");
	assert_true(disk.st_uid == 70001 && disk.st_gid == 70001 && (disk.st_mode & 07777) == 0600);
	assert_true(initrd.st_uid == 0 && initrd.st_gid == 70001);
	assert_int_equal(initrd.st_mode & 07777, 0640);
}

/* What a hypervisor could put in a file's place is never given to it. */
static void no_trick_gives_away_another_file(void **state)
{
	struct error err;
	(void)state;
	need_root();
	auto_close int fd = make_dir("tricks");
	auto_free char *secret = xasprintf("%s/secret", root);
	assert_int_equal(fs_write(AT_FDCWD, secret, "x", 1, 0600, &err), 0);
	assert_int_equal(symlinkat(secret, fd, "link"), 0);
	assert_int_equal(linkat(AT_FDCWD, secret, fd, "hard", 0), 0);
	assert_int_equal(fs_write(fd, "theirs", "x", 1, 0600, &err), 0);
	assert_int_equal(fchownat(fd, "theirs", 70002, 70002, 0), 0);
	static const char *const names[] = { "link", "hard", "theirs" };
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		assert_int_equal(vm_user_give(fd, names[i], 70001, &err), -1);
		assert_int_equal(vm_user_show(fd, names[i], 70001, &err), -1);
	}
	struct stat st = look(AT_FDCWD, secret);
	assert_true(st.st_uid == 0 && st.st_gid == 0 && (st.st_mode & 07777) == 0600);
	assert_int_equal(vm_user_give_device(secret, 70001, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
}

/* A link to a socket of another's is not followed to the end. */
static void whoever_listens_is_the_vms_user(void **state)
{
	struct error err;
	uid_t user;
	(void)state;
	need_root();
	auto_close int fd = make_dir("peer");
	auto_close int listener = unix_listen(fd, "real.sock", &err);
	assert_true(listener >= 0);
	auto_close int before = vm_connect(fd, "real.sock", 1000, 0, &err);
	assert_true(before >= 0); /* a VM without a user of its own: session mode */
	assert_int_equal(vm_user_take(root, "peer", fd, &user, &err), 0);
	assert_int_equal(vm_connect(fd, "real.sock", 1000, 0, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	/* But through a link of ours: the monitor of one that was adopted. */
	auto_free char *real = xasprintf("%s/peer/real.sock", root);
	assert_int_equal(symlinkat(real, fd, "ours"), 0);
	auto_close int adopted = vm_connect(fd, "ours", 1000, 0, &err);
	assert_true(adopted >= 0);
	assert_int_equal(symlinkat(real, fd, "planted"), 0);
	assert_int_equal(fchownat(fd, "planted", user, user, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(vm_connect(fd, "planted", 1000, 0, &err), -1);
}

/* --- the process --- */

static void status_line(pid_t pid, const char *key, char *ret, size_t size)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT;
	auto_free char *path = xasprintf("/proc/%d/status", (int)pid);
	assert_int_equal(fs_read(AT_FDCWD, path, 65536, &text, &err), 0);
	const char *at = strstr(text.data, key);
	assert_non_null(at);
	snprintf(ret, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static void a_detached_process_becomes_its_user(void **state)
{
	struct error err;
	static const char *const argv[] = { "sleep", "60", NULL };
	static const char *const none[] = { "CapInh:\t", "CapPrm:\t", "CapEff:\t", "CapBnd:\t",
					    "CapAmb:\t" };
	const struct proc_user user = { .uid = 70001, .gid = 70001, .group = 70003 };
	char line[200];
	pid_t pid;
	(void)state;
	need_root();
	auto_close int fd = make_dir("process"), pidfd = -1;
	const struct proc_detach detach = { .argv = argv,
					    .dirfd = fd,
					    .lock_name = "lock",
					    .log_name = "log",
					    .user = &user,
					    .confined = true };
	assert_int_equal(proc_detach(&detach, &pid, &pidfd, &err), 0);
	status_line(pid, "Uid:", line, sizeof(line));
	assert_string_equal(line, "Uid:\t70001\t70001\t70001\t70001");
	status_line(pid, "Gid:", line, sizeof(line));
	assert_string_equal(line, "Gid:\t70001\t70001\t70001\t70001");
	status_line(pid, "Groups:", line, sizeof(line));
	assert_string_equal(line, "Groups:\t70003 ");
	status_line(pid, "NoNewPrivs:", line, sizeof(line));
	assert_string_equal(line, "NoNewPrivs:\t1");
	for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
		status_line(pid, none[i], line, sizeof(line));
		assert_string_equal(line + strlen(none[i]), "0000000000000000");
	}
	assert_true(lock_is_held(fd, "lock"));
	assert_int_equal(look(fd, "log").st_uid, 0);
	proc_signal(pidfd, SIGKILL);
	assert_int_equal(proc_wait_gone(pidfd, 5000), 0);
}

/* A tool that reads what a guest wrote runs as the guest's user: it opens nothing else. */
static void a_tool_can_run_as_a_user(void **state)
{
	struct error err;
	(void)state;
	need_root();
	auto_close int fd = make_dir("tool");
	auto_free char *dir = xasprintf("%s/tool", root);
	assert_int_equal(fs_write(fd, "roots", "x", 1, 0600, &err), 0);
	const struct proc_user user = { .uid = 70001, .gid = 70001 };
	const char *const argv[] = { "cat", "roots", NULL }, *const id[] = { "id", "-u", NULL };
	struct proc_run run = { .argv = argv, .cwd = dir, .timeout_ms = 10000, .files_only = true };
	auto_buf struct buf said = BUF_INIT;
	assert_int_equal(proc_check(&run, NULL, &err), 0);
	run.user = &user;
	assert_int_equal(proc_check(&run, NULL, &err), -1);
	assert_non_null(strstr(err.text, "Permission denied"));
	run.argv = id;
	assert_int_equal(proc_check(&run, &said, &err), 0);
	assert_string_equal(said.data, "70001\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vm_has_another),
		cmocka_unit_test(one_that_is_taken_is_passed_over),
		cmocka_unit_test(the_beginning_can_be_set),
		cmocka_unit_test(files_are_given_and_shown),
		cmocka_unit_test(no_trick_gives_away_another_file),
		cmocka_unit_test(whoever_listens_is_the_vms_user),
		cmocka_unit_test(a_detached_process_becomes_its_user),
		cmocka_unit_test(a_tool_can_run_as_a_user),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
