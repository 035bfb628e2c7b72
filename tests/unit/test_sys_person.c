/* sys/person: files read with the rights of somebody else. As root the user is "nobody", else it is
 * ourselves, and only what needs no other user is looked at. */
#include "test_sys_help.h"
#include "sys/person.h"

#include <grp.h>
#include <pwd.h>

#define ROOM 4096

static struct person somebody(void)
{
	struct person person = { 0 };
	const struct passwd *nobody = geteuid() ? NULL : getpwnam("nobody");
	uid_t uid = nobody ? nobody->pw_uid : geteuid();
	if (!uid || person_find(uid, &person, &err) < 0)
		skip();
	assert_int_equal(person.uid, uid);
	assert_true(person.group_count > 0);
	assert_non_null(person.home);
	return person;
}

static char *put(const char *name, const char *text, mode_t mode)
{
	auto_close int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(fs_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(fchmod(dir_fd, 0755), 0);
	return xasprintf("%s/%s", dir_path, name);
}

static void assert_read(const struct person *person, const char *path, const char *text)
{
	auto_buf struct buf got = BUF_INIT;
	buf_add(&got, "> ");
	if (person_read(person, path, ROOM, &got, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(got.data + 2, text);
	no_child_is_left();
}

static void assert_not_read(const struct person *person, const char *path, const char *why)
{
	auto_buf struct buf got = BUF_INIT;
	assert_int_equal(person_read(person, path, ROOM, &got, &err), -1);
	assert_int_equal(got.len, 0);
	if (!strstr(err.text, why) || !strstr(err.text, path))
		fail_msg("'%s', not '%s'", err.text, why);
	no_child_is_left();
}

static void what_he_may_read_is_read(void **state)
{
	(void)state;
	auto_person struct person person = somebody();
	auto_free char *plain = put("plain", "his\n", 0644), *empty = put("empty", "", 0644);
	auto_free char *link = xasprintf("%s/link", dir_path);
	assert_int_equal(symlink("plain", link), 0);
	assert_read(&person, plain, "his\n");
	assert_read(&person, link, "his\n");
	assert_read(&person, empty, "");
	assert_not_read(&person, "/nonexistent/x", "No such file");
}

static void what_he_may_not_read_is_not(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	auto_person struct person person = somebody();
	auto_free char *secret = put("secret", "root's\n", 0600);
	auto_free char *link = xasprintf("%s/link", dir_path), *deep = NULL;
	assert_int_equal(symlink("secret", link), 0);
	assert_not_read(&person, secret, "Permission denied");
	assert_not_read(&person, link, "Permission denied");
	/* A directory that is closed to him, which we stand in and have open. */
	assert_int_equal(mkdirat(dir_fd, "closed", 0700), 0);
	free(put("closed/file", "behind a door\n", 0644));
	deep = xasprintf("%s/closed/file", dir_path);
	auto_close int closed = openat(dir_fd, "closed", O_RDONLY | O_CLOEXEC);
	auto_close int file = openat(closed, "file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fchdir(closed), 0);
	auto_free char *by_fd = xasprintf("/proc/self/fd/%d/file", closed);
	auto_free char *itself = xasprintf("/proc/self/fd/%d", file);
	assert_not_read(&person, deep, "Permission denied");
	assert_not_read(&person, by_fd, "No such file");
	assert_not_read(&person, itself, "No such file");
	assert_not_read(&person, "/proc/self/cwd/file", "No such file");
	assert_int_equal(chdir("/"), 0);
}

/* One group beside his own opens what is that group's. */
static void his_groups_are_his(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	auto_person struct person person = somebody();
	auto_free char *shared = put("shared", "the group's\n", 0640);
	const gid_t group = 59999;
	assert_int_equal(chown(shared, 0, group), 0);
	assert_not_read(&person, shared, "Permission denied");
	person.groups = xreallocarray(person.groups, person.group_count + 1, sizeof(gid_t));
	person.groups[person.group_count++] = group;
	assert_read(&person, shared, "the group's\n");
}

static void what_is_no_file_is_refused_at_once(void **state)
{
	(void)state;
	auto_person struct person person = somebody();
	auto_free char *fifo = xasprintf("%s/fifo", dir_path);
	assert_int_equal(mkfifo(fifo, 0666), 0);
	assert_int_equal(chmod(fifo, 0666), 0);
	assert_int_equal(fchmod(dir_fd, 0755), 0);
	uint64_t began = clock_monotonic_ms();
	assert_not_read(&person, fifo, "is not a regular file");
	assert_not_read(&person, dir_path, "is not a regular file");
	assert_not_read(&person, "/dev/zero", "is not a regular file");
	/* These are of the process that reads. */
	assert_not_read(&person, "/proc/self/maps", "is not a regular file");
	assert_not_read(&person, "/proc/self/cmdline", "is not a regular file");
	assert_true(clock_monotonic_ms() - began < 5000);
}

static void too_much_is_refused(void **state)
{
	(void)state;
	auto_person struct person person = somebody();
	auto_free char *full = put("full", "", 0644), *more = put("more", "", 0644);
	assert_int_equal(truncate(full, ROOM), 0);
	assert_int_equal(truncate(more, ROOM + 1), 0);
	auto_buf struct buf got = BUF_INIT;
	assert_int_equal(person_read(&person, full, ROOM, &got, &err), 0);
	assert_int_equal(got.len, ROOM);
	assert_not_read(&person, more, "is larger than 4096 bytes");
	assert_int_equal(err.sys, EFBIG);
}

static void nobody_is_not_found(void **state)
{
	struct person person = { 0 };
	(void)state;
	assert_int_equal(person_find(4000000001U, &person, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_string_equal(err.text, "there is no user 4000000001");
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACED(what_he_may_read_is_read), PLACED(what_he_may_not_read_is_not),
		PLACED(his_groups_are_his),	  PLACED(what_is_no_file_is_refused_at_once),
		PLACED(too_much_is_refused),	  PLACED(nobody_is_not_found),
	};
	return cmocka_run_group_tests_name("sys_person", tests, NULL, NULL);
}
