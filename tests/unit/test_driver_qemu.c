/* driver: real QEMU processes, with a guest of a few bytes (tests/driver/guest.h). */
#include "driver/driver.h"
#include "driver/qmp.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/loop.h"
#include "sys/proc.h"
#include "sys/unix.h"
#include "tests/driver/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define START_MS 20000

struct world {
	char root[64]; /* a state directory */
	char id[16];
	char *vms, *dir, *kernel;
	int dirfd;
	struct vm_machine machine;
	struct port_spec ports[4];
	struct port_list list;
	pid_t pid;
	int pidfd;
};

static void write_kernel(struct world *w, uint32_t dots, enum guest_end end)
{
	unsigned char image[GUEST_KERNEL_BYTES];
	struct error err;
	guest_kernel(image, dots, end);
	assert_int_equal(fs_write(AT_FDCWD, w->kernel, image, sizeof(image), 0600, &err), 0);
}

static int world_new(void **state)
{
	struct error err;
	struct world *w = xcalloc(1, sizeof(*w));
	memcpy(w->root, "/tmp/banger-test-XXXXXX", 24);
	assert_non_null(mkdtemp(w->root));
	w->vms = xasprintf("%s/vms", w->root);
	/* Its address is derived from its id: another run of this test at the same time has
	 * another. */
	snprintf(w->id, sizeof(w->id), "t%d", (int)getpid());
	w->dir = xasprintf("%s/%s", w->vms, w->id);
	w->kernel = xasprintf("%s/kernel,with=comma", w->root);
	assert_int_equal(fs_mkdirs(w->dir, 0700, &err), 0);
	w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->dirfd >= 0);
	write_kernel(w, 10, GUEST_HALTS);
	assert_int_equal(fs_write(w->dirfd, VM_FILE_INITRD, "seed", 4, 0600, &err), 0);
	auto_close int root =
		openat(w->dirfd, VM_FILE_ROOT_DISK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(root, 1 << 20), 0);
	static char address[16], mac[18];
	assert_int_equal(net_user_address(w->id, NULL, 0, address, &err), 0);
	net_mac(w->id, mac);
	w->list = (struct port_list){ .at = w->ports };
	w->machine = (struct vm_machine){ .id = w->id,
					  .name = "web",
					  .dir = w->dir,
					  .dirfd = w->dirfd,
					  .vcpus = 1,
					  .memory = 64 * MIB,
					  .kernel = w->kernel,
					  .kernel_args = "",
					  .mac = mac,
					  .address = address,
					  .ports = &w->list };
	w->pidfd = -1;
	*state = w;
	return 0;
}

static int world_free(void **state)
{
	struct world *w = *state;
	struct error err;
	if (w->pidfd >= 0) {
		proc_signal(w->pidfd, SIGKILL);
		proc_wait_gone(w->pidfd, 5000);
		close(w->pidfd);
	}
	close(w->dirfd);
	fs_remove_tree(AT_FDCWD, w->root, &err);
	free(w->vms);
	free(w->dir);
	free(w->kernel);
	free(w);
	return 0;
}

static void start(struct world *w)
{
	struct error err = { 0 };
	uint64_t before = clock_monotonic_ms();
	if (hv_qemu.start(&w->machine, START_MS, &w->pid, &w->pidfd, &err) < 0)
		fail_msg("%s", err.text);
	print_message("started in %u ms\n", (unsigned)(clock_monotonic_ms() - before));
}

static void find(const struct world *w, struct hv_process_vec *found)
{
	struct error err;
	assert_int_equal(hv_qemu.find(w->vms, found, &err), 0);
}

static uint16_t free_port(void)
{
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	return ntohs(at.sin_port);
}

static int listen_on(uint16_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static bool answers(uint16_t port)
{
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
}

static struct port_spec tcp_port(uint16_t host, uint16_t guest)
{
	return (struct port_spec){ .address = "127.0.0.1", .host = host, .guest = guest };
}

/* Reads the monitor until the event, or fails after ten seconds. */
static void await_event(int fd, struct hv_monitor *monitor, enum monitor_event wanted)
{
	char data[4096];
	size_t len = 0; /* first what came together with the last event */
	for (;;) {
		enum monitor_event event = hv_qemu.monitor_feed(monitor, fd, data, len);
		len = 0;
		if (event == wanted)
			return;
		assert_int_not_equal(event, MONITOR_BROKEN);
		if (event != MONITOR_NOTHING)
			continue;
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&wait, 1, 10000), 1);
		ssize_t got = recv(fd, data, sizeof(data), 0);
		assert_true(got > 0);
		len = (size_t)got;
	}
}

static void a_started_vm_is_found_and_quits(void **state)
{
	struct world *w = *state;
	struct error err;
	w->machine.memory = 96 * MIB;
	w->machine.vcpus = 2;
	start(w);
	struct hv_process_vec found = { 0 };
	find(w, &found);
	assert_int_equal(found.count, 1);
	const struct hv_process *process = &found.at[0];
	assert_string_equal(process->id, w->id);
	assert_int_equal(process->pid, w->pid);
	assert_int_equal(process->vcpus, 2);
	assert_int_equal(process->memory, 96 * MIB);
	assert_int_equal(process->accel, ACCEL_TCG);
	assert_false(process->nat);
	uint64_t ticks;
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(proc_start_ticks(proc, w->pid, &ticks), 0);
	assert_int_equal(process->start_ticks, ticks);
	hv_processes_clear(&found);

	assert_true(lock_is_held(w->dirfd, VM_FILE_LOCK));
	pid_t pid;
	int pidfd = -1;
	assert_int_equal(hv_qemu.start(&w->machine, START_MS, &pid, &pidfd, &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	assert_int_equal(pidfd, -1);

	assert_int_equal(hv_qemu.quit(w->dirfd, 2000, &err), 0);
	assert_int_equal(proc_wait_gone(w->pidfd, 5000), 0);
	assert_int_equal(hv_qemu.quit(w->dirfd, 2000, &err), 0); /* already gone */
	find(w, &found);
	assert_int_equal(found.count, 0);
	hv_processes_clear(&found);
}

static void what_a_killed_process_leaves_is_no_obstacle(void **state)
{
	struct world *w = *state;
	struct error err;
	start(w);
	proc_signal(w->pidfd, SIGKILL);
	assert_int_equal(proc_wait_gone(w->pidfd, 5000), 0);
	close(w->pidfd);
	w->pidfd = -1;
	struct stat st;
	assert_int_equal(fstatat(w->dirfd, VM_FILE_MONITOR, &st, 0), 0);
	assert_int_equal(hv_qemu.quit(w->dirfd, 2000, &err), 0);
	start(w);
}

static void the_monitor_tells_of_resets_and_the_end(void **state)
{
	struct world *w = *state;
	struct error err;
	write_kernel(w, 1, GUEST_RESETS);
	start(w);
	auto_close int fd = hv_qemu.monitor_open(w->dirfd, &err);
	assert_true(fd >= 0);
	struct hv_monitor *monitor = hv_qemu.monitor_new();
	await_event(fd, monitor, MONITOR_READY);
	await_event(fd, monitor, MONITOR_GUEST_RESET);
	await_event(fd, monitor, MONITOR_GUEST_RESET);

	/* The monitor is the loop's: a worker is told so, and gets it when the loop lets go. */
	assert_int_equal(hv_qemu.quit(w->dirfd, 300, &err), -1);
	assert_int_equal(err.code, ERROR_TIMEOUT);
	proc_signal(w->pidfd, SIGTERM);
	await_event(fd, monitor, MONITOR_HOST_QUIT);
	hv_qemu.monitor_free(monitor);
	assert_int_equal(proc_wait_gone(w->pidfd, 5000), 0);
}

static void a_stopped_guest_is_told_and_resumed(void **state)
{
	struct world *w = *state;
	struct error err;
	start(w);
	{
		auto_qmp struct qmp qmp = QMP_INIT;
		assert_int_equal(qmp_open(w->dirfd, -1, 2000, &qmp, &err), 0);
		assert_int_equal(qmp_command(&qmp, "stop", NULL, NULL, &err), 0);
	}
	int fd = hv_qemu.monitor_open(w->dirfd, &err);
	struct hv_monitor *monitor = hv_qemu.monitor_new();
	await_event(fd, monitor, MONITOR_READY);
	await_event(fd, monitor, MONITOR_PAUSED);
	hv_qemu.monitor_free(monitor);
	close(fd);
	assert_int_equal(hv_qemu.resume(w->dirfd, -1, &err), 0);
	auto_qmp struct qmp qmp = QMP_INIT;
	auto_json cJSON *status = NULL;
	assert_int_equal(qmp_open(w->dirfd, -1, 2000, &qmp, &err), 0);
	assert_int_equal(qmp_command(&qmp, "query-status", NULL, &status, &err), 0);
	assert_true(json_bool(status, "running", false));
}

static void a_taken_port_is_named_with_its_owner(void **state)
{
	struct world *w = *state;
	struct error err;
	uint16_t port = free_port();
	auto_close int listener = listen_on(port);
	assert_true(listener >= 0);
	w->ports[w->list.count++] = tcp_port(port, 80);
	assert_int_equal(hv_qemu.start(&w->machine, START_MS, &w->pid, &w->pidfd, &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	auto_free char *expected = xasprintf(
		"port 127.0.0.1:%u/tcp is taken by test_driver_qem (pid %d)", port, (int)getpid());
	assert_string_equal(err.text, expected);
	struct stat st;
	assert_int_equal(fstatat(w->dirfd, VM_FILE_MONITOR, &st, 0), -1);
	assert_false(lock_is_held(w->dirfd, VM_FILE_LOCK));
}

static void a_start_that_fails_quotes_qemu(void **state)
{
	struct world *w = *state;
	struct error err;
	w->machine.kernel = "/nonexistent/kernel";
	assert_int_equal(hv_qemu.start(&w->machine, START_MS, &w->pid, &w->pidfd, &err), -1);
	assert_int_equal(err.code, ERROR_SYSTEM);
	assert_non_null(strstr(err.text, "/nonexistent/kernel"));
	assert_int_equal(unlinkat(w->dirfd, VM_FILE_ROOT_DISK, 0), 0);
	w->machine.kernel = w->kernel;
	assert_int_equal(hv_qemu.start(&w->machine, START_MS, &w->pid, &w->pidfd, &err), -1);
	assert_non_null(strstr(err.text, VM_FILE_ROOT_DISK));
}

static void ports_change_while_it_runs(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	uint16_t a = free_port(), b = free_port(), taken = free_port();
	struct port_spec first[] = { tcp_port(a, 80) };
	struct port_spec second[] = { tcp_port(a, 81), tcp_port(b, 82) };
	second[1].proto = PORT_UDP;
	struct port_spec third[] = { tcp_port(b, 90), tcp_port(taken, 91) };
	const struct port_list none = { 0 }, one = { first, 1 }, two = { second, 2 },
			       three = { third, 2 };
	start(w);
	assert_false(answers(a));
	if (hv_qemu.set_ports(w->dirfd, &none, &one, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(answers(a));
	assert_int_equal(hv_qemu.set_ports(w->dirfd, &none, &one, &err), 0); /* already there */
	assert_int_equal(hv_qemu.set_ports(w->dirfd, &one, &two, &err), 0);
	assert_int_equal(net_user_ports_free(NULL, &two, &err), -1);
	/* A failure half-way puts back what was there. */
	auto_close int listener = listen_on(taken);
	assert_true(listener >= 0);
	assert_int_equal(hv_qemu.set_ports(w->dirfd, &two, &three, &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	assert_non_null(strstr(err.text, "is taken by test_driver"));
	assert_true(answers(a));
	assert_false(answers(b));
	assert_int_equal(hv_qemu.set_ports(w->dirfd, &two, &none, &err), 0);
	assert_false(answers(a));
	/* The way in stays. */
	struct port_spec ssh = { .address = w->machine.address, .host = USER_SSH_PORT };
	const struct port_list way_in = { &ssh, 1 };
	assert_int_equal(net_user_ports_free(NULL, &way_in, &err), -1);
	assert_non_null(strstr(err.text, "banger-web"));
}

static uint64_t cpu_ticks(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/stat", (int)pid);
	auto_buf struct buf text = BUF_INIT;
	struct error err;
	unsigned long user = 0, system = 0;
	assert_int_equal(fs_read(AT_FDCWD, path, 4096, &text, &err), 0);
	const char *at = strrchr(text.data, ')');
	assert_int_equal(
		sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
		2);
	return user + system;
}

/* A console nobody reads must not stop the guest: it resets after a megabyte of dots. */
static void a_flood_without_a_reader_is_dropped(void **state)
{
	struct world *w = *state;
	struct error err;
	write_kernel(w, 1 << 20, GUEST_RESETS);
	start(w);
	auto_close int fd = hv_qemu.monitor_open(w->dirfd, &err);
	struct hv_monitor *monitor = hv_qemu.monitor_new();
	await_event(fd, monitor, MONITOR_READY);
	await_event(fd, monitor, MONITOR_GUEST_RESET);
	await_event(fd, monitor, MONITOR_GUEST_RESET);
	hv_qemu.monitor_free(monitor);
	struct stat st;
	assert_int_equal(fstatat(w->dirfd, VM_FILE_LOG, &st, 0), 0);
	assert_true(st.st_size < 4096);
}

static void a_halted_guest_costs_nothing(void **state)
{
	struct world *w = *state;
	start(w);
	struct timespec second = { .tv_sec = 2 };
	nanosleep(&second, NULL); /* the firmware runs */
	uint64_t before = cpu_ticks(w->pid);
	nanosleep(&second, NULL);
	uint64_t used = cpu_ticks(w->pid) - before;
	print_message("idle: %u ticks of 200\n", (unsigned)used);
	assert_true(used < 20);
}

static void the_console_arrives_at_its_socket(void **state)
{
	struct world *w = *state;
	struct error err;
	write_kernel(w, 100, GUEST_RESETS);
	start(w);
	auto_close int fd = unix_connect(w->dirfd, VM_FILE_CONSOLE, 1000, 0, &err);
	assert_true(fd >= 0);
	auto_buf struct buf text = BUF_INIT;
	while (!strstr(text.data, "........")) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&wait, 1, 10000), 1);
		ssize_t len = read(fd, buf_grow(&text, 4096), 4096);
		assert_true(len > 0);
		buf_grown(&text, (size_t)len);
	}
}

static void the_probe_names_its_version(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf detail = BUF_INIT;
	assert_int_equal(hv_qemu.probe(&detail, &err), 0);
	assert_non_null(strstr(detail.data, "qemu-system-x86_64 "));
	print_message("%s\n", detail.data);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_new, world_free)

int main(void)
{
	struct error err;
	auto_buf struct buf detail = BUF_INIT;
	if (hv_qemu.probe(&detail, &err) < 0) {
		fprintf(stderr, "skipped: %s\n", err.text);
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_probe_names_its_version),
		IN_WORLD(a_started_vm_is_found_and_quits),
		IN_WORLD(what_a_killed_process_leaves_is_no_obstacle),
		IN_WORLD(the_monitor_tells_of_resets_and_the_end),
		IN_WORLD(a_stopped_guest_is_told_and_resumed),
		IN_WORLD(a_taken_port_is_named_with_its_owner),
		IN_WORLD(a_start_that_fails_quotes_qemu),
		IN_WORLD(ports_change_while_it_runs),
		IN_WORLD(a_flood_without_a_reader_is_dropped),
		IN_WORLD(a_halted_guest_costs_nothing),
		IN_WORLD(the_console_arrives_at_its_socket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
