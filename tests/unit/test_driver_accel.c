/* driver: the choice between KVM and TCG. */
#include "driver/driver.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/banger-test-XXXXXX";

static int setup(void **state)
{
	(void)state;
	unsetenv("BANGER_ACCEL");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	struct error err;
	return fs_remove_tree(AT_FDCWD, root, &err);
}

static enum accel choose(struct buf *detail)
{
	struct error err = { 0 };
	enum accel accel;
	buf_reset(detail);
	if (accel_choose(root, &accel, detail, &err) < 0)
		fail_msg("%s", err.text);
	return accel;
}

static void the_environment_decides(void **state)
{
	(void)state;
	struct error err;
	enum accel accel;
	auto_buf struct buf detail = BUF_INIT;
	setenv("BANGER_ACCEL", "kvm", 1);
	assert_int_equal(choose(&detail), ACCEL_KVM);
	assert_non_null(strstr(detail.data, "BANGER_ACCEL"));
	setenv("BANGER_ACCEL", "tcg", 1);
	assert_int_equal(choose(&detail), ACCEL_TCG);
	setenv("BANGER_ACCEL", "fast", 1);
	assert_int_equal(accel_choose(root, &accel, &detail, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	setenv("BANGER_ACCEL", "", 1);
	choose(&detail);
	unsetenv("BANGER_ACCEL");
}

static void the_verdict_has_a_reason_and_is_kept(void **state)
{
	(void)state;
	auto_buf struct buf first = BUF_INIT, second = BUF_INIT;
	auto_free char *cache = xasprintf("%s/accel.json", root);
	unlink(cache);
	uint64_t before = clock_monotonic_ms();
	enum accel accel = choose(&first);
	uint64_t took = clock_monotonic_ms() - before;
	before = clock_monotonic_ms();
	assert_int_equal(choose(&second), accel);
	assert_string_equal(first.data, second.data);
	print_message("%s (%u ms, then %u ms)\n", first.data, (unsigned)took,
		      (unsigned)(clock_monotonic_ms() - before));
	assert_true(took < 4000);
	struct stat st;
	if (access("/dev/kvm", R_OK | W_OK) == 0)
		assert_int_equal(stat(cache, &st), 0);
	else
		assert_int_equal(stat(cache, &st), -1); /* asked anew each time */
}

static void a_useless_cache_is_measured_again(void **state)
{
	(void)state;
	struct error err;
	if (access("/dev/kvm", R_OK | W_OK) != 0)
		skip();
	static const char *const caches[] = {
		"",
		"rubbish",
		"[]",
		"{\"key\": \"another boot 6.1\", \"accel\": \"kvm\", \"detail\": \"stale\"}",
	};
	auto_free char *cache = xasprintf("%s/accel.json", root);
	auto_buf struct buf detail = BUF_INIT;
	for (size_t i = 0; i < ARRAY_COUNT(caches); i++) {
		assert_int_equal(
			fs_write(AT_FDCWD, cache, caches[i], strlen(caches[i]), 0600, &err), 0);
		choose(&detail);
		assert_null(strstr(detail.data, "stale"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_environment_decides),
		cmocka_unit_test(the_verdict_has_a_reason_and_is_kept),
		cmocka_unit_test(a_useless_cache_is_measured_again),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
