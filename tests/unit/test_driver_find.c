/* driver: which processes are ours. The test copies itself to qemu-system-x86_64 and runs that,
 * which sleeps, so that /proc holds real processes with QEMU's looks; a fake /proc has what cannot
 * be had for real. */
#include "driver/qemu.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MANY 100

struct world {
	char root[64];
	char *vms, *program, *proc;
	int proc_dirfd;
	pid_t children[MANY + 8];
	size_t count;
};

static void copy_self(const char *to)
{
	struct error err;
	auto_buf struct buf self = BUF_INIT;
	assert_int_equal(fs_read(AT_FDCWD, "/proc/self/exe", 64 << 20, &self, &err), 0);
	assert_int_equal(fs_write(AT_FDCWD, to, self.data, self.len, 0700, &err), 0);
}

static int world_new(void **state)
{
	struct error err;
	struct world *w = xcalloc(1, sizeof(*w));
	memcpy(w->root, "/tmp/banger-test-XXXXXX", 24);
	assert_non_null(mkdtemp(w->root));
	w->vms = xasprintf("%s/vms", w->root);
	w->proc = xasprintf("%s/proc", w->root);
	w->program = xasprintf("%s/qemu-system-x86_64", w->root);
	assert_int_equal(fs_mkdirs(w->vms, 0700, &err), 0);
	assert_int_equal(fs_mkdirs(w->proc, 0700, &err), 0);
	w->proc_dirfd = open(w->proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	copy_self(w->program);
	*state = w;
	return 0;
}

static int world_free(void **state)
{
	struct world *w = *state;
	struct error err;
	for (size_t i = 0; i < w->count; i++) {
		kill(w->children[i], SIGKILL);
		waitpid(w->children[i], NULL, 0);
	}
	close(w->proc_dirfd);
	fs_remove_tree(AT_FDCWD, w->root, &err);
	free(w->vms);
	free(w->proc);
	free(w->program);
	free(w);
	return 0;
}

static char **argv_for(const char *vms, const char *id)
{
	auto_free char *dir = xasprintf("%s/%s", vms, id);
	struct vm_machine vm = { .id = id,
				 .name = "web",
				 .dir = dir,
				 .vcpus = 3,
				 .memory = 1 << 27,
				 .kernel = "/k",
				 .mac = "52:54:00:00:00:00",
				 .address = "127.64.0.1" };
	return hv_qemu.argv(&vm);
}

/* A sleeping process with this program and QEMU's arguments. */
static pid_t run(struct world *w, const char *program, const char *vms, const char *id)
{
	char **argv = argv_for(vms, id);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		execv(program, argv);
		_exit(127);
	}
	hv_argv_free(argv);
	w->children[w->count++] = pid;
	/* Until the kernel has finished its exec, which sets the arguments last. */
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_buf struct buf cmdline = BUF_INIT;
	for (int i = 0; i < 5000; i++) {
		struct timespec pause = { .tv_nsec = 1000000 };
		buf_reset(&cmdline);
		if (proc_cmdline(proc, pid, &cmdline) == 0 && !strcmp(cmdline.data, QEMU_PROGRAM))
			break;
		nanosleep(&pause, NULL);
	}
	return pid;
}

static size_t find_count(const char *vms)
{
	struct error err;
	struct hv_process_vec found = { 0 };
	assert_int_equal(hv_qemu.find(vms, &found, &err), 0);
	size_t count = found.count;
	hv_processes_clear(&found);
	return count;
}

static void ours_are_found_by_any_name_of_their_directory(void **state)
{
	struct world *w = *state;
	struct error err;
	pid_t second = run(w, w->program, w->vms, "bb22");
	pid_t first = run(w, w->program, w->vms, "aa11");
	struct hv_process_vec found = { 0 };
	assert_int_equal(hv_qemu.find(w->vms, &found, &err), 0);
	assert_int_equal(found.count, 2);
	assert_string_equal(found.at[0].id, "aa11");
	assert_int_equal(found.at[0].pid, first);
	assert_int_equal(found.at[1].pid, second);
	assert_int_equal(found.at[1].vcpus, 3);
	hv_processes_clear(&found);

	auto_free char *link = xasprintf("%s/link", w->root);
	assert_int_equal(symlink(w->vms, link), 0);
	assert_int_equal(find_count(link), 2);
}

static void others_are_left_alone(void **state)
{
	struct world *w = *state;
	auto_free char *elsewhere = xasprintf("%s/elsewhere/vms", w->root);
	auto_free char *longer = xasprintf("%s2", w->vms);
	auto_free char *other = xasprintf("%s/not-a-vmm", w->root);
	copy_self(other);
	run(w, w->program, elsewhere, "aa11");	 /* another daemon's */
	run(w, w->program, longer, "aa11");	 /* a directory whose name begins like ours */
	run(w, other, w->vms, "aa11");		 /* its arguments only */
	run(w, w->program, w->vms, "Not.an.id"); /* not a name we give */
	assert_int_equal(find_count(w->vms), 0);
}

static void the_dead_are_not_found(void **state)
{
	struct world *w = *state;
	pid_t pid = run(w, w->program, w->vms, "aa11");
	assert_int_equal(find_count(w->vms), 1);
	kill(pid, SIGKILL);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* a zombie */
	assert_int_equal(find_count(w->vms), 0);
}

static void an_upgraded_program_is_still_ours(void **state)
{
	struct world *w = *state;
	run(w, w->program, w->vms, "aa11");
	assert_int_equal(unlink(w->program), 0); /* " (deleted)" */
	assert_int_equal(find_count(w->vms), 1);
}

static void a_hundred_are_found_in_milliseconds(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < MANY; i++) {
		auto_free char *id = xasprintf("vm%d", i);
		run(w, w->program, w->vms, id);
	}
	uint64_t before = clock_monotonic_ms();
	for (int i = 0; i < 10; i++)
		assert_int_equal(find_count(w->vms), MANY);
	print_message("100 VMs found in %.1f ms\n", (double)(clock_monotonic_ms() - before) / 10.0);
}

/* --- a fake /proc: what a process may look like that we cannot make --- */

static void fake_file(struct world *w, pid_t pid, const char *name, const char *data, size_t len)
{
	struct error err;
	auto_free char *path = xasprintf("%s/%d/%s", w->proc, (int)pid, name);
	assert_int_equal(fs_write(AT_FDCWD, path, data, len, 0600, &err), 0);
}

static void fake_link(struct world *w, pid_t pid, const char *name, const char *to)
{
	auto_free char *path = xasprintf("%s/%d/%s", w->proc, (int)pid, name);
	unlink(path);
	assert_int_equal(symlink(to, path), 0);
}

static void fake_process(struct world *w, pid_t pid)
{
	struct error err;
	auto_free char *dir = xasprintf("%s/%d", w->proc, (int)pid);
	assert_int_equal(fs_mkdirs(dir, 0700, &err), 0);
	auto_buf struct buf cmdline = BUF_INIT, stat = BUF_INIT;
	char **argv = argv_for(w->vms, "aa11");
	for (size_t i = 0; argv[i]; i++)
		buf_add_bytes(&cmdline, argv[i], strlen(argv[i]) + 1);
	hv_argv_free(argv);
	buf_addf(&stat, "%d (ban) ger) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n",
		 (int)pid);
	fake_file(w, pid, "cmdline", cmdline.data, cmdline.len);
	fake_file(w, pid, "stat", stat.data, stat.len);
	fake_link(w, pid, "exe", "/usr/bin/qemu-system-x86_64 (deleted)");
	fake_link(w, pid, "root", "/");
}

static size_t fake_count(struct world *w, uint64_t *ret_ticks)
{
	struct error err;
	struct hv_process_vec found = { 0 };
	assert_int_equal(qemu_find_in(w->proc_dirfd, w->vms, &found, &err), 0);
	size_t count = found.count;
	if (count)
		*ret_ticks = found.at[0].start_ticks;
	hv_processes_clear(&found);
	return count;
}

static void containers_and_strangers_are_not_ours(void **state)
{
	struct world *w = *state;
	uint64_t ticks = 0;
	pid_t pid = getpid();
	fake_process(w, pid);
	assert_int_equal(fake_count(w, &ticks), 1);
	assert_int_equal(ticks, 4711);
	fake_link(w, pid, "root", w->root); /* the same paths in a container */
	assert_int_equal(fake_count(w, &ticks), 0);
	fake_process(w, pid);
	auto_free char *dir = xasprintf("%s/%d", w->proc, (int)pid);
	if (geteuid() == 0) {
		assert_int_equal(chown(dir, 65534, 65534), 0);
		assert_int_equal(fake_count(w, &ticks), 0);
	}
}

static void a_number_without_a_process_is_skipped(void **state)
{
	struct world *w = *state;
	uint64_t ticks;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	fake_process(w, pid);
	assert_int_equal(fake_count(w, &ticks), 0);
}

static void an_unreadable_proc_is_an_error_not_nothing(void **state)
{
	struct world *w = *state;
	struct error err;
	struct hv_process_vec found = { 0 };
	auto_close int file = open(w->program, O_RDONLY | O_CLOEXEC);
	assert_int_equal(qemu_find_in(file, w->vms, &found, &err), -1);
	assert_int_equal(err.code, ERROR_SYSTEM);
	assert_int_equal(found.count, 0);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_new, world_free)

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[0], QEMU_PROGRAM)) {
		alarm(60);
		pause();
		return 0;
	}
	const struct CMUnitTest tests[] = {
		IN_WORLD(ours_are_found_by_any_name_of_their_directory),
		IN_WORLD(others_are_left_alone),
		IN_WORLD(the_dead_are_not_found),
		IN_WORLD(an_upgraded_program_is_still_ours),
		IN_WORLD(a_hundred_are_found_in_milliseconds),
		IN_WORLD(containers_and_strangers_are_not_ours),
		IN_WORLD(a_number_without_a_process_is_skipped),
		IN_WORLD(an_unreadable_proc_is_an_error_not_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
