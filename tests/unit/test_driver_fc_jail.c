/* driver: Firecracker under its jailer, both as their stand-ins play them, which as root have all
 * of the real ones' effects: a root directory and a user of its own, no descriptor and no
 * environment of ours. Without root there is no jail, and nothing to see. Cgroups are for the lab.
 */
#include "test_driver_fc_help.h"
#include "driver/cgroup.h"
#include "driver/jail.h"
#include "guest/guest.h"
#include "sys/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define JAIL_UID 2001234567u
#define JAIL_ID	 "banger-ab12-c2-m256-x1024-n1"

static const struct proc_user user = { .uid = JAIL_UID, .gid = JAIL_UID };

static void script_jailer(const struct world *w, const char *text)
{
	struct error err;
	auto_free char *path = xasprintf("%s/jailer-script", w->root);
	MUST(fs_write(AT_FDCWD, path, text, strlen(text), 0600, &err) == 0);
	setenv("FAKE_JAILER", path, 1);
}

static int world_new(void **state)
{
	struct world *w = world_make();
	w->machine.user = &user;
	MUST(chown(w->dir, 0, JAIL_UID) == 0);
	w->machine.tap = NULL; /* there is none to be opened */
	script_jailer(w, "");
	unsetenv("BANGER_JAILER");
	*state = w;
	return 0;
}

static int world_free(void **state)
{
	world_end(*state);
	return 0;
}

/* In a process of its own, as it cannot be undone. */
static bool jails_are_possible(void)
{
	int status;
	pid_t pid = fork();
	char node[] = "/tmp/banger-test-XXXXXX";
	if (pid == 0) {
		bool made = mkdtemp(node) && rmdir(node) == 0 &&
			    mknod(node, S_IFCHR | 0600, makedev(1, 3)) == 0 && unlink(node) == 0;
		_exit(made && unshare(CLONE_NEWNS) == 0 &&
				      mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == 0
			      ? 0
			      : 1);
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

/* Of the run; what belongs to the VM, and its lock and log, stay. */
static void nothing_is_left(const struct world *w)
{
	struct hv_process_vec found = { 0 };
	struct error err;
	MUST(faccessat(w->dirfd, VM_FILE_JAIL, F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	MUST(count_entries(w->dir) <= 2 + 4 + 2);
	MUST(!lock_is_held(w->dirfd, VM_FILE_LOCK));
	MUST(hv_firecracker.find(w->vms, &found, &err) == 0 && found.count == 0);
	MUST(access(CGROUP_ROOT "/" CGROUP_PARENT "/" JAIL_ID, F_OK) < 0);
}

static void a_jailed_one_has_a_root_and_a_user_of_its_own(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct hv_process_vec found = { 0 };
	struct stat st, root;
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	auto_free char *proc = xasprintf("/proc/%d", (int)w->pid);
	auto_free char *proc_root = xasprintf("/proc/%d/root", (int)w->pid);
	auto_free char *proc_fds = xasprintf("/proc/%d/fd", (int)w->pid);
	auto_free char *jail = xasprintf("%s/jail/firecracker/" JAIL_ID "/root", w->dir);
	assert_int_equal(stat(proc, &st), 0);
	assert_int_equal(st.st_uid, JAIL_UID);
	assert_int_equal(st.st_gid, JAIL_UID);
	assert_int_equal(stat(proc_root, &st), 0);
	assert_int_equal(stat(jail, &root), 0);
	assert_true(st.st_dev == root.st_dev && st.st_ino == root.st_ino);
	/* Its lock is its standard input, and nothing else of ours is open in it. */
	assert_true(lock_is_held(w->dirfd, VM_FILE_LOCK));
	assert_true(count_entries(proc_fds) >= 5);

	assert_int_equal(hv_firecracker.find(w->vms, &found, &err), 0);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.at[0].pid, w->pid);
	assert_string_equal(found.at[0].id, "ab12");
	assert_int_equal(found.at[0].memory_max, GIB);
	assert_false(found.at[0].unborn);
	hv_processes_clear(&found);
	/* The kernel is read, and gone from where it was put. */
	assert_int_equal(faccessat(w->dirfd, "jail/firecracker/" JAIL_ID "/root/vmlinux", F_OK, 0),
			 -1);

	/* Everything below the VM's directory goes, the VM's own files stay. */
	world_kill(w);
	assert_int_equal(hv_files_remove(w->dirfd, &err), 0);
	assert_int_equal(hv_files_remove(w->dirfd, &err), 0);
	nothing_is_left(w);
	assert_int_equal(fstatat(w->dirfd, VM_FILE_ROOT_DISK, &st, 0), 0);
	assert_int_equal(st.st_nlink, 1);
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
}

static void another_with_its_command_line_is_not_it(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct hv_process_vec found = { 0 };
	int end[2];
	assert_int_equal(fs_mkdirs(w->dir, 0700, &err), 0);
	int root = jail_make(w->dirfd, "firecracker", JAIL_ID, &err);
	assert_true(root >= 0);
	close(root);
	assert_int_equal(pipe2(end, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		execl(getenv("BANGER_FIRECRACKER"), "/firecracker", "--id", JAIL_ID, "--log-path",
		      "console.pipe", "--api-sock", "/tmp/banger-test-none/x", NULL);
		_exit(1);
	}
	close(end[1]);
	/* Its end does not matter: it is looked at while it is there and after. */
	for (int i = 0; i < 20; i++) {
		assert_int_equal(hv_firecracker.find(w->vms, &found, &err), 0);
		assert_int_equal(found.count, 0);
	}
	close(end[0]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(jail_remove(w->dirfd, &err), 0);
}

static void the_agent_and_live_changes_reach_into_the_jail(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct hv_memory memory = { 0 };
	struct stat st;
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(agent_call(w->dirfd, "ping", NULL, 5000, NULL, &err), 0);
	assert_int_equal(hv_firecracker.set_memory(w->dirfd, 512 * MIB, &memory, &err), 0);
	assert_int_equal(hv_firecracker.grow_disk(w->dirfd, HV_DISK_WORK, 3 * MIB, &err), 0);
	assert_int_equal(fstatat(w->dirfd, VM_FILE_WORK_DISK, &st, 0), 0);
	assert_int_equal(st.st_size, 3 * MIB);
	assert_int_equal(st.st_uid, JAIL_UID);
	auto_close int console = hv_console_open(w->dirfd, 1000, &err);
	char text[256] = "";
	assert_true(read(console, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "Linux version"));
}

/* What the jailed one owns it may replace by anything. */
static void a_socket_that_leads_out_of_the_jail_is_not_followed(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	auto_close int root = openat(w->dirfd, "jail/firecracker/" JAIL_ID "/root",
				     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_free char *elsewhere = xasprintf("%s/elsewhere", w->root);
	auto_free char *below = xasprintf("%s/vsock.sock", elsewhere);
	assert_int_equal(fs_mkdirs(elsewhere, 0700, &err), 0);
	auto_close int there = open(elsewhere, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int listener = unix_listen(there, "vsock.sock", &err);
	assert_true(listener >= 0);
	for (int absolute = 0; absolute < 2; absolute++) {
		assert_int_equal(unlinkat(root, VM_FILE_VSOCK, 0), 0);
		assert_int_equal(
			symlinkat(absolute ? below : "../../../../../../elsewhere/vsock.sock", root,
				  VM_FILE_VSOCK),
			0);
		assert_int_equal(guest_connect(w->dirfd, GUEST_AGENT, 100, 0, &err), -1);
		assert_int_equal(err.sys, EXDEV);
	}
	assert_int_equal(unlinkat(root, VM_FILE_API, 0), 0);
	assert_int_equal(symlinkat(below, root, VM_FILE_API), 0);
	assert_int_equal(hv_firecracker.grow_disk(w->dirfd, HV_DISK_WORK, 4 * MIB, &err), -1);
	assert_non_null(strstr(err.text, "nobody listens"));
}

/* --- faults --- */

static const struct {
	const char *script, *cause;
} faults[] = {
	{ "fail args\n", "Jailer error: told to fail at 'args'" },
	{ "fail layout\n", "Jailer error: told to fail at 'layout'" },
	{ "fail copy\n", "Jailer error: told to fail at 'copy'" },
	{ "fail cgroup\n", "Jailer error: told to fail at 'cgroup'" },
	{ "fail chroot\n", "Jailer error: told to fail at 'chroot'" },
	{ "fail devices\n", "Jailer error: told to fail at 'devices'" },
	{ "kill layout\n", "ended at once: without a word" },
	{ "kill copy\n", "ended at once: without a word" },
	{ "kill cgroup\n", "ended at once: without a word" },
	{ "kill chroot\n", "ended at once: without a word" },
	{ "kill devices\n", "ended at once: without a word" },
	{ "hang args\n", "GET /version: nobody listens" },
	{ "hang cgroup\n", "GET /version: nobody listens" },
	{ "hang chroot\n", "GET /version: nobody listens" },
	{ "hang devices\n", "GET /version: nobody listens" },
};

static void a_jailer_that_fails_half_way_leaves_nothing(void **state)
{
	struct world *w = *state;
	size_t descriptors = count_entries("/proc/self/fd");
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		struct error err = { 0 };
		bool hangs = faults[i].script[0] == 'h';
		script_jailer(w, faults[i].script);
		int failed = hv_firecracker.start(&w->machine, hangs ? 300 : START_MS, &w->pid,
						  &w->pidfd, &err);
		if (failed == 0 || !strstr(err.text, "firecracker of 'web': ") ||
		    !strstr(err.text, faults[i].cause))
			fail_msg("%s: '%s'", faults[i].script, err.text);
		nothing_is_left(w);
	}
	assert_int_equal(count_entries("/proc/self/fd"), descriptors);
	script_jailer(w, "");
	struct error err = { 0 };
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
}

/* And so does a Firecracker in it; every call, in the release that has most of them. */
static void a_call_that_fails_in_a_jail_leaves_nothing(void **state)
{
	static const char *const kinds[] = { "refuse no", "cut", "crash" };
	struct world *w = *state;
	struct fc_call_vec calls = { 0 };
	struct error err = { 0 };
	assert_int_equal(fc_config(&w->machine, w->kernel, FC_VERSION(1, 17), &calls, &err), 0);
	for (size_t i = 0; i < calls.count * ARRAY_COUNT(kinds); i++) {
		const struct fc_call *call = &calls.at[i / ARRAY_COUNT(kinds)];
		auto_free char *text = xasprintf("fault %s %s %s\n", call->method, call->path,
						 kinds[i % ARRAY_COUNT(kinds)]);
		auto_free char *named = xasprintf("%s %s: ", call->method, call->path);
		script(w, text);
		if (world_start(w, &err) == 0 || !strstr(err.text, named))
			fail_msg("%s: '%s'", text, err.text);
		nothing_is_left(w);
	}
	fc_calls_clear(&calls);
}

/* A process that begins cannot be told from one that hangs: it is found, and known for what it is.
 */
static void whoever_waits_to_be_told_is_known(void **state)
{
	struct world *w = *state;
	struct error err;
	struct hv_process_vec found = { 0 };
	static const char *const scripts[] = { "hang cgroup\n", "" };
	for (size_t i = 0; i < ARRAY_COUNT(scripts); i++) {
		script_jailer(w, scripts[i]);
		script(w, "fault GET /version delay\n");
		pid_t starter = fork();
		if (starter == 0)
			_exit(hv_firecracker.start(&w->machine, START_MS, &w->pid, &w->pidfd,
						   &err));
		for (int tries = 0; tries < 1000 && !found.count; tries++) {
			usleep(5000);
			assert_int_equal(hv_firecracker.find(w->vms, &found, &err), 0);
		}
		assert_int_equal(found.count, 1);
		assert_true(found.at[0].unborn);
		assert_string_equal(found.at[0].id, "ab12");
		/* It dies in the midst of it; the lock is held on. */
		kill(starter, SIGKILL);
		waitpid(starter, NULL, 0);
		assert_int_equal(world_start(w, &err), -1);
		assert_int_equal(err.code, ERROR_BUSY);
		proc_signal(found.at[0].pidfd, SIGKILL);
		assert_int_equal(proc_wait_gone(found.at[0].pidfd, 5000), 0);
		hv_processes_clear(&found);
		assert_int_equal(hv_files_remove(w->dirfd, &err), 0);
		nothing_is_left(w);
	}
}

/* As what is on another file system is; it has to be readable, whatever our umask. */
static void what_cannot_be_linked_is_copied(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct stat st;
	auto_close int root = jail_make(w->dirfd, "firecracker", JAIL_ID, &err);
	mode_t before = umask(0077);
	/* So is what not everybody may read, which stays as it is. */
	assert_int_equal(fchmodat(AT_FDCWD, w->kernel, 0600, 0), 0);
	if (jail_share(root, "vmlinux", AT_FDCWD, w->kernel, &err) < 0)
		fail_msg("%s", err.text);
	umask(before);
	assert_int_equal(fstatat(root, "vmlinux", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(stat(w->kernel, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(jail_remove(w->dirfd, &err), 0);
}

/* Without a jail a hypervisor can make that directory itself, for the next start to be led by. */
static void what_somebody_else_made_is_no_jail(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	assert_int_equal(mkdirat(w->dirfd, VM_FILE_JAIL, 0777), 0);
	assert_int_equal(fchownat(w->dirfd, VM_FILE_JAIL, JAIL_UID, JAIL_UID, 0), 0);
	assert_int_equal(jail_make(w->dirfd, "firecracker", JAIL_ID, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.text, "'jail' of the jail is there already"));
	assert_int_equal(jail_remove(w->dirfd, &err), 0);
}

/* --- which jailer, and how it is called --- */

static void the_jailer_is_called_with_limits(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct fc_jail jail;
	make_file(w->dirfd, VM_FILE_CONSOLE_PIPE, "", 0);
	if (fc_jail_make(&jail, &w->machine, &err) < 0)
		fail_msg("%s", err.text);
	auto_buf struct buf text = BUF_INIT;
	char **argv = fc_jail_argv(&jail);
	for (size_t i = 1; argv[i]; i++)
		buf_addf(&text, "%s ", argv[i]);
	auto_free char *want = xasprintf(
		"--id " JAIL_ID " --exec-file %s --uid %u --gid %u --chroot-base-dir %s/jail "
		"%s-- --log-path console.pipe --level Warning --api-sock fc.sock ",
		jail.program, JAIL_UID, JAIL_UID, w->dir,
		!cgroup_can(NULL) ? ""
				  : "--cgroup-version 2 --parent-cgroup banger --cgroup "
				    "memory.max=1207959552 --cgroup pids.max=34 --cgroup "
				    "cpu.weight=200 ");
	assert_string_equal(text.data, want);
	struct hv_process found;
	auto_buf struct buf cmdline = BUF_INIT, vms = BUF_INIT;
	for (size_t i = 0; argv[i]; i++)
		buf_add_bytes(&cmdline, argv[i], strlen(argv[i]) + 1);
	assert_true(fc_cmdline_parse(cmdline.data, cmdline.len, &found, &vms));
	assert_string_equal(vms.data, w->vms);
	assert_false(found.jailed);
	hv_argv_free(argv);
	fc_jail_clear(&jail);
	assert_int_equal(hv_files_remove(w->dirfd, &err), 0);
}

static void a_jailer_is_found_or_missed_by_name(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	auto_buf struct buf detail = BUF_INIT;
	auto_free char *release = xasprintf("%s/firecracker-v1.9.1-x86_64", w->root);
	auto_free char *beside = xasprintf("%s/jailer-v1.9.1-x86_64", w->root);
	auto_free char *jailer = NULL, *found = NULL;
	assert_int_equal(fc_jailer(getenv("BANGER_FIRECRACKER"), &jailer, &err), 0);
	assert_non_null(strstr(jailer, "/fake/jailer"));
	assert_int_equal(symlink(jailer, beside), 0);
	assert_int_equal(fc_jailer(release, &found, &err), 0);
	assert_string_equal(found, beside);
	assert_int_equal(hv_firecracker.probe(&detail, &err), 0);
	assert_non_null(strstr(detail.data, ", jailed by "));

	script_jailer(w, "version 1.16.1\n");
	assert_int_equal(hv_firecracker.probe(&detail, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.text, "is of release '1.16.1' and Firecracker is 1.17.0"));
	setenv("BANGER_JAILER", "/nowhere/jailer", 1);
	assert_int_equal(hv_firecracker.probe(&detail, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_int_equal(world_start(w, &err), -1);
	assert_non_null(strstr(err.text, "BANGER_JAILER"));
	nothing_is_left(w);
	unsetenv("BANGER_JAILER");

	/* It takes no program of another name, whatever the link to it is called. */
	auto_free char *odd = xasprintf("%s/vmm", w->root),
		       *link = xasprintf("%s/firecracker", w->root);
	struct error copied;
	auto_buf struct buf program = BUF_INIT;
	assert_int_equal(
		fs_read(AT_FDCWD, getenv("BANGER_FIRECRACKER"), 16 << 20, &program, &copied), 0);
	assert_int_equal(fs_write(AT_FDCWD, odd, program.data, program.len, 0755, &copied), 0);
	assert_int_equal(symlink(odd, link), 0);
	setenv("BANGER_JAILER", jailer, 1);
	setenv("BANGER_FIRECRACKER", link, 1);
	assert_int_equal(world_start(w, &err), -1);
	assert_non_null(strstr(err.text, "rename '"));
	nothing_is_left(w);
	/* Without a user of its own there is no jail. */
	setenv("BANGER_FIRECRACKER", odd, 1);
	w->machine.user = NULL;
	assert_int_equal(world_start(w, &err), 0);
	assert_int_equal(faccessat(w->dirfd, VM_FILE_JAIL, F_OK, 0), -1);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_new, world_free)
	const struct CMUnitTest tests[] = {
		IN_WORLD(a_jailed_one_has_a_root_and_a_user_of_its_own),
		IN_WORLD(another_with_its_command_line_is_not_it),
		IN_WORLD(the_agent_and_live_changes_reach_into_the_jail),
		IN_WORLD(a_socket_that_leads_out_of_the_jail_is_not_followed),
		IN_WORLD(a_jailer_that_fails_half_way_leaves_nothing),
		IN_WORLD(a_call_that_fails_in_a_jail_leaves_nothing),
		IN_WORLD(whoever_waits_to_be_told_is_known),
		IN_WORLD(what_cannot_be_linked_is_copied),
		IN_WORLD(what_somebody_else_made_is_no_jail),
		IN_WORLD(the_jailer_is_called_with_limits),
		IN_WORLD(a_jailer_is_found_or_missed_by_name),
	};
	signal(SIGPIPE, SIG_IGN);
	if (!jails_are_possible()) {
		puts("no jails can be made here: they need root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
