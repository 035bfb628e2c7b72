/* What the tests of source/ share: a real directory, and short ways to change and to look at it. */
#ifndef TEST_SOURCE_HELP_H
#define TEST_SOURCE_HELP_H

#include "base/buf.h"
#include "base/fs.h"
#include "source/dir.h"
#include "source/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
	char root[64];
	char path[80]; /* root/vms */
	struct source_dir *dir;
	struct source_result result;
};

static struct fixture fix;

static inline const char *in_root(const char *name)
{
	static char text[4][512];
	static unsigned next;
	char *at = text[next++ % 4];
	snprintf(at, sizeof(text[0]), "%s/%s", fix.root, name);
	return at;
}

/* A path below the watched directory. */
static inline const char *in_dir(const char *name)
{
	static char text[4][512];
	static unsigned next;
	char *at = text[next++ % 4];
	snprintf(at, sizeof(text[0]), "%s/%s", fix.path, name);
	return at;
}

static inline void put_path(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, strlen(text)), 0);
}

static inline void put(const char *name, const char *text)
{
	put_path(in_dir(name), text);
}

/* "a:1 b:2" as YAML: VMs by name with their vcpus. The result is good until the next call. */
static inline const char *vms(const char *list)
{
	static char text[1024];
	auto_buf struct buf out = BUF_INIT;
	buf_add(&out, "version: 1\nvms:\n");
	for (const char *at = list; *at; at += strspn(at, " ")) {
		size_t name = strcspn(at, ":");
		buf_add(&out, "  ");
		buf_add_bytes(&out, at, name);
		at += name + 1;
		buf_add(&out, ":\n    vcpus: ");
		buf_add_bytes(&out, at, strcspn(at, " "));
		buf_add(&out, "\n");
		at += strcspn(at, " ");
	}
	assert_true(str_copy(text, sizeof(text), out.data));
	return text;
}

static inline bool events_say_scan(void)
{
	return source_dir_drain(fix.dir);
}

static inline void scan(void)
{
	source_result_clear(&fix.result);
	source_dir_scan(fix.dir, &fix.result);
}

/* Everything that a full scan finds was found on the word of inotify alone. */
static inline void glance_and_scan(void)
{
	struct source_result seen;
	source_dir_drain(fix.dir);
	source_dir_glance(fix.dir, &seen);
	scan();
	assert_int_equal(seen.complete, fix.result.complete);
	assert_int_equal(seen.count, fix.result.count);
	assert_int_equal(seen.revision, fix.result.revision);
	source_result_clear(&seen);
}

static inline void expect_vms(const char *file, int line, const char *list)
{
	auto_buf struct buf text = BUF_INIT;
	for (size_t i = 0; i < fix.result.count; i++)
		buf_addf(&text, "%s%s:%u", i ? " " : "", fix.result.vms[i]->name,
			 fix.result.vms[i]->vcpus);
	if (strcmp(text.data, list) == 0)
		return;
	print_error("%s:%d: '%s' is not '%s' (%s)\n", file, line, text.data, list,
		    fix.result.incomplete_reason ? fix.result.incomplete_reason : "complete");
	for (size_t i = 0; i < fix.result.faults.count; i++)
		print_error("  %s: %s\n", fix.result.faults.at[i].path,
			    fix.result.faults.at[i].text);
	fail();
}

/* Scans; the set is exactly this and all of it. */
#define EXPECT(list)                                                                               \
	do {                                                                                       \
		glance_and_scan();                                                                 \
		expect_vms(__FILE__, __LINE__, list);                                              \
		if (!fix.result.complete)                                                          \
			fail_msg("incomplete: %s", fix.result.incomplete_reason);                  \
	} while (0)

/* Scans; this is in force, but nothing may be concluded from what is missing. */
#define EXPECT_INCOMPLETE(list, reason)                                                            \
	do {                                                                                       \
		glance_and_scan();                                                                 \
		expect_vms(__FILE__, __LINE__, list);                                              \
		assert_false(fix.result.complete);                                                 \
		if (!strstr(fix.result.incomplete_reason, reason))                                 \
			fail_msg("'%s'", fix.result.incomplete_reason);                            \
	} while (0)

static inline int make_fixture(void **state)
{
	(void)state;
	struct error err;
	struct spec_context context = { 0 };
	fix = (struct fixture){ .root = "/tmp/banger-source-XXXXXX" };
	if (!mkdtemp(fix.root))
		return -1;
	snprintf(fix.path, sizeof(fix.path), "%s/vms", fix.root);
	if (mkdir(fix.path, 0755) < 0)
		return -1;
	fix.dir = source_dir_new(fix.path, &context, &err);
	return fix.dir ? 0 : -1;
}

static inline int drop_fixture(void **state)
{
	(void)state;
	struct error err;
	source_result_clear(&fix.result);
	source_dir_free(fix.dir);
	return fs_remove_tree(AT_FDCWD, fix.root, &err);
}

#define RULE(f) cmocka_unit_test_setup_teardown(f, make_fixture, drop_fixture)

#endif
