/* source/: every fashion in which a directory is changed, and what its events cost. */
#include "test_source_help.h"

#include "source/trail.h"

static void move(const char *from, const char *to)
{
	assert_int_equal(rename(in_dir(from), in_dir(to)), 0);
}

static void names_that_count(void **state)
{
	(void)state;
	static const char *const yes[] = { "a.yaml", "a.yml", "web-1.prod.yaml", "a b.yaml",
					   "4913.yml" };
	static const char *const no[] = { "",
					  ".yaml",
					  ".a.yaml",
					  "a.yaml~",
					  "#a.yaml#",
					  ".#a.yaml",
					  "~a.yaml",
					  "a.yaml.swp",
					  ".a.yaml.swp",
					  "4913",
					  "a.json",
					  ".a.yaml.Xy12Zq",
					  "a.yaml.tmp123",
					  "yaml",
					  "..data",
					  "a.YAML",
					  "#a.yaml",
					  ".yml",
					  "a.yaml___jb_tmp___" };
	for (size_t i = 0; i < ARRAY_COUNT(yes); i++)
		assert_true(source_name_counts(yes[i]));
	for (size_t i = 0; i < ARRAY_COUNT(no); i++)
		assert_false(source_name_counts(no[i]));
}

static void names_that_do_not_count_cost_no_scan(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	events_say_scan();
	static const char *const ignored[] = { "4913",	".a.yaml.swp",	  "a.yaml~",   "#a.yaml#",
					       "x.log", ".a.yaml.Xy12Zq", "..data_tmp" };
	for (size_t i = 0; i < ARRAY_COUNT(ignored); i++) {
		put(ignored[i], "rubbish");
		put(ignored[i], "more rubbish");
		unlink(in_dir(ignored[i]));
	}
	assert_false(events_say_scan());
	put_path(in_root("beside.yaml"), "rubbish");
	assert_false(events_say_scan());
	put("a.yaml", vms("db:2"));
	assert_true(events_say_scan());
	assert_false(events_say_scan());
}

static void writing_is_no_change_until_the_close(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	int fd = open(in_dir("a.yaml"), O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(source_dir_drain(fix.dir), SOURCE_WRITING);
	const char *text = vms("db:2");
	assert_int_equal(fs_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(source_dir_drain(fix.dir), SOURCE_QUIET); /* known already */
	EXPECT_INCOMPLETE("db:1", "a.yaml is being written");
	close(fd);
	assert_int_equal(source_dir_drain(fix.dir), SOURCE_CHANGED);
	EXPECT("db:2");
}

static void a_close_that_is_not_the_last_is_looked_at_again(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	int other = open(in_dir("a.yaml"), O_WRONLY | O_CLOEXEC);
	assert_true(other >= 0);
	put("a.yaml", vms("db:2"));
	assert_int_equal(source_dir_drain(fix.dir), SOURCE_CHANGED);
	source_result_clear(&fix.result);
	source_dir_glance(fix.dir, &fix.result);
	assert_false(fix.result.complete);
	assert_true(fix.result.closing);
	source_result_clear(&fix.result);
	source_dir_glance(fix.dir, &fix.result);
	assert_false(fix.result.complete);
	assert_false(fix.result.closing); /* asked for once: its own close will be told */
	close(other);
	assert_int_equal(source_dir_drain(fix.dir), SOURCE_CHANGED);
	EXPECT("db:2");
}

static void vim_saves(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("z.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	put("4913", "");
	unlink(in_dir("4913"));
	assert_false(events_say_scan());
	move("a.yaml", "a.yaml~");
	assert_true(events_say_scan());
	int fd = open(in_dir("a.yaml"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("db:1 web:1", "a.yaml is being written");
	const char *text = vms("db:2");
	assert_int_equal(fs_write_all(fd, text, 20), 0);
	EXPECT_INCOMPLETE("db:1 web:1", "a.yaml is being written");
	assert_int_equal(fs_write_all(fd, text + 20, strlen(text) - 20), 0);
	EXPECT_INCOMPLETE("db:1 web:1", "a.yaml is being written");
	events_say_scan();
	close(fd);
	assert_true(events_say_scan());
	EXPECT("db:2 web:1");
	unlink(in_dir("a.yaml~"));
	assert_false(events_say_scan());
	EXPECT("db:2 web:1");
}

static void git_checks_out(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("b.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	for (int i = 2; i < 6; i++) {
		char list[16];
		snprintf(list, sizeof(list), "db:%d", i);
		unlink(in_dir("a.yaml"));
		put("a.yaml", vms(list));
		assert_true(events_say_scan());
		scan();
		assert_int_equal(fix.result.vms[0]->vcpus, i);
		assert_true(fix.result.complete);
	}
}

static void rsync_and_careful_programs_rename(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	events_say_scan();
	put(".a.yaml.Xy12Zq", vms("db:2"));
	assert_false(events_say_scan());
	move(".a.yaml.Xy12Zq", "a.yaml");
	assert_true(events_say_scan());
	EXPECT("db:2");
}

static void a_renamed_file_is_no_loss(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("z.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	move("a.yaml", "b.yaml");
	assert_true(events_say_scan());
	EXPECT("db:1 web:1");
	/* Nor while another file is broken, when the old name is not forgotten yet. */
	put("z.yaml", "rubbish: [");
	move("b.yaml", "c.yaml");
	EXPECT_INCOMPLETE("db:1 web:1", "z.yaml is not valid");
	put("c.yaml", vms("db:5 x:1"));
	EXPECT_INCOMPLETE("db:5 web:1 x:1", "z.yaml is not valid");
	move("c.yaml", "b.yaml");
	EXPECT_INCOMPLETE("db:5 web:1 x:1", "z.yaml is not valid");
	put("z.yaml", vms("web:2"));
	EXPECT("db:5 web:2 x:1");
}

/* b is a stale copy that comes back; what took its VM over meanwhile stays. */
static void what_comes_back_does_not_win(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("y.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	put("y.yaml", "rubbish: [");
	move("a.yaml", "b.yaml");
	put("b.yaml", vms("db:7"));
	EXPECT_INCOMPLETE("db:7 web:1", "y.yaml");
	put("a.yaml", vms("db:1"));
	EXPECT_INCOMPLETE("db:7 web:1", "contradicts");
	unlink(in_dir("a.yaml"));
	put("y.yaml", vms("web:1"));
	EXPECT("db:7 web:1");
}

static void a_writer_that_holds_the_file_is_waited_for(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("b.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	events_say_scan();
	int fd = open(in_dir("a.yaml"), O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(events_say_scan());
	const char *text = vms("db:2 cache:1");
	size_t half = strlen(text) / 2;
	fs_write_all(fd, text, half);
	EXPECT_INCOMPLETE("db:1 web:1", "a.yaml is being written");
	events_say_scan();
	fs_write_all(fd, text + half, strlen(text) - half);
	assert_false(events_say_scan()); /* one more write of a file known to be written */
	EXPECT_INCOMPLETE("db:1 web:1", "a.yaml is being written");
	close(fd);
	assert_true(events_say_scan());
	EXPECT("cache:1 db:2 web:1");
}

static void a_half_written_file_that_is_closed_is_only_broken(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	put("a.yaml", "version: 1\nvms:\n  db:\n    vcp");
	EXPECT_INCOMPLETE("db:1", "a.yaml is not valid");
}

static void a_truncation_by_path_is_never_closed(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1 web:1"));
	EXPECT("db:1 web:1");
	events_say_scan();
	assert_int_equal(truncate(in_dir("a.yaml"), (off_t)strlen(vms("db:1"))), 0);
	assert_true(events_say_scan());
	EXPECT("db:1");
}

static void kubernetes_switches_data(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("..2024_1"), 0755), 0);
	put("..2024_1/a.yaml", vms("db:1"));
	put("..2024_1/b.yaml", vms("web:1"));
	assert_int_equal(symlink("..2024_1", in_dir("..data")), 0);
	assert_int_equal(symlink("..data/a.yaml", in_dir("a.yaml")), 0);
	assert_int_equal(symlink("..data/b.yaml", in_dir("b.yaml")), 0);
	EXPECT("db:1 web:1");
	events_say_scan();

	assert_int_equal(mkdir(in_dir("..2024_2"), 0755), 0);
	put("..2024_2/a.yaml", vms("db:2"));
	put("..2024_2/b.yaml", vms("web:2"));
	assert_int_equal(symlink("..2024_2", in_dir("..data_tmp")), 0);
	assert_false(events_say_scan());
	move("..data_tmp", "..data");
	assert_true(events_say_scan());
	EXPECT("db:2 web:2");
	events_say_scan();
	/* A write in place behind the link. */
	put("..2024_2/b.yaml", vms("web:3"));
	assert_true(events_say_scan());
	EXPECT("db:2 web:3");

	unlink(in_dir("..data"));
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("db:2 web:3", "leads nowhere");
	assert_int_equal(symlink("..2024_1", in_dir("..data")), 0);
	assert_true(events_say_scan());
	EXPECT("db:1 web:1");
}

static void a_directory_behind_symlinks_is_switched(void **state)
{
	(void)state;
	struct error err;
	struct spec_context context = { 0 };
	put("a.yaml", vms("db:1"));
	assert_int_equal(mkdir(in_root("next"), 0755), 0);
	assert_int_equal(mkdir(in_root("next/deep"), 0755), 0);
	assert_int_equal(symlink("vms", in_root("current")), 0);
	assert_int_equal(symlink(in_root("current"), in_root("link")), 0);
	source_dir_free(fix.dir);
	fix.dir = source_dir_new(in_root("link/"), &context, &err);
	assert_non_null(fix.dir);
	EXPECT("db:1");
	assert_string_equal(fix.result.stack, "link");
	events_say_scan();

	put_path(in_root("next/deep/a.yaml"), vms("db:2"));
	assert_false(events_say_scan());
	assert_int_equal(symlink("next/deep", in_root("tmp")), 0);
	assert_int_equal(rename(in_root("tmp"), in_root("current")), 0);
	assert_true(events_say_scan());
	EXPECT("db:2");
	events_say_scan();
	put("a.yaml", vms("db:9"));
	assert_false(events_say_scan());
	put_path(in_root("next/deep/a.yaml"), vms("db:3"));
	assert_true(events_say_scan());
	EXPECT("db:3");

	unlink(in_root("current"));
	assert_true(events_say_scan());
	EXPECT_INCOMPLETE("db:3", "No such file");
	assert_int_equal(symlink("vms", in_root("current")), 0);
	assert_true(events_say_scan());
	EXPECT("db:9");
}

static void a_directory_removed_and_made_again_is_seen(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	for (int i = 2; i < 6; i++) {
		char list[16];
		struct error err;
		snprintf(list, sizeof(list), "db:%d", i);
		assert_int_equal(fs_remove_tree(AT_FDCWD, fix.path, &err), 0);
		assert_true(events_say_scan());
		scan();
		assert_false(fix.result.complete);
		assert_int_equal(fix.result.count, 1);
		assert_int_equal(mkdir(fix.path, 0755), 0);
		put("a.yaml", vms(list));
		assert_true(events_say_scan());
		EXPECT(list);
	}
	assert_null(fix.result.unwatched);
}

/* Renames of a file that counts, then of one that does not. */
static void a_storm_of_renames_ends_in_the_truth(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	put("z.yaml", vms("web:1"));
	EXPECT("db:1 web:1");
	for (int i = 0; i < 1000; i++) {
		move(i % 2 ? "b.yaml" : "a.yaml", i % 2 ? "a.yaml" : "b.yaml");
		if (i % 100 != 99)
			continue;
		assert_true(events_say_scan());
		EXPECT("db:1 web:1");
	}
	put("4913", "");
	events_say_scan();
	for (int i = 0; i < 1000; i++)
		move(i % 2 ? "4914" : "4913", i % 2 ? "4913" : "4914");
	assert_false(events_say_scan());
}

static void a_lost_event_means_a_rescan(void **state)
{
	(void)state;
	put("a.yaml", vms("db:1"));
	EXPECT("db:1");
	auto_file FILE *limit = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	int max = 16384;
	if (limit && fscanf(limit, "%d", &max) != 1)
		max = 16384;
	if (max > 65536)
		skip();
	put("b.yaml", vms("web:1"));
	for (int i = 0; i <= max; i++)
		assert_int_equal(utimensat(AT_FDCWD, in_dir(i % 2 ? "a.yaml" : "b.yaml"), NULL, 0),
				 0);
	put("a.yaml", vms("db:2"));
	assert_true(events_say_scan());
	EXPECT("db:2 web:1");
	events_say_scan();
	put("a.yaml", vms("db:3"));
	assert_true(events_say_scan());
	EXPECT("db:3 web:1");
}

static void the_trail_names_what_decides(void **state)
{
	(void)state;
	struct trail trail;
	assert_int_equal(symlink("../nowhere", in_dir("up")), 0);
	trail_walk(&trail, in_dir("./up/x"));
	assert_int_equal(trail.count, 2);
	assert_string_equal(trail.at[0].directory, fix.path);
	assert_string_equal(trail.at[0].name, "up");
	assert_string_equal(trail.at[1].directory, fix.root);
	assert_string_equal(trail.at[1].name, "nowhere");
	trail_clear(&trail);
	assert_int_equal(symlink("loop", in_dir("loop")), 0);
	trail_walk(&trail, in_dir("loop"));
	assert_true(trail.count <= 64);
	trail_clear(&trail);
	trail_walk(&trail, "/");
	assert_int_equal(trail.count, 0);
	trail_clear(&trail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_count),
		RULE(names_that_do_not_count_cost_no_scan),
		RULE(writing_is_no_change_until_the_close),
		RULE(a_close_that_is_not_the_last_is_looked_at_again),
		RULE(vim_saves),
		RULE(git_checks_out),
		RULE(rsync_and_careful_programs_rename),
		RULE(a_renamed_file_is_no_loss),
		RULE(what_comes_back_does_not_win),
		RULE(a_writer_that_holds_the_file_is_waited_for),
		RULE(a_half_written_file_that_is_closed_is_only_broken),
		RULE(a_truncation_by_path_is_never_closed),
		RULE(kubernetes_switches_data),
		RULE(a_directory_behind_symlinks_is_switched),
		RULE(a_directory_removed_and_made_again_is_seen),
		RULE(a_storm_of_renames_ends_in_the_truth),
		RULE(a_lost_event_means_a_rescan),
		RULE(the_trail_names_what_decides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
