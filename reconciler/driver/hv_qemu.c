/* Theory of operation: a start removes what a dead process left, spawns QEMU holding the VM's lock,
 * and waits for the greeting of its monitor, which QEMU sends when the machine is complete: disks
 * opened, ports bound. Should the process end before, its last words are turned into an error that
 * says what to do. Nothing is left of a start that failed. */
#include "driver/qemu.h"
#include "driver/last_words.h"
#include "driver/net_user.h"
#include "driver/qmp.h"
#include "driver/scan.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define PROBE_TIMEOUT_MS  10000
#define KILL_WAIT_MS	  5000
#define RESUME_TIMEOUT_MS 2000

/* --- probe --- */

static int program_version(const char *program, const char *package, struct buf *ret,
			   struct error *err)
{
	const char *const argv[] = { program, "--version", NULL };
	struct proc_run run = { .argv = argv, .timeout_ms = PROBE_TIMEOUT_MS };
	if (proc_check(&run, ret, err) == 0)
		return 0;
	if (err->sys == ENOENT)
		return error_set(err, ERROR_NOT_FOUND, "'%s' is not installed: apt-get install %s",
				 program, package);
	return -1;
}

static int qemu_probe(struct buf *ret_detail, struct error *err)
{
	auto_buf struct buf text = BUF_INIT, img = BUF_INIT;
	if (program_version(QEMU_PROGRAM, "qemu-system-x86", &text, err) < 0 ||
	    program_version("qemu-img", "qemu-utils", &img, err) < 0)
		return -1;
	/* "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)" */
	const char *word = strstr(text.data, "version ");
	word = word ? word + strlen("version ") : text.data;
	buf_addf(ret_detail, QEMU_PROGRAM " %.*s", (int)strcspn(word, " \r\n"), word);
	return 0;
}

static int qemu_find(const char *state_vms_dir, struct hv_process_vec *ret, struct error *err)
{
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return error_sys(err, "cannot open '/proc'");
	return qemu_find_in(proc, state_vms_dir, ret, err);
}

/* --- what went wrong --- */

bool qemu_forward_parse(const char *text, struct port_spec *ret, char room[16])
{
	uint64_t host;
	struct in_addr in;
	bool udp = scan_text(&text, "udp:");
	if (!udp && !scan_text(&text, "tcp:"))
		return false;
	if (!scan_word(&text, "0123456789.", room, 16) || !scan_text(&text, ":") ||
	    !scan_number(&text, 10, UINT16_MAX, &host) || inet_pton(AF_INET, room, &in) != 1)
		return false;
	*ret = (struct port_spec){ .address = room,
				   .host = (uint16_t)host,
				   .proto = udp ? PORT_UDP : PORT_TCP };
	return true;
}

static int explain_end(int vm_dirfd, struct error *err)
{
	static const char forward[] = "Could not set up host forwarding rule '";
	auto_buf struct buf tail = BUF_INIT;
	last_words(vm_dirfd, &tail);
	struct port_spec port;
	char address[16];
	const char *found = strstr(tail.data, forward);
	if (found && qemu_forward_parse(found + strlen(forward), &port, address))
		return net_port_busy(&port, err);
	if (strstr(tail.data, "Failed to get") && strstr(tail.data, " lock"))
		return error_set(err, ERROR_BUSY, "a disk is in use by another process: %s",
				 tail.data);
	return last_words_error(QEMU_PROGRAM, &tail, err);
}

/* --- start and end --- */

static int wait_complete(int vm_dirfd, int pidfd, uint64_t timeout_ms, struct error *err)
{
	auto_qmp struct qmp qmp = QMP_INIT;
	if (qmp_open(vm_dirfd, pidfd, timeout_ms, &qmp, err) == 0)
		return 0;
	/* The socket may be closed a moment before the process is gone. */
	if (err->code == ERROR_CANCELLED && proc_wait_gone(pidfd, KILL_WAIT_MS) == 0)
		return explain_end(vm_dirfd, err);
	return error_wrap(err, "%s does not come up", QEMU_PROGRAM);
}

static void undo_start(int vm_dirfd, int pidfd)
{
	struct error ignored;
	proc_signal(pidfd, SIGKILL);
	if (proc_wait_gone(pidfd, KILL_WAIT_MS) == 0)
		hv_files_remove(vm_dirfd, &ignored);
}

static int qemu_start(const struct vm_machine *machine, uint64_t timeout_ms, pid_t *ret_pid,
		      int *ret_pidfd, struct error *err)
{
	/* The sockets of a process that lives are not ours to remove; the lock itself is decided by
	 * proc_detach(), between fork and exec. */
	if (lock_is_held(machine->dirfd, VM_FILE_LOCK))
		return error_set(err, ERROR_BUSY, "a hypervisor of '%s' runs already",
				 machine->name);
	if (hv_files_remove(machine->dirfd, err) < 0)
		return -1;
	char **argv = qemu_argv(machine);
	struct proc_detach detach = { .argv = (const char *const *)argv,
				      .dirfd = machine->dirfd,
				      .lock_name = VM_FILE_LOCK,
				      .log_name = VM_FILE_LOG,
				      .user = machine->user,
				      .confined = true };
	pid_t pid;
	auto_close int pidfd = -1;
	int started = proc_detach(&detach, &pid, &pidfd, err);
	hv_argv_free(argv);
	if (started < 0)
		return -1;
	if (wait_complete(machine->dirfd, pidfd, timeout_ms, err) < 0) {
		undo_start(machine->dirfd, pidfd);
		return -1;
	}
	*ret_pid = pid;
	*ret_pidfd = take_fd(&pidfd);
	return 0;
}

static int qemu_quit(int vm_dirfd, uint64_t timeout_ms, struct error *err)
{
	auto_qmp struct qmp qmp = QMP_INIT;
	if (qmp_open(vm_dirfd, -1, timeout_ms, &qmp, err) < 0) {
		bool nobody = err->sys == ENOENT || err->sys == ECONNREFUSED;
		return nobody && !lock_is_held(vm_dirfd, VM_FILE_LOCK) ? 0 : -1;
	}
	/* It may be gone before it could answer. */
	if (qmp_command(&qmp, "quit", NULL, NULL, err) < 0 && err->code != ERROR_CANCELLED)
		return -1;
	return 0;
}

static int qemu_resume(int vm_dirfd, int pidfd, struct error *err)
{
	(void)pidfd;
	auto_qmp struct qmp qmp = QMP_INIT;
	if (qmp_open(vm_dirfd, -1, RESUME_TIMEOUT_MS, &qmp, err) < 0)
		return -1;
	return qmp_command(&qmp, "cont", NULL, NULL, err);
}

const struct hv_driver hv_qemu = {
	.name = "qemu",
	.can = { .live_ports = true, .live_disk_grow = true, .live_memory = true },
	.memory_block = QEMU_MEMORY_BLOCK,
	.probe = qemu_probe,
	.find = qemu_find,
	.argv = qemu_argv,
	.start = qemu_start,
	.set_ports = qemu_set_ports,
	.set_memory = qemu_set_memory,
	.grow_disk = qemu_grow_disk,
	.quit = qemu_quit,
	.resume = qemu_resume,
	.monitor_open = qmp_monitor_open,
	.monitor_new = qmp_monitor_new,
	.monitor_feed = qmp_monitor_feed,
	.monitor_stop = qmp_monitor_stop,
	.monitor_plugged = qmp_monitor_plugged,
	.monitor_free = qmp_monitor_free,
};
