/* driver: Firecracker as its stand-in plays it, which holds every call against the API of the
 * release that it is. What is sent to which release is compared with tests/driver/firecracker/;
 * UPDATE=1 rewrites it. */
#include "test_driver_fc_help.h"
#include "guest/guest.h"
#include "sys/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <archive.h>
#include <archive_entry.h>
#include <poll.h>
#include <signal.h>

static int world_new(void **state)
{
	*state = world_make();
	return 0;
}

static int world_free(void **state)
{
	world_end(*state);
	return 0;
}

/* --- data --- */

static void versions_are_read_and_compared(void **state)
{
	fc_version version;
	struct error err;
	(void)state;
	assert_true(fc_version_parse("Firecracker v1.13.1\n\nSupported", &version));
	assert_int_equal(version, FC_VERSION(1, 13));
	assert_true(fc_version_parse("1.17.0-dev", &version));
	assert_int_equal(version, FC_VERSION(1, 17));
	assert_false(fc_version_parse("", &version));
	assert_false(fc_version_parse("Firecracker", &version));
	assert_false(fc_version_parse("1.", &version));
	assert_false(fc_version_parse("99999999999.1", &version));
	assert_int_equal(fc_version_check(FC_VERSION(1, 5), &err), 0);
	assert_int_equal(fc_version_check(FC_VERSION(2, 0), &err), 0);
	assert_int_equal(fc_version_check(FC_VERSION(1, 4), &err), -1);
	assert_false(fc_can(FC_VERSION(1, 13), FC_REPORTING));
	assert_true(fc_can(FC_VERSION(1, 14), FC_REPORTING));
	assert_true(fc_can(FC_VERSION(2, 0), FC_BZIMAGE));
}

static void print_calls(const struct vm_machine *machine, fc_version version, struct buf *ret)
{
	struct fc_call_vec calls = { 0 };
	struct error err;
	assert_int_equal(fc_config(machine, "/kernel", version, &calls, &err), 0);
	for (size_t i = 0; i < calls.count; i++) {
		auto_free char *body = json_print(calls.at[i].body);
		buf_addf(ret, "%s %s %s\n", calls.at[i].method, calls.at[i].path, body);
	}
	fc_calls_clear(&calls);
}

static void each_release_is_told_what_it_knows(void **state)
{
	static const struct {
		const char *name;
		fc_version version;
	} cases[] = { { "1.5", FC_VERSION(1, 5) },
		      { "1.13", FC_VERSION(1, 13) },
		      { "1.14", FC_VERSION(1, 14) },
		      { "1.16", FC_VERSION(1, 16) },
		      { "1.17", FC_VERSION(1, 17) } };
	struct world *w = *state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err;
		auto_buf struct buf got = BUF_INIT, golden = BUF_INIT;
		auto_free char *path = xasprintf("tests/driver/firecracker/%s.txt", cases[i].name);
		print_calls(&w->machine, cases[i].version, &got);
		if (getenv("UPDATE"))
			assert_int_equal(fs_write(AT_FDCWD, path, got.data, got.len, 0644, &err),
					 0);
		assert_int_equal(fs_read(AT_FDCWD, path, 65536, &golden, &err), 0);
		assert_string_equal(got.data, golden.data);
	}
}

/* The rows of FIRECRACKER.md that begin with a release: the first that has it, and none before. */
static void the_document_says_since_when(void **state)
{
	static const struct {
		enum fc_feature feature;
		const char *what;
	} rows[] = {
		{ FC_ACPI, "kernels of the catalog" },
		{ FC_REPORTING, "the balloon gives pages back by itself" },
		{ FC_HOTPLUG, "memory grows and shrinks live" },
		{ FC_BZIMAGE, "a bzImage is booted as it is" },
	};
	struct error err;
	auto_buf struct buf text = BUF_INIT, table = BUF_INIT;
	(void)state;
	assert_int_equal(ARRAY_COUNT(rows), FC_FEATURE_COUNT_);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		unsigned minor = 0;
		while (!fc_can(FC_VERSION(1, minor), rows[i].feature))
			minor++;
		buf_addf(&table, "| 1.%u | %s |\n", minor, rows[i].what);
	}
	assert_int_equal(fs_read(AT_FDCWD, "reconciler/driver/FIRECRACKER.md", 65536, &text, &err),
			 0);
	if (!strstr(text.data, table.data))
		fail_msg("FIRECRACKER.md should have these rows:\n%s", table.data);
}

static void what_is_not_there_is_not_told(void **state)
{
	struct world *w = *state;
	auto_buf struct buf text = BUF_INIT;
	w->machine.tap = NULL;
	w->machine.has_work_disk = false;
	w->machine.modules_disk = NULL;
	w->machine.memory_max = 0;
	print_calls(&w->machine, FC_VERSION(1, 17), &text);
	assert_null(strstr(text.data, "network-interfaces"));
	assert_null(strstr(text.data, "work"));
	assert_null(strstr(text.data, "modules"));
	assert_null(strstr(text.data, "hotplug"));
	assert_null(strstr(text.data, "memhp"));
}

static void an_overlay_is_refused_before_anything_is_told(void **state)
{
	struct world *w = *state;
	struct error err;
	struct stat st;
	w->machine.root_is_qcow2 = true;
	assert_int_equal(world_start(w, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	assert_non_null(strstr(err.text, "'web': Firecracker reads raw disks only"));
	assert_int_equal(fstatat(w->dirfd, VM_FILE_API, &st, 0), -1);
	w->machine.root_is_qcow2 = false;
	char args[1400];
	memset(args, 'a', sizeof(args) - 1);
	args[sizeof(args) - 1] = '\0';
	w->machine.kernel_args = args;
	assert_int_equal(world_start(w, &err), -1);
	assert_non_null(strstr(err.text, "kernel_args are too long"));
}

/* --- the process --- */

static void the_command_line_says_whose_it_is(void **state)
{
	struct world *w = *state;
	struct hv_process found;
	auto_buf struct buf cmdline = BUF_INIT, vms = BUF_INIT;
	char **argv = fc_argv(&w->machine);
	for (size_t i = 0; argv[i]; i++)
		buf_add_bytes(&cmdline, argv[i], strlen(argv[i]) + 1);
	assert_string_equal(argv[2], "banger-ab12-c2-m256-x1024-n1");
	hv_argv_free(argv);
	assert_true(fc_cmdline_parse(cmdline.data, cmdline.len, &found, &vms));
	assert_string_equal(found.id, "ab12");
	assert_string_equal(vms.data, w->vms);
	assert_int_equal(found.vcpus, 2);
	assert_int_equal(found.memory, 256 * MIB);
	assert_int_equal(found.memory_max, GIB);
	assert_true(found.nat);
	for (size_t cut = 0; cut < strlen("firecracker") + 60; cut++)
		assert_false(fc_cmdline_parse(cmdline.data, cut, &found, &vms));

	static const char other[] = "firecracker\0--id\0banger-ab12-c2-m256-x0-n1\0--log-path\0"
				    "/s/vms/cd34/" VM_FILE_CONSOLE_PIPE;
	assert_false(fc_cmdline_parse(other, sizeof(other), &found, &vms));
	static const char bad[] = "firecracker\0--id\0banger-ab12-c2-m256-x0-n2\0--log-path\0"
				  "/s/vms/ab12/" VM_FILE_CONSOLE_PIPE;
	assert_false(fc_cmdline_parse(bad, sizeof(bad), &found, &vms));
}

static void a_started_one_is_found_and_held(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct hv_process_vec found = { 0 };
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(hv_firecracker.find(w->vms, &found, &err), 0);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.at[0].pid, w->pid);
	assert_string_equal(found.at[0].id, "ab12");
	assert_int_equal(found.at[0].accel, ACCEL_KVM);
	hv_processes_clear(&found);
	/* The other driver's scan has nothing to do with it. */
	assert_int_equal(hv_qemu.find(w->vms, &found, &err), 0);
	assert_int_equal(found.count, 0);

	pid_t pid;
	auto_close int pidfd = -1;
	struct stat st;
	assert_int_equal(hv_firecracker.start(&w->machine, START_MS, &pid, &pidfd, &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	assert_int_equal(fstatat(w->dirfd, VM_FILE_API, &st, 0), 0);
	/* It stands still as a whole, and so it is found. */
	proc_signal(w->pidfd, SIGSTOP);
	for (int i = 0; i < 1000 && !found.count; i++) {
		usleep(1000);
		assert_int_equal(hv_firecracker.find(w->vms, &found, &err), 0);
		if (!found.at[0].stopped)
			hv_processes_clear(&found);
	}
	assert_int_equal(found.count, 1);
	hv_processes_clear(&found);
	assert_int_equal(hv_firecracker.resume(w->dirfd, w->pidfd, &err), 0);
	assert_int_equal(agent_call(w->dirfd, "ping", NULL, 5000, NULL, &err), 0);

	/* It has no call for it: the caller kills. */
	assert_int_equal(hv_firecracker.quit(w->dirfd, 1000, &err), -1);
	world_kill(w);
	assert_int_equal(hv_firecracker.quit(w->dirfd, 1000, &err), 0);

	/* Its sockets are there still, and are no hindrance. */
	assert_int_equal(fstatat(w->dirfd, VM_FILE_VSOCK, &st, 0), 0);
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
}

/* It may have fallen to its guest, and say anything. */
static void only_a_disk_of_its_own_grows(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct stat st;
	auto_free char *others = xasprintf("%s/cd34", w->vms);
	auto_free char *disk = xasprintf("%s/" VM_FILE_WORK_DISK, others);
	assert_int_equal(mkdir(others, 0700), 0);
	make_file(AT_FDCWD, disk, "", MIB);
	script(w, "fault GET /vm/config answer {\"drives\":[{\"drive_id\":\"work\","
		  "\"path_on_host\":\"../cd34/" VM_FILE_WORK_DISK "\"}]}\n");
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(hv_firecracker.grow_disk(w->dirfd, HV_DISK_WORK, 3 * MIB, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.text, "cannot grow disk 'work': GET /vm/config: the drive is "
					 "'../cd34/"));
	assert_int_equal(stat(disk, &st), 0);
	assert_int_equal(st.st_size, MIB);
}

/* A hypervisor may have made them, and of whatever kind: the VM can be started and removed. */
static void whatever_has_the_names_of_a_run_goes(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct stat st;
	auto_free char *outside = xasprintf("%s/outside", w->root);
	assert_int_equal(mkdir(outside, 0700), 0);
	for (int kind = 0; kind < 3; kind++) {
		if (kind == 0)
			make_file(w->dirfd, VM_FILE_JAIL, "", 1);
		else if (kind == 1)
			assert_int_equal(symlinkat(outside, w->dirfd, VM_FILE_JAIL), 0);
		else
			assert_int_equal(mkdirat(w->dirfd, VM_FILE_JAIL, 0), 0);
		assert_int_equal(mkdirat(w->dirfd, VM_FILE_API, 0700), 0);
		make_file(w->dirfd, VM_FILE_API "/below", "", 1);
		if (hv_files_remove(w->dirfd, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(fstatat(w->dirfd, VM_FILE_JAIL, &st, AT_SYMLINK_NOFOLLOW), -1);
		assert_int_equal(fstatat(w->dirfd, VM_FILE_API, &st, AT_SYMLINK_NOFOLLOW), -1);
	}
	assert_int_equal(stat(outside, &st), 0);
}

static void memory_and_disks_grow_as_the_release_can(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct hv_memory memory = { 0 };
	struct stat st;
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	if (hv_firecracker.set_memory(w->dirfd, 515 * MIB, &memory, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(memory.goal, 512 * MIB); /* whole blocks */
	assert_int_equal(memory.now, 256 * MIB);
	assert_int_equal(hv_firecracker.set_memory(w->dirfd, 515 * MIB, &memory, &err), 0);
	assert_int_equal(memory.now, memory.goal);
	assert_int_equal(hv_firecracker.set_memory(w->dirfd, 128 * MIB, &memory, &err), -1);
	assert_non_null(strstr(err.text, "started with 256Mi"));
	assert_int_equal(hv_firecracker.set_memory(w->dirfd, 4 * GIB, &memory, &err), -1);
	assert_non_null(strstr(err.text, "PATCH /hotplug/memory: refused"));

	assert_int_equal(hv_firecracker.grow_disk(w->dirfd, HV_DISK_WORK, 3 * MIB, &err), 0);
	assert_int_equal(fstatat(w->dirfd, VM_FILE_WORK_DISK, &st, 0), 0);
	assert_int_equal(st.st_size, 3 * MIB);
	assert_int_equal(hv_firecracker.grow_disk(w->dirfd, HV_DISK_ROOT, 512, &err), 0);
	assert_int_equal(fstatat(w->dirfd, VM_FILE_ROOT_DISK, &st, 0), 0);
	assert_int_equal(st.st_size, MIB); /* never less */

	world_kill(w);
	assert_int_equal(hv_firecracker.grow_disk(w->dirfd, HV_DISK_ROOT, 2 * MIB, &err), -1);
	assert_non_null(strstr(err.text, "cannot grow disk 'root': GET /vm/config: "));
	script(w, "version 1.13.0\n");
	assert_int_equal(world_start(w, &err), 0);
	assert_int_equal(hv_firecracker.set_memory(w->dirfd, 512 * MIB, &memory, &err), -1);
	assert_non_null(strstr(err.text, "only a restart helps"));
}

/* Through the one socket for all ports, in place of QEMU's socket a port. */
static void its_agent_is_reached_over_vsock(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	for (int i = 0; i < 3; i++)
		if (agent_call(w->dirfd, "ping", NULL, 5000, NULL, &err) < 0)
			fail_msg("%s", err.text);
	/* A port that nobody listens on is closed without a word. */
	auto_close int fd = guest_connect(w->dirfd, GUEST_EXEC, 1000, 0, &err);
	assert_true(fd >= 0);
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char byte;
	assert_int_equal(poll(&wait, 1, 5000), 1);
	assert_int_equal(read(fd, &byte, 1), 0);
	if (agent_call(w->dirfd, "poweroff", NULL, 5000, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(proc_wait_gone(w->pidfd, 5000), 0);
	/* The socket is still there. */
	assert_int_equal(agent_call(w->dirfd, "ping", NULL, 100, NULL, &err), -1);
	assert_int_equal(hv_files_remove(w->dirfd, &err), 0);
	assert_int_equal(agent_call(w->dirfd, "ping", NULL, 100, NULL, &err), -1);
	assert_non_null(strstr(err.text, "agent.sock"));
}

static void the_console_is_a_pipe_that_never_blocks(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	struct stat st;
	char text[256] = "";
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	auto_close int fd = hv_console_open(w->dirfd, 1000, &err);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0600);
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	assert_int_equal(poll(&wait, 1, 5000), 1);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "Linux version"));
}

static void a_binary_of_any_name_is_probed(void **state)
{
	struct world *w = *state;
	struct error err;
	auto_buf struct buf detail = BUF_INIT;
	script(w, "version 1.13.1\n");
	assert_int_equal(hv_firecracker.probe(&detail, &err), 0);
	assert_non_null(strstr(detail.data, "/fake/firecracker 1.13.1"));
	assert_null(strstr(detail.data, "boots only"));
	script(w, "version 1.7.0\n");
	assert_int_equal(hv_firecracker.probe(&detail, &err), 0);
	assert_non_null(strstr(detail.data, "boots only kernels with"));
	setenv("BANGER_FIRECRACKER", "/bin/true", 1);
	assert_int_equal(hv_firecracker.probe(&detail, &err), -1);
	assert_non_null(strstr(err.text, "tells no version"));
	setenv("BANGER_FIRECRACKER", "/nowhere/fc", 1);
	assert_int_equal(hv_firecracker.probe(&detail, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_non_null(strstr(err.text, "BANGER_FIRECRACKER"));
}

/* --- kernels --- */

#define ELF_BYTES (3 * MIB + 17)

static void put32(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(value >> 8 * i);
}

/* An ELF file's worth of bytes, packed. */
static size_t pack(int (*filter)(struct archive *), unsigned char *to, size_t room)
{
	size_t used = 0;
	static unsigned char elf[ELF_BYTES];
	memcpy(elf, "\177ELF", 4);
	for (size_t i = 4; i < sizeof(elf); i++)
		elf[i] = (unsigned char)(i * 2654435761u >> 13);
	struct archive *archive = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, "vmlinux");
	archive_entry_set_filetype(entry, AE_IFREG);
	assert_int_equal(archive_write_set_format_raw(archive), ARCHIVE_OK);
	assert_int_equal(filter(archive), ARCHIVE_OK);
	archive_write_set_bytes_in_last_block(archive, 1);
	assert_int_equal(archive_write_open_memory(archive, to, room, &used), ARCHIVE_OK);
	assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(archive, elf, sizeof(elf)), sizeof(elf));
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_entry_free(entry);
	archive_write_free(archive);
	return used;
}

static void write_bzimage(const struct world *w, int (*filter)(struct archive *), size_t less)
{
	const size_t room = 2 * ELF_BYTES, setup = 3 * 512, offset = 0x1b1;
	auto_free unsigned char *image = xcalloc(1, room);
	unsigned char *payload = image + setup + offset;
	size_t len = pack(filter, payload, room - setup - offset - 4096);
	/* gzip ends with the size itself; to all others it is appended. */
	if (filter != archive_write_add_filter_gzip) {
		put32(payload + len, ELF_BYTES);
		len += 4;
	}
	image[0x1f1] = 2;
	memcpy(image + 0x202, "HdrS", 4);
	image[0x206] = 0x0f;
	image[0x207] = 0x02;
	put32(image + 0x248, offset);
	put32(image + 0x24c, (uint32_t)len);
	struct error err;
	assert_int_equal(
		fs_write(AT_FDCWD, w->kernel, image, setup + offset + len + 100 - less, 0600, &err),
		0);
}

static void the_kernel_of_a_bzimage_is_unpacked(void **state)
{
	static int (*const filters[])(struct archive *) = { archive_write_add_filter_gzip,
							    archive_write_add_filter_xz,
							    archive_write_add_filter_zstd };
	struct world *w = *state;
	struct error err = { 0 };
	for (size_t i = 0; i < ARRAY_COUNT(filters); i++) {
		const char *path = NULL;
		struct stat st;
		char magic[5] = "";
		write_bzimage(w, filters[i], 0);
		if (fc_kernel_prepare(w->dirfd, w->kernel, FC_VERSION(1, 13), &path, &err) < 0)
			fail_msg("%zu: %s", i, err.text);
		assert_string_equal(path, VM_FILE_KERNEL);
		auto_close int fd = openat(w->dirfd, path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, ELF_BYTES);
		assert_int_equal(pread(fd, magic, 4, 0), 4);
		assert_string_equal(magic, "\177ELF");
		/* A newer one does so itself. */
		assert_int_equal(
			fc_kernel_prepare(w->dirfd, w->kernel, FC_VERSION(1, 17), &path, &err), 0);
		assert_string_equal(path, w->kernel);
	}
	/* And it boots, without leaving the copy behind. */
	struct stat st;
	script(w, "version 1.13.0\n");
	if (world_start(w, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(fstatat(w->dirfd, VM_FILE_KERNEL, &st, 0), -1);
}

static void a_kernel_that_is_none_is_named(void **state)
{
	struct world *w = *state;
	struct error err;
	const char *path;
	static const struct {
		const char *text, *cause;
	} bad[] = { { "", "is empty" },
		    { "#!/bin/sh\nexit 1\n", "neither an ELF file nor a bzImage" } };
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(
			fs_write(AT_FDCWD, w->kernel, bad[i].text, strlen(bad[i].text), 0600, &err),
			0);
		assert_int_equal(
			fc_kernel_prepare(w->dirfd, w->kernel, FC_VERSION(1, 13), &path, &err), -1);
		assert_non_null(strstr(err.text, bad[i].cause));
		assert_non_null(strstr(err.text, w->kernel));
	}
	struct stat st;
	/* Cut off, so that its header leads out of the file; and then a payload that is none. */
	write_bzimage(w, archive_write_add_filter_xz, 200);
	assert_int_equal(fc_kernel_prepare(w->dirfd, w->kernel, FC_VERSION(1, 13), &path, &err),
			 -1);
	assert_non_null(strstr(err.text, "names no payload"));
	write_bzimage(w, archive_write_add_filter_xz, 0);
	auto_close int fd = open(w->kernel, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "garbage, and more of it", 23, 3 * 512 + 0x1b1 + 5000), 23);
	assert_int_equal(fc_kernel_prepare(w->dirfd, w->kernel, FC_VERSION(1, 13), &path, &err),
			 -1);
	assert_non_null(strstr(err.text, w->kernel));
	assert_int_equal(fstatat(w->dirfd, VM_FILE_KERNEL, &st, 0), -1);
}

/* The distribution's own (LZ4 in the kernel's manner), where the images of the scenarios are: what
 * its recipe made of it with the lz4 program is what we make of it. */
static void a_kernel_of_the_distribution_is_unpacked(void **state)
{
#define FOLDER "build/test-images/state/banger/kernels/names/debian-cloud"
	static const char packed[] = FOLDER "/vmlinuz", unpacked[] = FOLDER "/vmlinux";
	struct world *w = *state;
	struct error err;
	const char *path;
	if (access(packed, R_OK) < 0 || access(unpacked, R_OK) < 0)
		skip();
	if (fc_kernel_prepare(w->dirfd, packed, FC_VERSION(1, 13), &path, &err) < 0)
		fail_msg("%s", err.text);
	auto_buf struct buf ours = BUF_INIT, theirs = BUF_INIT;
	assert_int_equal(fs_read(w->dirfd, path, GIB, &ours, &err), 0);
	assert_int_equal(fs_read(AT_FDCWD, unpacked, GIB, &theirs, &err), 0);
	/* The other is followed by what the program made of the bytes after the stream. */
	assert_true(ours.len > 8 * MIB && ours.len <= theirs.len);
	assert_memory_equal(ours.data, theirs.data, ours.len);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_new, world_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_are_read_and_compared),
		WITH_WORLD(each_release_is_told_what_it_knows),
		WITH_WORLD(the_document_says_since_when),
		WITH_WORLD(what_is_not_there_is_not_told),
		WITH_WORLD(an_overlay_is_refused_before_anything_is_told),
		WITH_WORLD(the_command_line_says_whose_it_is),
		WITH_WORLD(a_started_one_is_found_and_held),
		WITH_WORLD(only_a_disk_of_its_own_grows),
		WITH_WORLD(whatever_has_the_names_of_a_run_goes),
		WITH_WORLD(memory_and_disks_grow_as_the_release_can),
		WITH_WORLD(its_agent_is_reached_over_vsock),
		WITH_WORLD(the_console_is_a_pipe_that_never_blocks),
		WITH_WORLD(a_binary_of_any_name_is_probed),
		WITH_WORLD(the_kernel_of_a_bzimage_is_unpacked),
		WITH_WORLD(a_kernel_that_is_none_is_named),
		WITH_WORLD(a_kernel_of_the_distribution_is_unpacked),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
