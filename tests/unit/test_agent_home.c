/* agent home: a new work disk starts with what the image has at its place. */
#include "agent/home.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct place {
	char top[64];
	int from, to;
};

static int setup(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	str_copy(place->top, sizeof(place->top), "/tmp/banger-home-XXXXXX");
	assert_non_null(mkdtemp(place->top));
	int top = open(place->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(top, "from", 0750), 0);
	assert_int_equal(mkdirat(top, "to", 0700), 0);
	assert_int_equal(mkdirat(top, "to/lost+found", 0700), 0);
	place->from = openat(top, "from", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	place->to = openat(top, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(top);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;
	struct error err;
	close(place->from);
	close(place->to);
	assert_int_equal(fs_remove_tree(AT_FDCWD, place->top, &err), 0);
	free(place);
	return 0;
}

static void make(int dir, const char *name, const char *text, mode_t mode)
{
	struct error err;
	assert_int_equal(fs_write(dir, name, text, strlen(text), mode, &err), 0);
}

static void holds(int dir, const char *name, const char *text, mode_t mode)
{
	struct error err;
	struct stat st;
	auto_buf struct buf got = BUF_INIT;
	assert_int_equal(fs_read(dir, name, 4096, &got, &err), 0);
	assert_string_equal(got.data, text);
	assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void everything_is_copied_with_mode_time_and_links(void **state)
{
	struct place *place = *state;
	struct error err;
	struct stat st;
	char link[64];
	const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000 } };
	make(place->from, ".profile", "umask 022\n", 0640);
	assert_int_equal(mkdirat(place->from, "bin", 0700), 0);
	make(place->from, "bin/tool", "#!/bin/sh\n", 04755);
	assert_int_equal(symlinkat("../nowhere", place->from, "link"), 0);
	assert_int_equal(mkfifoat(place->from, "pipe", 0600), 0);
	assert_int_equal(utimensat(place->from, ".profile", old, 0), 0);
	assert_true(home_is_empty(place->to));
	assert_int_equal(home_copy(place->from, place->to, &err), 0);
	assert_false(home_is_empty(place->to));
	holds(place->to, ".profile", "umask 022\n", 0640);
	holds(place->to, "bin/tool", "#!/bin/sh\n", 04755);
	assert_int_equal(fstatat(place->to, ".profile", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(readlinkat(place->to, "link", link, sizeof(link)), 10);
	assert_int_equal(faccessat(place->to, "pipe", F_OK, 0), -1);
	assert_int_equal(fstat(place->to, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
}

static void what_is_there_stays(void **state)
{
	struct place *place = *state;
	struct error err;
	make(place->from, "a", "image\n", 0644);
	make(place->from, "b", "image\n", 0644);
	make(place->to, "a", "mine\n", 0600);
	assert_int_equal(home_copy(place->from, place->to, &err), 0);
	holds(place->to, "a", "mine\n", 0600);
	holds(place->to, "b", "image\n", 0644);
}

static void a_tree_that_is_too_deep_is_cut(void **state)
{
	struct place *place = *state;
	struct error err;
	auto_free char *deep = xasprintf("%s/from", place->top);
	for (int i = 0; i < HOME_DEPTH_MAX + 8; i++) {
		char *deeper = xasprintf("%s/d", deep);
		free(deep);
		deep = deeper;
	}
	assert_int_equal(fs_mkdirs(deep, 0755, &err), 0);
	assert_int_equal(home_copy(place->from, place->to, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_is_copied_with_mode_time_and_links,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_there_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(a_tree_that_is_too_deep_is_cut, setup, teardown),
	};
	return cmocka_run_group_tests_name("agent/home", tests, NULL, NULL);
}
