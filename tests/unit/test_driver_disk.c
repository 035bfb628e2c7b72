/* driver: disks, made by the real tools in a temporary directory. The first group is the
 * conformance suite: every driver of system disks passes it, each where it can be had (dm-snapshot
 * as root with device-mapper, reflinks below a BANGER_TEST_DIR on XFS or btrfs); a skip is said. */
#include "driver/disk.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct world {
	char root[160]; /* or below BANGER_TEST_DIR, to try a file system with reflinks */
	char *dir, *base;
	int dirfd;
	struct disk_image image;
	const struct disk_driver *const *drivers;
	const struct disk_driver *driver;
};

static const struct disk_driver *tested; /* by the conformance suite */
#define ID "t35700d15c"			 /* of no VM */

static int world_new(void **state)
{
	struct error err;
	struct world *w = xcalloc(1, sizeof(*w));
	const char *under = getenv("BANGER_TEST_DIR");
	snprintf(w->root, sizeof(w->root), "%s/banger-test-XXXXXX", under ? under : "/tmp");
	assert_non_null(mkdtemp(w->root));
	w->dir = xasprintf("%s/vm", w->root);
	w->base = xasprintf("%s/rootfs,1.ext4", w->root);
	assert_int_equal(fs_mkdirs(w->dir, 0700, &err), 0);
	w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int base = open(w->base, O_RDWR | O_CREAT | O_CLOEXEC, 0400);
	assert_int_equal(ftruncate(base, 8 << 20), 0);
	assert_int_equal(pwrite(base, "the image", 9, 65536), 9);
	w->image = (struct disk_image){ .base = w->base, .size_bytes = 64 * MIB };
	w->drivers = tested ? disk_drivers_named(tested->name) : disk_drivers_session;
	w->driver = tested;
	*state = w;
	return 0;
}

static int world_free(void **state)
{
	struct world *w = *state;
	struct error err;
	if (w->driver && w->driver->detach)
		assert_int_equal(w->driver->detach(ID, &err), 0);
	close(w->dirfd);
	fs_remove_tree(AT_FDCWD, w->root, &err);
	free(w->dir);
	free(w->base);
	free(w);
	return 0;
}

static size_t count_files(const struct world *w)
{
	auto_dir DIR *dir = opendir(w->dir);
	size_t count = 0;
	for (struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	return count;
}

static void program_ok(const char *const *argv, const char *cwd)
{
	struct error err = { 0 };
	struct proc_run run = { .argv = argv, .cwd = cwd, .timeout_ms = 60000 };
	if (proc_check(&run, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static void make_disk(struct world *w)
{
	struct error err = { 0 };
	if (disk_root_create(w->dirfd, w->dir, &w->image, w->drivers, &err) < 0)
		fail_msg("%s", err.text);
}

/* What a hypervisor opens, and its format; until detach(). */
static char *use_disk(struct world *w, const char **ret_format)
{
	struct error err = { 0 };
	char device[DISK_DEVICE_MAX];
	const struct disk_driver *driver = disk_root_driver(w->dirfd);
	*ret_format = driver == &disk_qcow2 ? "qcow2" : "raw";
	if (!driver->attach)
		return xstrdup(driver->file);
	if (driver->attach(ID, w->dirfd, w->dir, w->base, device, &err) < 0)
		fail_msg("%s", err.text);
	return xstrdup(device);
}

static void leave_disk(struct world *w)
{
	struct error err = { 0 };
	if (w->driver->detach && w->driver->detach(ID, &err) < 0)
		fail_msg("%s", err.text);
}

/* Like its image, and zeroes behind it; what qemu-io wrote where it says. */
static void disk_is_like_image(struct world *w)
{
	const char *format;
	auto_free char *disk = use_disk(w, &format);
	const char *const compare[] = { "qemu-img", "compare", "-f",	format, "-F",
					"raw",	    disk,      w->base, NULL };
	program_ok(compare, w->dir);
	leave_disk(w);
}

static void disk_io(struct world *w, const char *command)
{
	const char *format;
	auto_free char *disk = use_disk(w, &format);
	const char *const argv[] = { "qemu-io", "-f", format, "-c", command, disk, NULL };
	program_ok(argv, w->dir);
	leave_disk(w);
}

static void the_system_disk_covers_its_image(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	uint64_t size;
	bool qcow2;
	assert_int_equal(disk_root_stat(w->dirfd, &size, &qcow2, &err), 0);
	assert_int_equal(size, 0);
	uint64_t before = clock_monotonic_ms();
	make_disk(w);
	uint64_t took = clock_monotonic_ms() - before;
	assert_int_equal(disk_root_stat(w->dirfd, &size, &qcow2, &err), 0);
	print_message("%s in %u ms\n", w->driver->name, (unsigned)took);
	assert_int_equal(size, 64 * MIB);
	assert_int_equal(count_files(w), 1);
	assert_ptr_equal(disk_root_driver(w->dirfd), w->driver);
	assert_int_equal(qcow2, w->driver == &disk_qcow2);
	disk_is_like_image(w);
	struct stat st;
	assert_int_equal(fstatat(w->dirfd, w->driver->file, &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* ... of this VM, over runs, up to the last byte; the image stays as it is. */
static void what_is_written_stays(void **state)
{
	struct world *w = *state;
	make_disk(w);
	disk_io(w, "write -P 0x5a 64k 128k");
	disk_io(w, "write -P 0xa5 67104768 4k");
	disk_io(w, "read -P 0x5a 64k 128k");
	disk_io(w, "read -P 0xa5 67104768 4k");
	disk_io(w, "read -P 0 32M 1M");
	auto_close int base = open(w->base, O_RDONLY | O_CLOEXEC);
	char text[9];
	assert_int_equal(pread(base, text, 9, 65536), 9);
	assert_memory_equal(text, "the image", 9);
}

static void a_disk_that_exists_is_left_alone(void **state)
{
	struct world *w = *state;
	struct error err;
	uint64_t size;
	bool qcow2;
	assert_int_equal(disk_root_create(w->dirfd, w->dir, &w->image, w->drivers, &err), 0);
	w->image.size_bytes = 128 * MIB;
	w->image.base = "/nonexistent";
	assert_int_equal(disk_root_create(w->dirfd, w->dir, &w->image, w->drivers, &err), 0);
	assert_int_equal(disk_root_stat(w->dirfd, &size, &qcow2, &err), 0);
	assert_int_equal(size, 64 * MIB);
	assert_int_equal(disk_root_remove(w->dirfd, &err), 0);
	assert_int_equal(disk_root_remove(w->dirfd, &err), 0);
	assert_int_equal(count_files(w), 0);
}

static void system_disks_grow_and_never_shrink(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	uint64_t size;
	bool qcow2;
	assert_int_equal(disk_root_grow(w->dirfd, w->dir, MIB, &err), -1); /* there is none */
	assert_int_equal(disk_root_create(w->dirfd, w->dir, &w->image, w->drivers, &err), 0);
	assert_int_equal(disk_root_grow(w->dirfd, w->dir, 100 * MIB, &err), 0);
	assert_int_equal(disk_root_grow(w->dirfd, w->dir, 10 * MIB, &err), 0);
	assert_int_equal(disk_root_stat(w->dirfd, &size, &qcow2, &err), 0);
	assert_int_equal(size, 100 * MIB);
	disk_io(w, "read -P 0 99M 1M");
	disk_io(w, "write -P 7 99M 1M");
}

static void a_failed_disk_leaves_nothing(void **state)
{
	struct world *w = *state;
	struct error err;
	w->image.size_bytes = 4 * MIB;
	assert_int_equal(disk_root_create(w->dirfd, w->dir, &w->image, w->drivers, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	assert_non_null(strstr(err.text, "smaller than its image (8 MiB)"));
	w->image.base = "/nonexistent/rootfs.ext4";
	assert_int_equal(disk_root_create(w->dirfd, w->dir, &w->image, w->drivers, &err), -1);
	assert_non_null(strstr(err.text, "/nonexistent/rootfs.ext4"));
	assert_int_equal(disk_work_create(w->dirfd, w->dir, 1000, &err), -1);
	assert_int_equal(count_files(w), 0);
}

/* What a kill left; also when somebody put a link in its place. */
static void half_made_disks_are_replaced(void **state)
{
	struct world *w = *state;
	struct error err;
	auto_free char *victim = xasprintf("%s/victim", w->root);
	assert_int_equal(fs_write(AT_FDCWD, victim, "precious", 8, 0600, &err), 0);
	assert_int_equal(symlinkat(victim, w->dirfd, VM_FILE_WORK_DISK DISK_TMP), 0);
	auto_free char *half = xasprintf("%s" DISK_TMP, w->driver->file);
	assert_int_equal(symlinkat(victim, w->dirfd, half), 0);
	assert_int_equal(disk_root_create(w->dirfd, w->dir, &w->image, w->drivers, &err), 0);
	assert_int_equal(disk_work_create(w->dirfd, w->dir, 16 * MIB, &err), 0);
	struct stat st;
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_size, 8);
	assert_int_equal(disk_root_remove(w->dirfd, &err), 0);
	assert_int_equal(disk_work_remove(w->dirfd, &err), 0);
	assert_int_equal(count_files(w), 0);
}

/* A guest may write what it likes into a raw disk: it stays raw. */
static void a_forged_header_does_not_change_the_format(void **state)
{
	struct world *w = *state;
	struct error err;
	static const unsigned char forged[64] = "QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x20\0\0\0\x0b";
	uint64_t size;
	bool qcow2;
	assert_int_equal(fs_write(w->dirfd, VM_FILE_ROOT_DISK, forged, sizeof(forged), 0600, &err),
			 0);
	assert_int_equal(disk_root_stat(w->dirfd, &size, &qcow2, &err), 0);
	assert_false(qcow2);
	assert_int_equal(size, sizeof(forged));
}

static void a_damaged_overlay_is_an_error(void **state)
{
	struct world *w = *state;
	struct error err;
	uint64_t size;
	bool qcow2;
	assert_int_equal(fs_write(w->dirfd, VM_FILE_ROOT_OVERLAY, "", 0, 0600, &err), 0);
	assert_int_equal(disk_root_stat(w->dirfd, &size, &qcow2, &err), -1);
	assert_non_null(strstr(err.text, "damaged"));
	unsigned char header[QCOW2_HEADER_BYTES] = "QFI\xfb";
	header[7] = 9;
	assert_false(qcow2_parse(header, sizeof(header), &size));
	header[7] = 3;
	assert_true(qcow2_parse(header, sizeof(header), &size));
	assert_false(qcow2_parse(header, sizeof(header) - 1, &size));
}

static void the_work_disk_is_a_sparse_ext4(void **state)
{
	struct world *w = *state;
	struct error err = { 0 };
	uint64_t size;
	assert_int_equal(disk_work_stat(w->dirfd, &size, &err), 0);
	assert_int_equal(size, 0);
	uint64_t before = clock_monotonic_ms();
	if (disk_work_create(w->dirfd, w->dir, 8 * GIB, &err) < 0)
		fail_msg("%s", err.text);
	uint64_t took = clock_monotonic_ms() - before;
	struct stat st;
	assert_int_equal(fstatat(w->dirfd, VM_FILE_WORK_DISK, &st, 0), 0);
	print_message("8 GiB ext4 in %u ms, %u KiB\n", (unsigned)took,
		      (unsigned)(st.st_blocks / 2));
	assert_true(st.st_blocks / 2 < 8192);
	const char *const check[] = { "/usr/sbin/e2fsck", "-f", "-n", VM_FILE_WORK_DISK, NULL };
	program_ok(check, w->dir);
	assert_int_equal(disk_work_create(w->dirfd, w->dir, 16 * GIB, &err), 0);
	assert_int_equal(disk_work_stat(w->dirfd, &size, &err), 0);
	assert_int_equal(size, 8 * GIB);
	assert_int_equal(disk_work_grow(w->dirfd, 16 * GIB, &err), 0);
	assert_int_equal(disk_work_grow(w->dirfd, GIB, &err), 0);
	assert_int_equal(disk_work_stat(w->dirfd, &size, &err), 0);
	assert_int_equal(size, 16 * GIB);
	program_ok(check, w->dir);
}

static void a_full_file_system_is_named(void **state)
{
	struct world *w = *state;
	struct error err;
	assert_int_equal(disk_check_space(w->dir, MIB, &err), 0);
	assert_int_equal(disk_check_space(w->dir, UINT64_MAX / 2, &err), -1);
	assert_int_equal(err.sys, ENOSPC);
	assert_non_null(strstr(err.text, w->dir));
	assert_non_null(strstr(err.text, "MiB available"));
	assert_int_equal(disk_check_space("/nonexistent", 1, &err), -1);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_new, world_free)

/* Asked of the driver itself. */
static bool can_be_had(const struct disk_driver *driver)
{
	void *state;
	struct error err;
	tested = driver;
	world_new(&state);
	struct world *w = state;
	int made = driver->create(w->dirfd, w->dir, &w->image, &err);
	world_free(&state);
	if (made > 0)
		print_message("%s: skipped, not here\n", driver->name);
	return made <= 0; /* what fails, fails in the tests */
}

static int conformance(const struct disk_driver *driver)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(the_system_disk_covers_its_image),
		IN_WORLD(what_is_written_stays),
		IN_WORLD(a_disk_that_exists_is_left_alone),
		IN_WORLD(system_disks_grow_and_never_shrink),
		IN_WORLD(a_failed_disk_leaves_nothing),
		IN_WORLD(half_made_disks_are_replaced),
	};
	return can_be_had(driver) ? cmocka_run_group_tests_name(driver->name, tests, NULL, NULL)
				  : 0;
}

int main(void)
{
	int failed = conformance(&disk_reflink) + conformance(&disk_qcow2) + conformance(&disk_dm);
	tested = NULL;
	const struct CMUnitTest tests[] = {
		IN_WORLD(a_forged_header_does_not_change_the_format),
		IN_WORLD(a_damaged_overlay_is_an_error),
		IN_WORLD(the_work_disk_is_a_sparse_ext4),
		IN_WORLD(a_full_file_system_is_named),
	};
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
