/* The corpora: every file of tests/spec/bad yields exactly the faults of its .expected, every file
 * of tests/spec/good the VMs of its own. UPDATE=1 writes what is, for a person to read in the diff.
 * What is too large to keep is made here. */
#include "schema/spec_load.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/units.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define KEY_1                                                                                      \
	"ssh-ed25519 "                                                                             \
	"AAAAC3NzaC1lZDI1NTE5AAAAIHqPb6Wj0i8cVvKp5pGm3x2Z0Q9r7sT1uYwXeDfBnCaL "                    \
	"same@everywhere\n"
#define KEY_2                                                                                      \
	"sk-ssh-ed25519@openssh.com "                                                              \
	"AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIHqPb6Wj0i8cVvKp5pGm3x2Z0Q9r7sT1uYw\n"

static char *read_key(void *cookie, const char *path, struct error *err)
{
	static const struct {
		const char *path, *text;
	} files[] = {
		{ "/keys/two.pub", "# my keys\n\n" KEY_1 KEY_2 },
		{ "/home/ada/.ssh/id.pub", KEY_1 },
		{ "/srv/specs/id.pub", KEY_2 },
		{ "/keys/private", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n" },
		{ "/keys/rubbish.pub", "root:x:0:0:secret\n" },
		{ "/keys/empty.pub", "# nothing\n" },
	};
	(void)cookie;
	for (size_t i = 0; i < ARRAY_COUNT(files); i++)
		if (!strcmp(files[i].path, path))
			return xstrdup(files[i].text);
	errno = ENOENT;
	error_sys(err, "cannot open '%s'", path);
	return NULL;
}

static const struct image_hint images[] = { { "tiny", 128 * MIB, 64 * MIB },
					    { "debian", 512 * MIB, 2 * GIB } };
static const struct spec_context context = { .images = images,
					     .image_count = ARRAY_COUNT(images),
					     .read_file = read_key,
					     .home = "/home/ada" };

static char *load(const struct spec_source *sources, size_t count)
{
	struct spec_set set = { 0 };
	struct fault_vec faults = { 0 };
	if (spec_load(sources, count, &context, &set, &faults) == 0) {
		char *text = vm_specs_to_yaml(set.stack, (const struct vm_spec *const *)set.vms,
					      set.count);
		spec_set_clear(&set);
		return text;
	}
	auto_buf struct buf out = BUF_INIT;
	for (size_t i = 0; i < faults.count; i++) {
		auto_free char *line = fault_format(&faults.at[i]);
		buf_addf(&out, "%s\n", line);
	}
	assert_true(faults.count > 0);
	faults_clear(&faults);
	return buf_take(&out);
}

static char *load_text(const char *text, size_t len)
{
	/* A block of exactly that size, so that a read beyond it is seen. */
	auto_free char *exact = xmalloc(len);
	memcpy(exact, text, len);
	struct spec_source source = { "vms.yaml", exact, len, "/srv/specs" };
	return load(&source, 1);
}

static void compare(const char *path, const char *got)
{
	struct error err = { 0 };
	auto_buf struct buf want = BUF_INIT;
	if (getenv("UPDATE")) {
		assert_int_equal(fs_write(AT_FDCWD, path, got, strlen(got), 0644, &err), 0);
		return;
	}
	if (fs_read(AT_FDCWD, path, 1 << 20, &want, &err) < 0)
		fail_msg("%s", err.text);
	if (strcmp(want.data, got) != 0)
		fail_msg("%s\n--- expected\n%s--- got\n%s", path, want.data, got);
}

static size_t check_folder(const char *folder, bool good)
{
	size_t count = 0;
	auto_dir DIR *dir = opendir(folder);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		const char *dot = strrchr(entry->d_name, '.');
		if (!dot || strcmp(dot, ".yaml") != 0)
			continue;
		struct error err = { 0 };
		auto_buf struct buf text = BUF_INIT;
		auto_free char *path = xasprintf("%s/%s", folder, entry->d_name);
		auto_free char *expected =
			xasprintf("%.*s.expected", (int)(strlen(path) - strlen(".yaml")), path);
		assert_int_equal(fs_read(AT_FDCWD, path, SPEC_FILE_MAX * 2, &text, &err), 0);
		auto_free char *got = load_text(text.data, text.len);
		if (!strncmp(got, "version: 1\n", 11) != good)
			fail_msg("%s is %s", path, good ? got : "valid");
		compare(expected, got);
		count++;
	}
	return count;
}

static void bad_files(void **state)
{
	(void)state;
	assert_true(check_folder("tests/spec/bad", false) >= 25);
}

static void good_files(void **state)
{
	(void)state;
	assert_true(check_folder("tests/spec/good", true) >= 10);
}

/* What comes out of a good file goes in again and comes out the same. */
static void output_is_input(void **state)
{
	(void)state;
	auto_dir DIR *dir = opendir("tests/spec/good");
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct error err = { 0 };
		auto_buf struct buf text = BUF_INIT;
		auto_free char *path = xasprintf("tests/spec/good/%s", entry->d_name);
		if (!strstr(entry->d_name, ".expected"))
			continue;
		assert_int_equal(fs_read(AT_FDCWD, path, 1 << 20, &text, &err), 0);
		auto_free char *got = load_text(text.data, text.len);
		assert_string_equal(got, text.data);
	}
}

/* No message may show what someone pasted or a file holds. */
static void secrets_stay_out(void **state)
{
	(void)state;
	struct error err = { 0 };
	auto_buf struct buf text = BUF_INIT;
	assert_int_equal(fs_read(AT_FDCWD, "tests/spec/bad/ssh-keys.yaml", 1 << 20, &text, &err),
			 0);
	auto_free char *got = load_text(text.data, text.len);
	assert_null(strstr(got, "b3Blb"));
	assert_null(strstr(got, "c2VjcmV0"));
	assert_null(strstr(got, "secret"));
}

static void repeat(struct buf *to, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_add(to, text);
}

static void expect_text(const struct buf *text, const char *want)
{
	auto_free char *got = load_text(text->data, text->len);
	assert_string_equal(got, want);
}

static void large_files(void **state)
{
	(void)state;
	auto_buf struct buf text = BUF_INIT;
	buf_add(&text, "version: 1\nvms: {}\n");
	repeat(&text, "# comment\n", (8u << 20) / 10);
	expect_text(&text, "vms.yaml: the file is larger than 4Mi\n");
	buf_reset(&text);
	buf_add(&text, "version: 1\nvms: {}\nx-all: [");
	repeat(&text, "1,", 1000001);
	buf_add(&text, "]\n");
	expect_text(&text, "vms.yaml:3:1999995: x-all[999993]: more values than a file may hold\n");
	buf_reset(&text);
	buf_add(&text, "version: 1\nvms:\n");
	for (unsigned i = 0; i < 10001; i++)
		buf_addf(&text, "  vm-%u:\n", i);
	expect_text(&text, "vms.yaml:3:3: vms: more than 10000 keys in one mapping\n");
	buf_reset(&text);
	buf_add(&text, "version: 1\nvms: {}\nx-a:\n");
	for (unsigned i = 0; i < 10001; i++)
		buf_addf(&text, "- &a%u x\n", i);
	expect_text(&text, "vms.yaml:10004:3: x-a[10000]: more than 10000 anchors\n");
}

/* Deep or odd nesting must neither overflow a stack nor take long. */
static void pathological_files(void **state)
{
	(void)state;
	static const char *const parts[] = { "[",   "{",    "- ",   "? ",   "{a: ", "&a ",    "*a ",
					     "!x ", "\"\\", "'",    "|\n",  "a: ",  "<<: ",   ": ",
					     "%",   "\r",   "[a, ", "- - ", "#",    "\n- a: " };
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		auto_buf struct buf text = BUF_INIT;
		repeat(&text, parts[i], (1u << 20) / strlen(parts[i]));
		free(load_text(text.data, text.len));
	}
}

static void several_sources(void **state)
{
	(void)state;
	const struct spec_source sources[] = {
#define SOURCE(name, text) { name, text, sizeof(text) - 1, NULL }
		SOURCE("b.yaml", "version: 1\nstack: one\nvms:\n  web: {ports: ['80:80']}\n"),
		SOURCE("a.yaml", "version: 1\nstack: two\nvms:\n  web:\n  db: {ports: ['80:1']}\n"),
		SOURCE("c.yaml", "version: 1\nvms: {x: {ssh_keys: [./a.pub]}}\n"),
#undef SOURCE
	};
	auto_free char *got = load(sources, 3);
	assert_string_equal(
		got, "a.yaml:2:8: stack: 'two', but b.yaml:2 says 'one': all files are one stack\n"
		     "c.yaml:2:22: vms.x.ssh_keys[0]: must be an absolute path here\n"
		     "a.yaml:4:3: vms.web: this VM is also in b.yaml:4:3\n"
		     "a.yaml:5:16: vms.db.ports[0]: port 80/tcp is already taken by 'web' at "
		     "b.yaml:4:17\n");
	auto_free char *nothing = load(NULL, 0);
	assert_string_equal(nothing, "version: 1\nvms: {}\n");
}

static void too_many_vms(void **state)
{
	(void)state;
	auto_buf struct buf a = BUF_INIT, b = BUF_INIT;
	buf_add(&a, "version: 1\nvms:\n");
	buf_add(&b, "version: 1\nvms:\n  one-more:\n");
	for (unsigned i = 0; i < 10000; i++)
		buf_addf(&a, "  vm-%u:\n", i);
	const struct spec_source sources[] = { { "a.yaml", a.data, a.len, NULL },
					       { "b.yaml", b.data, b.len, NULL } };
	auto_free char *got = load(sources, 2);
	assert_string_equal(got, "a.yaml: vms: 10001 VMs, a stack may have 10000\n");
}

/* What newcomers copy from has to be right. */
static void examples_are_valid(void **state)
{
	(void)state;
	static const char *const names[] = { "vms.yaml", "ports-and-files.yaml",
					     "fleet/00-web.yaml", "fleet/10-db.yaml" };
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		struct error err = { 0 };
		auto_buf struct buf text = BUF_INIT;
		auto_free char *path = xasprintf("examples/%s", names[i]);
		if (fs_read(AT_FDCWD, path, SPEC_FILE_MAX, &text, &err) < 0)
			fail_msg("%s", err.text);
		auto_free char *got = load_text(text.data, text.len);
		if (strncmp(got, "version: 1\n", 11) != 0)
			fail_msg("%s: %s", path, got);
	}
}

/* The files that banger generates from the table, as they are committed. */
static void generated_schema(void **state)
{
	(void)state;
	auto_free char *schema = schema_emit_json_schema();
	compare("schema/vms.schema.json", schema);
	auto_free char *man = schema_emit_man_fields();
	assert_non_null(strstr(man, ".B memory\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_files),	      cmocka_unit_test(good_files),
		cmocka_unit_test(output_is_input),    cmocka_unit_test(secrets_stay_out),
		cmocka_unit_test(large_files),	      cmocka_unit_test(pathological_files),
		cmocka_unit_test(several_sources),    cmocka_unit_test(too_many_vms),
		cmocka_unit_test(examples_are_valid), cmocka_unit_test(generated_schema),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
