/* Theory of operation: a start removes what a dead process left, spawns Firecracker holding the
 * VM's lock, asks it for its version as soon as it listens, and tells it call by call what machine
 * to be; the last call boots the guest. What a call is refused with is the error's cause. Nothing
 * is left of a start that failed.
 *
 * There is no stream of events and no call to end it. That it ended is seen by its pidfd, why is
 * not told; it ends when the guest resets its machine, so the agent reboots where it would power
 * off, and else by a signal. It leaves its sockets behind. */
#include "driver/fc.h"
#include "driver/jail.h"
#include "driver/last_words.h"
#include "driver/vm_user.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define PROBE_TIMEOUT_MS 10000
#define KILL_WAIT_MS	 5000
#define CONNECT_PAUSE_MS 5
#define DEATH_MS	 200 /* its socket may be closed a moment before */

static int probe_jailer(const char *program, const char *version, struct buf *ret_detail,
			struct error *err)
{
	auto_free char *jailer = NULL;
	if (fc_jailer(program, &jailer, err) < 0 ||
	    (jailer && fc_jailer_check(jailer, version, err) < 0))
		return -1;
	if (jailer)
		buf_addf(ret_detail, ", jailed by %s", jailer);
	else
		buf_add(ret_detail, ", without its jailer");
	return 0;
}

/* *ret_word: where the version begins in what it says. */
static int program_version(const char *program, struct buf *text, fc_version *ret,
			   const char **ret_word, struct error *err)
{
	const char *const argv[] = { program, "--version", NULL };
	struct proc_run run = { .argv = argv, .timeout_ms = PROBE_TIMEOUT_MS };
	if (proc_check(&run, text, err) < 0)
		return -1;
	*ret_word = text->data + strcspn(text->data, "0123456789");
	if (fc_version_parse(text->data, ret))
		return 0;
	return error_set(err, ERROR_INVALID, "'%s' tells no version of Firecracker", program);
}

int fc_jail_probe(const char *dir, struct buf *ret_detail, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	auto_free char *program = fc_program(err), *jailer = NULL;
	const char *word;
	fc_version version;
	if (!program) {
		buf_add(ret_detail, "not needed without Firecracker");
		return 0;
	}
	if (fc_jailer(program, &jailer, err) < 0)
		return -1;
	if (!jailer) {
		buf_add(ret_detail, "not installed");
		return 0;
	}
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (program_version(program, &text, &version, &word, err) < 0 ||
	    fc_jailer_check(jailer, word, err) < 0 || (fd >= 0 && jail_possible(fd, err) < 0))
		return -1;
	buf_addf(ret_detail, "%s %.*s", jailer, (int)strcspn(word, " \r\n"), word);
	return 1;
}

static int fc_probe(struct buf *ret_detail, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	auto_free char *program = fc_program(err);
	const char *word;
	fc_version version;
	if (!program || program_version(program, &text, &version, &word, err) < 0 ||
	    fc_version_check(version, err) < 0)
		return -1;
	buf_addf(ret_detail, "%s %.*s%s", program, (int)strcspn(word, " \r\n"), word,
		 fc_can(version, FC_ACPI)
			 ? ""
			 : ", which boots only kernels with CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES");
	return geteuid() == 0 ? probe_jailer(program, word, ret_detail, err) : 0;
}

static int fc_find(const char *state_vms_dir, struct hv_process_vec *ret, struct error *err)
{
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return error_sys(err, "cannot open '/proc'");
	return fc_find_in(proc, state_vms_dir, ret, err);
}

/* --- start --- */

static uint64_t left_ms(uint64_t deadline, uint64_t most)
{
	uint64_t now = clock_monotonic_ms(), left = deadline > now ? deadline - now : 0;
	return left < most ? left : most;
}

/* Asks until it listens. */
static int first_answer(struct fc_api *api, int pidfd, uint64_t deadline, cJSON **ret,
			struct error *err)
{
	static const struct timespec pause = { .tv_nsec = CONNECT_PAUSE_MS * 1000000L };
	for (;;) {
		if (fc_api_get(api, "/version", left_ms(deadline, fc_call_ms()), ret, err) == 0)
			return 0;
		if (err->code != ERROR_UNAVAILABLE || proc_wait_gone(pidfd, 0) == 0)
			return -1;
		if (!left_ms(deadline, UINT64_MAX))
			return error_set(err, ERROR_TIMEOUT, "GET /version: nobody listens");
		nanosleep(&pause, NULL);
	}
}

static int ask_version(struct fc_api *api, int pidfd, uint64_t deadline, fc_version *ret,
		       struct error *err)
{
	auto_json cJSON *answer = NULL;
	if (first_answer(api, pidfd, deadline, &answer, err) < 0)
		return -1;
	const char *text = json_str(answer, "firecracker_version", "");
	if (!fc_version_parse(text, ret))
		return error_set(err, ERROR_SYSTEM, "GET /version: '%.40s' is no version", text);
	return fc_version_check(*ret, err);
}

/* One that was unpacked, for a Firecracker without a jail. */
static int show_kernel(const struct vm_machine *machine, const char *kernel, struct error *err)
{
	if (!machine->user || kernel == machine->kernel)
		return 0;
	return vm_user_show(machine->dirfd, kernel, machine->user->uid, err);
}

static int configure(struct fc_api *api, const struct vm_machine *machine,
		     const struct fc_jail *jail, int pidfd, uint64_t deadline, struct error *err)
{
	fc_version version;
	const char *kernel;
	struct fc_call_vec calls = { 0 };
	if (ask_version(api, pidfd, deadline, &version, err) < 0 ||
	    fc_kernel_prepare(machine->dirfd, machine->kernel, version, &kernel, err) < 0 ||
	    (jail->jailer ? fc_jail_kernel(jail, &kernel, err)
			  : show_kernel(machine, kernel, err)) < 0 ||
	    fc_config(jail->jailer ? &jail->machine : machine, kernel, version, &calls, err) < 0)
		return -1;
	int failed = 0;
	for (size_t i = 0; i < calls.count && failed == 0; i++)
		failed = fc_api_call(api, &calls.at[i], left_ms(deadline, fc_call_ms()), NULL, err);
	fc_calls_clear(&calls);
	return failed;
}

/* A connection that breaks is the process's end, most likely: then its own words say more. */
static int explain(int vm_dirfd, int pidfd, struct error *err)
{
	bool broken = err->sys == ECONNRESET || err->sys == ECONNREFUSED;
	if (!broken || proc_wait_gone(pidfd, DEATH_MS) < 0)
		return -1;
	auto_buf struct buf words = BUF_INIT;
	auto_free char *call = xstrndup(err->text, strcspn(err->text, ":"));
	last_words(vm_dirfd, &words);
	last_words_error(FC_PROGRAM, &words, err);
	return error_wrap(err, "%s", call);
}

static int bring_up(const struct vm_machine *machine, const struct fc_jail *jail, int pidfd,
		    uint64_t timeout_ms, struct error *err)
{
	uint64_t deadline = clock_monotonic_ms() + timeout_ms;
	auto_ptr(fc_api) api = fc_api_new(machine->dirfd, err);
	if (!api)
		return -1;
	if (configure(api, machine, jail, pidfd, deadline, err) < 0)
		return explain(machine->dirfd, pidfd, err);
	/* Read into the guest's memory by now. */
	if ((jail->jailer && fs_unlink(jail->root, VM_FILE_KERNEL, err) < 0) ||
	    fs_unlink(machine->dirfd, VM_FILE_KERNEL, err) < 0)
		return -1;
	return fs_unlink(machine->dirfd, VM_FILE_STARTING, err);
}

/* Who dies from here on leaves a process that nobody will tell what to be: it is marked. */
static int spawn(const struct vm_machine *machine, struct fc_jail *jail, pid_t *ret_pid,
		 int *ret_pidfd, struct error *err)
{
	if (mkfifoat(machine->dirfd, VM_FILE_CONSOLE_PIPE, 0600) < 0)
		return error_sys(err, "cannot make '" VM_FILE_CONSOLE_PIPE "'");
	if (machine->user &&
	    vm_user_give(machine->dirfd, VM_FILE_CONSOLE_PIPE, machine->user->uid, err) < 0)
		return -1;
	auto_close int mark = openat(machine->dirfd, VM_FILE_STARTING,
				     O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (mark < 0)
		return error_sys(err, "cannot make '" VM_FILE_STARTING "'");
	if (fc_jail_make(jail, machine, err) < 0)
		return -1;
	char **argv = jail->jailer ? fc_jail_argv(jail) : fc_argv(machine);
	struct proc_detach detach = { .argv = (const char *const *)argv,
				      .dirfd = machine->dirfd,
				      .lock_name = VM_FILE_LOCK,
				      .lock_is_stdin = jail->jailer != NULL,
				      .log_name = VM_FILE_LOG,
				      .user = jail->jailer ? NULL : machine->user,
				      .confined = true,
				      .output_fifo = VM_FILE_CONSOLE_PIPE };
	int started = proc_detach(&detach, ret_pid, ret_pidfd, err);
	hv_argv_free(argv);
	return started;
}

static int start(const struct vm_machine *machine, struct fc_jail *jail, uint64_t timeout_ms,
		 pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
	struct error ignored;
	pid_t pid = 0;
	auto_close int pidfd = -1;
	if (hv_files_remove(machine->dirfd, err) < 0)
		return -1;
	if (spawn(machine, jail, &pid, &pidfd, err) < 0) {
		/* Of somebody else by now, who was quicker. */
		if (err->code != ERROR_BUSY)
			hv_files_remove(machine->dirfd, &ignored);
		return -1;
	}
	if (bring_up(machine, jail, pidfd, timeout_ms, err) < 0) {
		proc_signal(pidfd, SIGKILL);
		if (proc_wait_gone(pidfd, KILL_WAIT_MS) == 0)
			hv_files_remove(machine->dirfd, &ignored);
		return -1;
	}
	*ret_pid = pid;
	*ret_pidfd = take_fd(&pidfd);
	return 0;
}

static int fc_start(const struct vm_machine *machine, uint64_t timeout_ms, pid_t *ret_pid,
		    int *ret_pidfd, struct error *err)
{
	if (lock_is_held(machine->dirfd, VM_FILE_LOCK))
		return error_set(err, ERROR_BUSY, "a hypervisor of '%s' runs already",
				 machine->name);
	struct fc_jail jail = FC_JAIL_INIT;
	int failed = start(machine, &jail, timeout_ms, ret_pid, ret_pidfd, err);
	fc_jail_clear(&jail);
	return failed < 0 ? error_wrap(err, FC_PROGRAM " of '%s'", machine->name) : 0;
}

/* --- a running one --- */

/* The bridge's rules forward its ports. */
static int fc_set_ports(int vm_dirfd, const struct port_list *from, const struct port_list *to,
			struct error *err)
{
	(void)vm_dirfd, (void)from, (void)to, (void)err;
	return 0;
}

/* What its disks were told has reached the host's kernel, so a signal loses nothing more. */
static int fc_quit(int vm_dirfd, uint64_t timeout_ms, struct error *err)
{
	(void)timeout_ms;
	if (!lock_is_held(vm_dirfd, VM_FILE_LOCK))
		return 0;
	return error_set(err, ERROR_CONFLICT, "Firecracker ends by a signal only");
}

/* Its own way to stand still would not do: while paused by the API it holds new connections to the
 * guest for ever in some releases (1.16), and it has to answer to be asked. */
static int fc_resume(int vm_dirfd, int pidfd, struct error *err)
{
	(void)vm_dirfd;
	return proc_signal(pidfd, SIGCONT) < 0 ? error_sys(err, "cannot let Firecracker go on") : 0;
}

const struct hv_driver hv_firecracker = {
	.name = "firecracker",
	.needs_kvm = true,
	.needs_tap = true,
	.ends_by_reset = true,
	.can = { .live_ports = true, .live_disk_grow = true, .live_memory = true },
	.memory_block = FC_MEMORY_BLOCK,
	.probe = fc_probe,
	.find = fc_find,
	.argv = fc_argv,
	.start = fc_start,
	.set_ports = fc_set_ports,
	.set_memory = fc_set_memory,
	.grow_disk = fc_grow_disk,
	.quit = fc_quit,
	.stands_by_signal = true,
	.resume = fc_resume,
};
