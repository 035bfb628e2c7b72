/* source/dir: what one look at a directory may conclude. */
#include "test_source_help.h"

static void the_union_of_all_files_is_the_set(void **state)
{
	(void)state;
	put("b.yml", vms("web:2"));
	put("a.yaml", vms("db:1 worker:3"));
	put(".hidden.yaml", "rubbish: [");
	put("notes.txt", "rubbish: [");
	put("a.yaml~", "rubbish: [");
	put("#a.yaml#", "rubbish: [");
	put(".a.yaml.swp", "rubbish: [");
	EXPECT("db:1 web:2 worker:3");
	assert_string_equal(fix.result.stack, "vms");
	assert_int_equal(fix.result.faults.count, 0);
}

static void a_missing_directory_loses_nothing(void **state)
{
	(void)state;
	EXPECT_INCOMPLETE("", "holds no spec file");
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	rename(fix.path, in_root("away"));
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("db:1", "No such file");
	assert_int_equal(mkdir(fix.path, 0755), 0);
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("db:1", "holds no spec file");
	put("a.yaml", vms("db:2"));
	assert_true(events_say_scan());
	EXPECT("db:2");
}

static void a_directory_that_never_was_can_come(void **state)
{
	(void)state;
	struct error err;
	assert_int_equal(rmdir(fix.path), 0);
	source_dir_free(fix.dir);
	struct spec_context context = { 0 };
	snprintf(fix.path, sizeof(fix.path), "%s/one/two", fix.root);
	fix.dir = source_dir_new(fix.path, &context, &err);
	EXPECT_INCOMPLETE("", "No such file");
	assert_int_equal(mkdir(in_root("other"), 0755), 0);
	assert_false(events_say_scan());
	assert_int_equal(mkdir(in_root("one"), 0755), 0);
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("", "No such file");
	assert_int_equal(mkdir(fix.path, 0755), 0);
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("", "holds no spec file");
	put("a.yaml", vms("db:1"));
	assert_true(events_say_scan());
	EXPECT("db:1");
	assert_string_equal(fix.result.stack, "two");
}

static void an_unreadable_directory_loses_nothing(void **state)
{
	(void)state;
	if (geteuid() == 0)
		skip();
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	assert_int_equal(chmod(fix.path, 0), 0);
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("db:1", "Permission denied");
	assert_int_equal(chmod(fix.path, 0755), 0);
	assert_true(events_say_scan());
	EXPECT("db:1");
	assert_int_equal(chmod(in_dir("a.yaml"), 0), 0);
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("db:1", "cannot be read");
	assert_int_equal(chmod(in_dir("a.yaml"), 0644), 0);
	assert_true(events_say_scan());
	EXPECT("db:1");
}

static void an_emptied_directory_loses_nothing(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("b.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	unlink(in_dir("a.yaml"));
	EXPECT("web:1");
	unlink(in_dir("b.yaml"));
	EXPECT_INCOMPLETE("web:1", "holds no spec file");
	put("c.yaml", "version: 1\nvms: {}\n");
	EXPECT("");
}

static void only_an_explicit_none_is_none(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	static const char *const nothings[] = {
		"",	 "\n\n", "# only a comment\n", "version: 1\n", "version: 1\nvms:\n",
		"---\n", "{}\n"
	};
	for (size_t i = 0; i < ARRAY_COUNT(nothings); i++) {
		put("a.yaml", nothings[i]);
		EXPECT_INCOMPLETE("db:1", "a.yaml");
		assert_true(fix.result.faults.count > 0);
	}
	put("a.yaml", "version: 1\nvms: {}\n");
	EXPECT("");
}

static void a_broken_file_keeps_its_last_good_version(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("b.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	put("a.yaml", "version: 1\nvms:\n  db:\n    vcpus: many\n");
	put("b.yaml", vms("web:2 cache:1"));
	EXPECT_INCOMPLETE("cache:1 db:1 web:2", "a.yaml is not valid");
	assert_int_equal(fix.result.faults.count, 1);
	assert_int_equal(fix.result.faults.at[0].line, 4);
	uint64_t revision = fix.result.revision;
	EXPECT_INCOMPLETE("cache:1 db:1 web:2", "a.yaml is not valid");
	assert_int_equal(fix.result.faults.count, 1);
	assert_int_equal(fix.result.revision, revision);

	/* While one is broken, another that leaves stays as well. */
	unlink(in_dir("b.yaml"));
	EXPECT_INCOMPLETE("cache:1 db:1 web:2", "a.yaml is not valid");
	put("a.yaml", vms("db:3"));
	EXPECT("db:3");
	assert_true(fix.result.revision != revision);
}

static void one_name_in_two_files_names_both(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("b.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	put("b.yaml", vms("web:2 db:4"));
	EXPECT_INCOMPLETE("db:1 web:1", "b.yaml contradicts another file");
	assert_int_equal(fix.result.faults.count, 1);
	auto_free char *text = fault_format(&fix.result.faults.at[0]);
	assert_non_null(strstr(text, "b.yaml:5"));
	assert_non_null(strstr(text, "a.yaml:3"));
	assert_non_null(strstr(text, "vms.db"));
	EXPECT_INCOMPLETE("db:1 web:1", "b.yaml contradicts another file");
	/* Moved from one file to the other, in two saves. */
	put("a.yaml", vms("cache:1"));
	EXPECT("cache:1 db:4 web:2");
}

static void new_files_that_contradict_each_other_both_wait(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("b.yaml", vms("db:2"));
	put("c.yaml", vms("web:1"));
	EXPECT_INCOMPLETE("web:1", "contradicts another file");
	assert_int_equal(fix.result.faults.count, 1);
	unlink(in_dir("b.yaml"));
	EXPECT("db:1 web:1");
}

/* db moves a -> b and x moves b -> c, but c is refused: then b must fall back, and a as well. */
static void falling_back_is_followed_through(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("b.yaml", vms("x:1"));
	put("c.yaml", vms("web:1"));
	put("d.yaml", vms("y:1"));
	EXPECT("db:1 web:1 x:1 y:1");
	put("a.yaml", vms("z:9"));
	put("b.yaml", vms("db:9"));
	put("c.yaml", vms("x:9 y:9"));
	EXPECT_INCOMPLETE("db:9 web:1 y:1 z:9", "c.yaml contradicts");
	put("d.yaml", vms("w:9"));
	EXPECT("db:9 w:9 x:9 y:9 z:9");

	put("a.yaml", vms("w:8")); /* d still has w */
	put("b.yaml", vms("z:8")); /* a would not, if it were accepted */
	EXPECT_INCOMPLETE("db:9 w:9 x:9 y:9 z:9", "contradicts");
}

static void the_stack_has_one_name(void **state)
{
	(void)state;
	put("a.yaml", "version: 1\nstack: prod\nvms:\n  db: {}\n");
	put("b.yaml", "version: 1\nvms:\n  web: {vcpus: 1}\n");
	EXPECT("db:2 web:1");
	assert_string_equal(fix.result.stack, "prod");
	put("b.yaml", "version: 1\nstack: test\nvms:\n  web: {vcpus: 3}\n");
	EXPECT_INCOMPLETE("db:2 web:1", "b.yaml contradicts");
	assert_string_equal(fix.result.stack, "prod");
	assert_int_equal(fix.result.faults.count, 1);
	put("a.yaml", "version: 1\nstack: test\nvms:\n  db: {}\n");
	EXPECT("db:2 web:3");
	assert_string_equal(fix.result.stack, "test");
	put("b.yaml", "rubbish: [\n");
	unlink(in_dir("a.yaml"));
	EXPECT_INCOMPLETE("db:2 web:3", "b.yaml is not valid");
	assert_string_equal(fix.result.stack, "test");
}

static void what_is_no_regular_file_is_not_read(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	assert_int_equal(mkfifo(in_dir("pipe.yaml"), 0644), 0);
	EXPECT_INCOMPLETE("db:1", "pipe.yaml is not a regular file");
	unlink(in_dir("pipe.yaml"));
	assert_int_equal(symlink("/dev/zero", in_dir("zero.yaml")), 0);
	EXPECT_INCOMPLETE("db:1", "zero.yaml is not a regular file");
	unlink(in_dir("zero.yaml"));
	assert_int_equal(mkdir(in_dir("sub.yaml"), 0755), 0);
	EXPECT_INCOMPLETE("db:1", "sub.yaml is not a regular file");
	assert_int_equal(rmdir(in_dir("sub.yaml")), 0);
	put("big.yaml", "");
	assert_int_equal(truncate(in_dir("big.yaml"), (4 << 20) + 1), 0);
	EXPECT_INCOMPLETE("db:1", "big.yaml is larger than 4 MiB");
	unlink(in_dir("big.yaml"));
	assert_int_equal(symlink("nowhere.yaml", in_dir("dangling.yaml")), 0);
	EXPECT_INCOMPLETE("db:1", "leads nowhere");
	unlink(in_dir("dangling.yaml"));
	EXPECT("db:1");
}

static void too_many_entries_conclude_nothing(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	auto_close int dirfd = open(fix.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < SOURCE_FILES_MAX; i++) {
		char name[32];
		snprintf(name, sizeof(name), "junk%d", i);
		assert_int_equal(linkat(dirfd, "a.yaml", dirfd, name, 0), 0);
	}
	/* Names that do not count are no news: it takes a full look, as before any deletion. */
	assert_int_equal(source_dir_drain(fix.dir), SOURCE_QUIET);
	scan();
	expect_vms(__FILE__, __LINE__, "db:1");
	assert_false(fix.result.complete);
	assert_non_null(strstr(fix.result.incomplete_reason, "more than 10000 entries"));
}

static void a_touch_changes_no_revision(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	uint64_t revision = fix.result.revision;
	assert_int_equal(utimensat(AT_FDCWD, in_dir("a.yaml"), NULL, 0), 0);
	EXPECT("db:1");
	assert_int_equal(fix.result.revision, revision);
	put("a.yaml", "# hello\nversion: 1\nvms:\n  db: {vcpus: 1}\n");
	EXPECT("db:1");
	assert_int_equal(fix.result.revision, revision);
	put("a.yaml", vms("db:2"));
	EXPECT("db:2");
	assert_true(fix.result.revision > revision);
}

/* Same size, same tick of the clock: the event tells what the times cannot. */
static void two_saves_in_one_tick_are_both_seen(void **state)
{
	(void)state;
	char text[16];
	EXPECT_INCOMPLETE("", "holds no spec file");
	for (int i = 1; i <= 9; i++) {
		snprintf(text, sizeof(text), "db:%d", i);
		put("a.yaml", vms(text));
		assert_true(events_say_scan());
		EXPECT(text);
	}
}

static void only_absolute_paths_are_taken(void **state)
{
	(void)state;
	struct error err;
	struct spec_context context = { 0 };
	assert_null(source_dir_new("vms", &context, &err));
	assert_int_equal(err.code, ERROR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(the_union_of_all_files_is_the_set),
		RULE(a_missing_directory_loses_nothing),
		RULE(a_directory_that_never_was_can_come),
		RULE(an_unreadable_directory_loses_nothing),
		RULE(an_emptied_directory_loses_nothing),
		RULE(only_an_explicit_none_is_none),
		RULE(a_broken_file_keeps_its_last_good_version),
		RULE(one_name_in_two_files_names_both),
		RULE(new_files_that_contradict_each_other_both_wait),
		RULE(falling_back_is_followed_through),
		RULE(the_stack_has_one_name),
		RULE(what_is_no_regular_file_is_not_read),
		RULE(too_many_entries_conclude_nothing),
		RULE(a_touch_changes_no_revision),
		RULE(two_saves_in_one_tick_are_both_seen),
		RULE(only_absolute_paths_are_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
