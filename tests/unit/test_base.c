/* base: what every layer leans on. */
#include "base/buf.h"
#include "base/env.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/units.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void sizes_are_exact_or_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "0", 0 },	   { "512Mi", 512 * MIB }, { "2Gi", 2 * GIB },
		     { "1G", 1000000000 }, { "4096", 4096 },	   { "16Ti", 16 * TIB } };
	static const char *const bad[] = { "",	   "02",   "1e3",  "-1",   "1.5Gi",
					   "1 Gi", "1gib", "1Gi ", "0x10", "99999999999Ti" };
	struct error err;
	uint64_t bytes;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(units_parse_size(good[i].text, &bytes, &err), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(units_parse_size(bad[i], &bytes, &err), -1);
		assert_int_equal(err.code, ERROR_INVALID);
	}
}

static void printed_sizes_and_durations_parse_back(void **state)
{
	(void)state;
	struct error err;
	char text[UNITS_TEXT_MAX];
	uint64_t back;
	static const uint64_t values[] = { 0,	 1,	999,	 1000, 1024,
					   1500, 90000, 3600000, MIB,  3 * GIB + 1 };
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_int_equal(units_parse_size(units_format_size(values[i], text), &back, &err),
				 0);
		assert_int_equal(back, values[i]);
		assert_int_equal(
			units_parse_duration(units_format_duration(values[i], text), &back, &err),
			0);
		assert_int_equal(back, values[i]);
	}
}

static void errors_keep_cause_and_context(void **state)
{
	(void)state;
	struct error err = { 0 };
	errno = ENOENT;
	assert_int_equal(error_sys(&err, "cannot open '%s'", "x"), -1);
	assert_int_equal(err.sys, ENOENT);
	error_wrap(&err, "vm '%s'", "web");
	assert_string_equal(err.text, "vm 'web': cannot open 'x': No such file or directory");
	assert_int_equal(err.code, ERROR_SYSTEM);
	assert_int_equal(error_code_parse("conflict"), ERROR_CONFLICT);
	assert_int_equal(error_code_parse("no such code"), ERROR_SYSTEM);
	assert_int_equal(error_exit_status(ERROR_TIMEOUT), 5);
}

static void a_too_long_error_is_cut_not_overrun(void **state)
{
	(void)state;
	struct error err = { 0 };
	char big[3000];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	error_set(&err, ERROR_INVALID, "%s", big);
	error_wrap(&err, "%s", big);
	error_append(&err, "%s", big);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void buffers_grow_drop_and_hand_over(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	assert_string_equal(b.data, "");
	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%d,", i);
	buf_drop(&b, 2);
	assert_memory_equal(b.data, "1,2,", 4);
	size_t len = b.len;
	char *text = buf_take(&b);
	assert_int_equal(strlen(text), len);
	free(text);
	assert_int_equal(b.len, 0);
	buf_clear(&b);
}

static void json_from_outside_is_read_by_type(void **state)
{
	(void)state;
	struct error err;
	const char *text = "{\"a\":1.5,\"b\":\"x\",\"c\":12,\"d\":1e300,\"e\":true}";
	auto_json cJSON *json = json_parse(text, strlen(text), &err);
	assert_non_null(json);
	assert_int_equal(json_int(json, "a", -7), -7);
	assert_int_equal(json_int(json, "b", -7), -7);
	assert_int_equal(json_int(json, "c", -7), 12);
	assert_int_equal(json_int(json, "d", -7), -7);
	assert_string_equal(json_str(json, "b", "?"), "x");
	assert_string_equal(json_str(json, "c", "?"), "?");
	assert_true(json_bool(json, "e", false));
	assert_null(json_parse("{} x", 4, &err));
	assert_null(json_parse("{", 1, &err));
	assert_null(json_parse("", 0, &err));
}

static void files_are_bounded_and_replaced_whole(void **state)
{
	(void)state;
	struct error err = { 0 };
	char dir[] = "/tmp/banger-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	auto_free char *deep = xasprintf("%s/a/b/c", dir);
	assert_int_equal(fs_mkdirs(deep, 0700, &err), 0);
	assert_int_equal(fs_mkdirs(deep, 0700, &err), 0);
	auto_close int fd = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fs_write(fd, "f", "12345", 5, 0600, &err), 0);
	auto_buf struct buf b = BUF_INIT;
	assert_int_equal(fs_read(fd, "f", 5, &b, &err), 0);
	assert_string_equal(b.data, "12345");
	buf_reset(&b);
	assert_int_equal(fs_read(fd, "f", 4, &b, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	assert_int_equal(fs_read(fd, "none", 4, &b, &err), -1);
	assert_int_equal(err.sys, ENOENT);
	/* A symlink out of the tree is removed, not followed. */
	auto_free char *outside = xasprintf("%s.outside", dir);
	assert_int_equal(mkdir(outside, 0700), 0);
	assert_int_equal(symlinkat(outside, fd, "link"), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, &err), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, &err), 0);
	struct stat st;
	assert_int_equal(stat(outside, &st), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, outside, &err), 0);
}

static void numbers_of_the_environment_are_numbers(void **state)
{
	(void)state;
	static const char name[] = "BANGER_TEST_NUMBER";
	static const char *const none[] = { "", "15s", "x", "-1", " 7", "18446744073709551616" };
	unsetenv(name);
	assert_int_equal(env_number(name, 7), 7);
	setenv(name, "15", 1);
	assert_int_equal(env_number(name, 7), 15);
	for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
		setenv(name, none[i], 1);
		assert_int_equal(env_number(name, 7), 7);
	}
	unsetenv(name);
}

static void a_quote_is_one_line(void **state)
{
	(void)state;
	auto_buf struct buf b = BUF_INIT;
	buf_add_printable(&b, "Error: no\nadd x\t^^\x1b[1m\xff!", 24);
	assert_string_equal(b.data, "Error: no add x ^^ [1m !");
}

/* As in the directory of a VM, where its hypervisor can make files. */
static void what_others_laid_there_is_not_read(void **state)
{
	(void)state;
	struct error err = { 0 };
	auto_buf struct buf b = BUF_INIT;
	char dir[] = "/tmp/banger-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fs_write(fd, "own", "12345", 5, 0600, &err), 0);
	assert_int_equal(fs_read_own(fd, "own", 5, &b, &err), 0);
	assert_string_equal(b.data, "12345");
	assert_int_equal(fs_read_own(fd, "own", 4, &b, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	assert_int_equal(fs_read_own(fd, "none", 5, &b, &err), -1);
	assert_int_equal(err.sys, ENOENT);
	assert_int_equal(symlinkat("own", fd, "link"), 0);
	assert_int_equal(mkfifoat(fd, "pipe", 0600), 0);
	assert_int_equal(fs_write(fd, "other", "12345", 5, 0600, &err), 0);
	bool given = fchownat(fd, "other", 2001234567, (gid_t)-1, 0) == 0; /* as root */
	static const char *const names[] = { ".", "link", "pipe", "other" };
	for (size_t i = 0; i < ARRAY_COUNT(names) - !given; i++) {
		assert_int_equal(fs_read_own(fd, names[i], 5, &b, &err), -1);
		assert_int_equal(err.code, ERROR_CONFLICT);
		assert_non_null(strstr(err.text, names[i]));
	}
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_exact_or_refused),
		cmocka_unit_test(printed_sizes_and_durations_parse_back),
		cmocka_unit_test(errors_keep_cause_and_context),
		cmocka_unit_test(a_too_long_error_is_cut_not_overrun),
		cmocka_unit_test(buffers_grow_drop_and_hand_over),
		cmocka_unit_test(json_from_outside_is_read_by_type),
		cmocka_unit_test(files_are_bounded_and_replaced_whole),
		cmocka_unit_test(what_others_laid_there_is_not_read),
		cmocka_unit_test(numbers_of_the_environment_are_numbers),
		cmocka_unit_test(a_quote_is_one_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
