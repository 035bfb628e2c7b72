/* guest seed: what arrives in the initrd, read back with libarchive and with cpio(1). */
#include "guest/guest.h"
#include "guest/git_identity.h"
#include "guest/initrd.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/units.h"
#include "driver/driver.h"
#include "sys/proc.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct place {
	char path[64];
	int fd;
	struct vm_spec spec;
	struct seed seed;
	char modules[128], agent[128];
};

static void put(const struct place *place, const char *name, const void *data, size_t len)
{
	struct error err;
	assert_int_equal(fs_write(place->fd, name, data, len, 0644, &err), 0);
}

static int make_place(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	struct error err;
	str_copy(place->path, sizeof(place->path), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(place->path))
		return -1;
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place->fd < 0 || keys_host(place->fd, "web", &err) < 0)
		return -1;
	snprintf(place->modules, sizeof(place->modules), "%s/modules.cpio", place->path);
	snprintf(place->agent, sizeof(place->agent), "%s/agent.cpio", place->path);
	put(place, "modules.cpio", "modules", 7);
	put(place, "agent.cpio", "agent", 5);
	str_copy(place->spec.name, sizeof(place->spec.name), "web");
	place->spec.work_disk = 8 * GIB;
	place->spec.ready = (struct ready_spec){ .kind = READY_SSH };
	place->seed = (struct seed){
		.id = "a1b2c3d4",
		.name = "web",
		.spec = &place->spec,
		.mac = "52:54:00:a1:b2:c3",
		.address = "10.0.2.15/24",
		.gateway = "10.0.2.2",
		.dns = "10.0.2.3",
		.client_key = "ssh-ed25519 AAAAclient banger\n",
		.vm_dirfd = place->fd,
		.home = place->path,
	};
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;
	struct error err;
	close(place->fd);
	int failed = fs_remove_tree(AT_FDCWD, place->path, &err);
	free(place);
	return failed;
}

static void write_initrd(struct place *place)
{
	struct error err;
	if (seed_write_initrd(&place->seed, place->modules, place->agent, &err) < 0)
		fail_msg("%s", err.text);
}

static struct buf read_initrd(const struct place *place)
{
	struct error err;
	struct buf text = BUF_INIT;
	if (fs_read(place->fd, VM_FILE_INITRD, 64u << 20, &text, &err) < 0)
		fail_msg("%s", err.text);
	return text;
}

/* The seed is what follows the two parts, each padded to INITRD_ALIGN. */
#define SEED_OFFSET (2 * INITRD_ALIGN)

static bool member(const struct place *place, const char *path, struct buf *ret)
{
	auto_buf struct buf all = read_initrd(place);
	assert_true(all.len > SEED_OFFSET);
	struct archive *archive = archive_read_new();
	archive_read_support_format_cpio(archive);
	assert_int_equal(
		archive_read_open_memory(archive, all.data + SEED_OFFSET, all.len - SEED_OFFSET),
		ARCHIVE_OK);
	struct archive_entry *entry;
	bool found = false;
	while (!found && archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
		found = !strcmp(archive_entry_pathname(entry), path);
		size_t size = (size_t)archive_entry_size(entry);
		if (!found || !size)
			continue;
		assert_int_equal(archive_read_data(archive, buf_grow(ret, size), size), size);
		buf_grown(ret, size);
	}
	archive_read_free(archive);
	return found;
}

static cJSON *description(const struct place *place)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT;
	assert_true(member(place, "banger/seed.json", &text));
	cJSON *json = json_parse(text.data, text.len, &err);
	assert_non_null(json);
	return json;
}

static const cJSON *file_row(const cJSON *json, const char *path)
{
	const cJSON *row;
	cJSON_ArrayForEach(row, json_get(json, "files"))
	{
		if (!strcmp(json_str(row, "path", ""), path))
			return row;
	}
	return NULL;
}

static void the_description_is_the_contract(void **state)
{
	struct place *place = *state;
	const char *keys[] = { "ssh-rsa AAAAone a@b", "# mine\n\nssh-ed25519 AAAAtwo\r\n" };
	place->spec.ssh_keys = (struct string_list){ keys, 2 };
	write_initrd(place);
	auto_json cJSON *json = description(place);
	cJSON_DeleteItemFromObject(json, "files");
	auto_free char *text = json_print(json);
	assert_string_equal(
		text,
		"{\"version\":1,\"id\":\"a1b2c3d4\",\"name\":\"web\",\"hostname\":\"web\","
		"\"hypervisor\":\"qemu\",\"root\":{\"serial\":\"root\"},\"work\":{\"serial\":\"work\",\"mount\":\"/root\"},"
		"\"network\":{\"mac\":\"52:54:00:a1:b2:c3\",\"address\":\"10.0.2.15/24\","
		"\"gateway\":\"10.0.2.2\",\"dns\":[\"10.0.2.3\"]},"
		"\"ready\":{\"kind\":\"ssh\",\"port\":22},\"init\":null,"
		"\"authorized_keys\":[\"ssh-ed25519 AAAAclient banger\",\"ssh-rsa AAAAone a@b\","
		"\"ssh-ed25519 AAAAtwo\"]}");
}

static void firecracker_s_disks_go_by_their_names(void **state)
{
	struct place *place = *state;
	place->spec.hypervisor = HYPERVISOR_FIRECRACKER;
	place->spec.work_disk = GIB;
	write_initrd(place);
	auto_json cJSON *json = description(place);
	assert_string_equal(json_str(json, "hypervisor", ""), "firecracker");
	assert_string_equal(json_str(json_get(json, "root"), "serial", ""), "/dev/vda");
	assert_string_equal(json_str(json_get(json, "work"), "serial", ""), "/dev/vdb");
	place->spec.work_disk = 0;
	place->seed.modules_disk = true;
	write_initrd(place);
	auto_json cJSON *without = description(place);
	assert_string_equal(json_str(json_get(without, "modules"), "serial", ""), "/dev/vdb");
}

static void what_a_vm_lacks_is_null(void **state)
{
	struct place *place = *state;
	place->spec.work_disk = 0;
	place->spec.ready = (struct ready_spec){ .kind = READY_TCP, .port = 8080 };
	place->seed.address = NULL;
	write_initrd(place);
	auto_json cJSON *json = description(place);
	assert_true(cJSON_IsNull(json_get(json, "work")));
	assert_true(cJSON_IsNull(json_get(json, "network")));
	assert_string_equal(json_str(json_get(json, "ready"), "kind", ""), "tcp");
	assert_int_equal(json_int(json_get(json, "ready"), "port", 0), 8080);
}

static void the_host_key_travels(void **state)
{
	struct place *place = *state;
	struct error err;
	write_initrd(place);
	auto_json cJSON *json = description(place);
	const cJSON *row = file_row(json, "/etc/ssh/ssh_host_ed25519_key");
	assert_int_equal(json_int(row, "mode", -1), 0600);
	assert_string_equal(json_str(row, "owner", ""), "root:root");
	auto_buf struct buf blob = BUF_INIT;
	auto_buf struct buf key = BUF_INIT;
	auto_free char *path = xasprintf("banger/files/%d", (int)json_int(row, "blob", -1));
	assert_true(member(place, path, &blob));
	assert_int_equal(fs_read(place->fd, GUEST_FILE_HOST_KEY, 65536, &key, &err), 0);
	assert_string_equal(blob.data, key.data);
	assert_non_null(file_row(json, "/etc/ssh/ssh_host_ed25519_key.pub"));
	struct stat st;
	assert_int_equal(fstatat(place->fd, VM_FILE_INITRD, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void files_arrive_byte_for_byte(void **state)
{
	struct place *place = *state;
	static const unsigned char bytes[] = { 0, 1, 2, '\n', 0xff, 0, 7 };
	put(place, "data.bin", bytes, sizeof(bytes));
	put(place, "empty", "", 0);
	auto_free char *data = xasprintf("%s/data.bin", place->path);
	auto_free char *empty = xasprintf("%s/empty", place->path);
	struct file_spec files[] = { { data, "/opt/data.bin", 0755, "1000:1000" },
				     { empty, "/opt/empty", 0644, "root:root" } };
	place->spec.files = (struct file_list){ files, 2 };
	write_initrd(place);
	auto_json cJSON *json = description(place);
	const cJSON *row = file_row(json, "/opt/data.bin");
	assert_int_equal(json_int(row, "mode", 0), 0755);
	assert_string_equal(json_str(row, "owner", ""), "1000:1000");
	assert_int_equal(json_int(row, "blob", -1), 2);
	auto_buf struct buf blob = BUF_INIT;
	auto_buf struct buf nothing = BUF_INIT;
	assert_true(member(place, "banger/files/2", &blob));
	assert_int_equal(blob.len, sizeof(bytes));
	assert_memory_equal(blob.data, bytes, sizeof(bytes));
	assert_true(member(place, "banger/files/3", &nothing));
	assert_int_equal(nothing.len, 0);
}

static void the_same_input_gives_the_same_bytes(void **state)
{
	struct place *place = *state;
	write_initrd(place);
	auto_buf struct buf first = read_initrd(place);
	nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 1000000 }, NULL);
	write_initrd(place);
	auto_buf struct buf second = read_initrd(place);
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.data, second.data, first.len);
	assert_int_equal(first.len % 512, 0);
	assert_memory_equal(first.data, "modules\0", 8);
	assert_memory_equal(first.data + INITRD_ALIGN, "agent\0", 6);
	assert_memory_equal(first.data + SEED_OFFSET, "070701", 6);
}

/* The same reader that people have; it skips what precedes an archive no more than the kernel. */
static void cpio_reads_the_seed(void **state)
{
	struct place *place = *state;
	struct error err;
	write_initrd(place);
	auto_buf struct buf all = read_initrd(place);
	put(place, "seed.cpio", all.data + SEED_OFFSET, all.len - SEED_OFFSET);
	auto_buf struct buf out = BUF_INIT;
	const char *const argv[] = { "cpio", "-it", "--quiet", "-F", "seed.cpio", NULL };
	if (proc_check(&(struct proc_run){ .argv = argv, .cwd = place->path }, &out, &err) < 0) {
		if (err.sys == ENOENT)
			skip();
		fail_msg("%s", err.text);
	}
	assert_string_equal(out.data, "banger\nbanger/files\nbanger/files/0\nbanger/files/1\n"
				      "banger/seed.json\n");
}

static void refused(struct place *place, const char *source, const char *expected)
{
	struct error err;
	struct file_spec file = { source, "/x", 0644, "root:root" };
	place->spec.files = (struct file_list){ &file, 1 };
	put(place, VM_FILE_INITRD, "old", 3);
	assert_int_equal(seed_write_initrd(&place->seed, place->modules, place->agent, &err), -1);
	if (!strstr(err.text, expected) || !strstr(err.text, "vm 'web': file '"))
		fail_msg("%s", err.text);
	auto_buf struct buf kept = read_initrd(place);
	assert_string_equal(kept.data, "old");
	assert_int_equal(faccessat(place->fd, VM_FILE_INITRD ".new", F_OK, 0), -1);
}

static void sources_that_are_no_files_are_refused(void **state)
{
	struct place *place = *state;
	assert_int_equal(mkfifoat(place->fd, "fifo", 0600), 0);
	auto_free char *fifo = xasprintf("%s/fifo", place->path);
	refused(place, fifo, "is not a regular file");
	refused(place, place->path, "is not a regular file");
	refused(place, "/dev/zero", "is not a regular file");
	refused(place, "/nonexistent/x", "No such file");
	refused(place, "/proc/self/mem", "Input/output error"); /* says it is regular and empty */
}

static void too_many_bytes_are_refused(void **state)
{
	struct place *place = *state;
	auto_free char *big = xasprintf("%s/big", place->path);
	put(place, "big", "", 0);
	assert_int_equal(truncate(big, SEED_FILES_MAX), 0);
	struct file_spec files[] = { { big, "/a", 0644, "root:root" },
				     { big, "/b", 0644, "root:root" } };
	place->spec.files = (struct file_list){ files, 1 };
	write_initrd(place);
	struct error err;
	place->spec.files.count = 2;
	assert_int_equal(seed_write_initrd(&place->seed, place->modules, place->agent, &err), -1);
	assert_non_null(strstr(err.text, "larger than 16 MiB together"));
	assert_int_equal(err.code, ERROR_INVALID);
}

static void a_missing_part_is_named(void **state)
{
	struct place *place = *state;
	struct error err;
	assert_int_equal(seed_write_initrd(&place->seed, place->modules, "/nonexistent/a", &err),
			 -1);
	assert_non_null(strstr(err.text, "/nonexistent/a"));
	assert_int_equal(seed_write_initrd(&place->seed, "/dev/zero", place->agent, &err), -1);
}

static void the_git_identity_goes_along_unless_given(void **state)
{
	struct place *place = *state;
	static const char config[] =
		"[user]\n\tname = \"Ann \\\"A\\\" Other\" ; me\n\temail = a@b.c\n";
	put(place, ".gitconfig", config, strlen(config));
	write_initrd(place);
	auto_json cJSON *json = description(place);
	assert_int_equal(json_int(file_row(json, "/root/.gitconfig"), "blob", -1), 2);
	auto_buf struct buf blob = BUF_INIT;
	assert_true(member(place, "banger/files/2", &blob));
	assert_string_equal(blob.data,
			    "[user]\n\tname = \"Ann \\\"A\\\" Other\"\n\temail = \"a@b.c\"\n");

	struct file_spec file = { place->modules, "/root/.gitconfig", 0644, "root:root" };
	place->spec.files = (struct file_list){ &file, 1 };
	write_initrd(place);
	auto_json cJSON *own = description(place);
	auto_buf struct buf given = BUF_INIT;
	assert_int_equal(cJSON_GetArraySize(json_get(own, "files")), 3);
	assert_true(member(place, "banger/files/2", &given));
	assert_string_equal(given.data, "modules");
}

/* Of a spec that is a member's of the machine's group. As root only, else nobody is kept out. */
static void a_members_files_are_read_with_his_rights(void **state)
{
	struct place *place = *state;
	struct error err;
	const struct passwd *nobody = geteuid() ? NULL : getpwnam("nobody");
	if (!nobody)
		skip();
	static const char config[] = "[user]\n\tname = Ann\n";
	put(place, ".gitconfig", config, strlen(config));
	put(place, "motd", "hers\n", 5);
	auto_free char *motd = xasprintf("%s/motd", place->path);
	assert_int_equal(fchmod(place->fd, 0755) | chmod(motd, 0644), 0);
	struct file_spec file = { motd, "/etc/motd", 0644, "root:root" };
	place->spec.files = (struct file_list){ &file, 1 };
	place->spec.reader = nobody->pw_uid;
	auto_free char *path = xasprintf("%s/.gitconfig", place->path);
	assert_int_equal(chmod(path, 0600), 0);
	write_initrd(place);
	auto_json cJSON *json = description(place);
	assert_int_equal(json_int(file_row(json, "/etc/motd"), "blob", -1), 2);
	assert_null(file_row(json, "/root/.gitconfig"));

	assert_int_equal(chmod(motd, 0600), 0);
	refused(place, motd, "Permission denied (read as user");
	place->spec.reader = 4000000001U;
	assert_int_equal(seed_write_initrd(&place->seed, place->modules, place->agent, &err), -1);
	assert_non_null(strstr(err.text, "there is no user 4000000001: somebody else has to"));
	/* Without files there is nothing to read as him. */
	place->spec.files.count = 0;
	write_initrd(place);
}

static void git_configs_are_read_as_git_does(void **state)
{
	(void)state;
	static const struct {
		const char *text, *name;
	} cases[] = {
		{ "[user]\nname=x\n", "x" },
		{ "[USER] NAME = two words  # c\n", "two words" },
		{ "[user \"sub\"]\nname = x\n", NULL },
		{ "[core]\nname = x\n[user]\n\tname\n", NULL },
		{ "[user]\nname = a\nname = b\n", "b" },
		{ "[user]\nname = \" pad \"\\\n more\n", " pad  more" },
		{ "[user]\r\nname = x y\r\n", "x y" },
		{ "[user]\nname = \"open\n", NULL },
		{ "[user\nname = x\n", NULL },
		{ "[user]\nname = bad \\q\n", NULL },
		{ "\xef\xbb\xbf[user]name=x", "x" },
		{ "[alias]\n\tx = \"!f() { echo \\\"$1\\\"; }; f\"\n[user]\nname = x", "x" },
		{ "", NULL },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct git_user user = { 0 };
		git_user_parse(cases[i].text, &user);
		if (!!user.name != !!cases[i].name ||
		    (user.name && strcmp(user.name, cases[i].name) != 0))
			fail_msg("case %zu: '%s'", i, user.name ? user.name : "(none)");
		git_user_clear(&user);
	}
}

/* Not a promise of the test, only a figure: sizes as of real ones. */
static void an_initrd_is_made_in_milliseconds(void **state)
{
	struct place *place = *state;
	auto_free char *bytes = xcalloc(1, 4u << 20);
	for (size_t i = 0; i < 4u << 20; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	put(place, "modules.cpio", bytes, 3u << 20);
	put(place, "agent.cpio", bytes, 1u << 20);
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < 20; i++)
		write_initrd(place);
	clock_gettime(CLOCK_MONOTONIC, &to);
	double ms =
		(double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
	print_message("4 MiB initrd: %.2f ms\n", ms / 20);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACED(the_description_is_the_contract),
		PLACED(firecracker_s_disks_go_by_their_names),
		PLACED(what_a_vm_lacks_is_null),
		PLACED(the_host_key_travels),
		PLACED(files_arrive_byte_for_byte),
		PLACED(the_same_input_gives_the_same_bytes),
		PLACED(cpio_reads_the_seed),
		PLACED(sources_that_are_no_files_are_refused),
		PLACED(too_many_bytes_are_refused),
		PLACED(a_missing_part_is_named),
		PLACED(the_git_identity_goes_along_unless_given),
		PLACED(a_members_files_are_read_with_his_rights),
		cmocka_unit_test(git_configs_are_read_as_git_does),
		PLACED(an_initrd_is_made_in_milliseconds),
	};
	ssh_init();
	int failed = cmocka_run_group_tests_name("guest_seed", tests, NULL, NULL);
	ssh_finalize();
	return failed;
}
