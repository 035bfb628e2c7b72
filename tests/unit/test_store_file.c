/* store: the file — new, old, newer, foreign, damaged, unreadable, interrupted. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/migrate.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct error err;
static char dir[64], path[128];

static int setup(void **state)
{
	(void)state;
	err = (struct error){ 0 };
	str_copy(dir, sizeof(dir), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/banger.db", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return fs_remove_tree(AT_FDCWD, dir, &err);
}

static void exec_sql(const char *sql)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

static int put(struct store *store, unsigned n)
{
	char id[VM_ID_LEN + 1], name[32], spec[] = "{\"vcpus\":1}", none[] = "";
	snprintf(id, sizeof(id), "%010x", n);
	snprintf(name, sizeof(name), "vm%u", n);
	struct store_vm vm = { .name = name, .stack = none, .spec = spec };
	str_copy(vm.id, sizeof(vm.id), id);
	return store_vm_put(store, &vm, &err);
}

static size_t count_vms(void)
{
	auto_ptr(store) store = store_open(path, &err);
	if (!store)
		fail_msg("%s", err.text);
	struct store_vm_vec vms = { 0 };
	assert_int_equal(store_vms(store, &vms, &err), 0);
	size_t count = vms.count;
	store_vms_clear(&vms);
	return count;
}

static void a_fresh_file_is_private_and_stays(void **state)
{
	(void)state;
	umask(0);
	{
		auto_ptr(store) store = store_open(path, &err);
		assert_non_null(store);
		assert_int_equal(put(store, 1), 0);
		static const char *const names[] = { "banger.db", "banger.db-wal" };
		for (size_t i = 0; i < 2; i++) {
			auto_free char *file = xasprintf("%s/%s", dir, names[i]);
			struct stat st;
			assert_int_equal(stat(file, &st), 0);
			assert_int_equal(st.st_mode & 0777, 0600);
		}
	}
	umask(022);
	assert_int_equal(count_vms(), 1);
	assert_int_equal(count_vms(), 1);
}

static void assert_refused(enum error_code code, const char *why)
{
	assert_null(store_open(path, &err));
	if (!strstr(err.text, why) || !strstr(err.text, path))
		fail_msg("'%s' says neither '%s' nor the file", err.text, why);
	assert_int_equal(err.code, code);
}

static void a_newer_schema_is_refused_and_untouched(void **state)
{
	(void)state;
	count_vms();
	exec_sql("PRAGMA user_version = 1000");
	assert_refused(ERROR_CONFLICT, "newer banger (schema 1000");
	auto_free char *ours = xasprintf("PRAGMA user_version = %d",
					 store_migrations[store_migration_count - 1].version);
	exec_sql(ours);
	assert_int_equal(count_vms(), 0);
}

static void the_database_of_another_program_is_refused(void **state)
{
	(void)state;
	exec_sql("CREATE TABLE t (x)");
	assert_refused(ERROR_CONFLICT, "another program");
	exec_sql("DROP TABLE t; PRAGMA application_id = 5");
	assert_refused(ERROR_CONFLICT, "another program");
}

static void write_at(off_t at, const char *bytes, size_t len)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
}

static void a_file_that_is_no_database_is_told(void **state)
{
	(void)state;
	static const char text[] = "this was never a database, only some text in its place ......"
				   "..............................................................";
	write_at(0, text, sizeof(text));
	assert_refused(ERROR_SYSTEM, "move it away");
}

static void a_damaged_page_is_told(void **state)
{
	(void)state;
	{
		auto_ptr(store) store = store_open(path, &err);
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(put(store, i), 0);
	}
	static char junk[4096];
	memset(junk, 0xa5, sizeof(junk));
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 4096; at + 4096 <= st.st_size; at += 4096)
		write_at(at, junk, sizeof(junk));
	assert_refused(ERROR_SYSTEM, "move it away");
}

static void a_truncated_file_is_told(void **state)
{
	(void)state;
	{
		auto_ptr(store) store = store_open(path, &err);
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(put(store, i), 0);
	}
	assert_int_equal(truncate(path, 8192), 0);
	assert_refused(ERROR_SYSTEM, "move it away");
}

/* Root may write everything, so another user looks: exit status 0 when refused as it should be. */
static void a_file_that_can_only_be_read_is_told(void **state)
{
	(void)state;
	count_vms();
	assert_int_equal(chmod(path, 0444), 0);
	assert_int_equal(chmod(dir, 0755), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (getuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		struct store *store = store_open(path, &err);
		_exit(store || !strstr(err.text, path) || !strstr(err.text, "owner and mode"));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_missing_directory_is_told(void **state)
{
	(void)state;
	str_copy(path, sizeof(path), "/no/such/dir/banger.db");
	assert_refused(ERROR_SYSTEM, "No such file");
}

static void killed_in_a_transaction_leaves_what_was_committed(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		struct store *store = store_open(path, &err);
		if (!store || store_begin(store, &err) < 0)
			_exit(1);
		for (unsigned i = 0; i < 10; i++)
			put(store, i);
		if (store_commit(store, &err) < 0 || store_begin(store, &err) < 0)
			_exit(1);
		for (unsigned i = 100; i < 2000; i++)
			put(store, i);
		kill(getpid(), SIGKILL);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(count_vms(), 10);
}

static void *end_transaction(void *other)
{
	usleep(50000);
	sqlite3_close(other);
	return NULL;
}

static void another_writer_is_waited_for(void **state)
{
	(void)state;
	auto_ptr(store) store = store_open(path, &err);
	sqlite3 *other;
	pthread_t thread;
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(pthread_create(&thread, NULL, end_transaction, other), 0);
	int failed = put(store, 1);
	pthread_join(thread, NULL);
	assert_int_equal(failed, 0);
}

/* --- migrations --- */

static const struct migration steps[] = {
	{ 1, "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('one')" },
	{ 2, "ALTER TABLE t ADD COLUMN b TEXT; UPDATE t SET b = a || '+'" },
	{ 3, "CREATE TABLE u (x); INSERT INTO u SELECT b FROM t; INSERT INTO nowhere VALUES (1)" },
};

static int migrate_to(size_t count)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	int result = migrate(db, path, steps, count, &err);
	sqlite3_close(db);
	return result;
}

static int query_value(const char *sql)
{
	sqlite3 *db;
	sqlite3_stmt *query;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &query, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(query), SQLITE_ROW);
	int value = sqlite3_column_int(query, 0);
	sqlite3_finalize(query);
	sqlite3_close(db);
	return value;
}

static void an_older_schema_is_brought_forward_with_its_rows(void **state)
{
	(void)state;
	assert_int_equal(migrate_to(1), 0);
	exec_sql("INSERT INTO t VALUES ('two')");
	assert_int_equal(migrate_to(2), 0);
	assert_int_equal(query_value("PRAGMA user_version"), 2);
	assert_int_equal(query_value("SELECT count(*) FROM t WHERE b = a || '+'"), 2);
	assert_int_equal(migrate_to(2), 0);
	assert_int_equal(migrate_to(1), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
}

static void a_failed_migration_leaves_the_version_before_it(void **state)
{
	(void)state;
	assert_int_equal(migrate_to(3), -1);
	assert_non_null(strstr(err.text, "to schema 3"));
	assert_non_null(strstr(err.text, "nowhere"));
	assert_int_equal(query_value("PRAGMA user_version"), 2);
	assert_int_equal(query_value("SELECT count(*) FROM sqlite_schema WHERE name = 'u'"), 0);
	assert_int_equal(migrate_to(2), 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(a_fresh_file_is_private_and_stays),
		CASE(a_newer_schema_is_refused_and_untouched),
		CASE(the_database_of_another_program_is_refused),
		CASE(a_file_that_is_no_database_is_told),
		CASE(a_damaged_page_is_told),
		CASE(a_truncated_file_is_told),
		CASE(a_file_that_can_only_be_read_is_told),
		CASE(a_missing_directory_is_told),
		CASE(killed_in_a_transaction_leaves_what_was_committed),
		CASE(another_writer_is_waited_for),
		CASE(an_older_schema_is_brought_forward_with_its_rows),
		CASE(a_failed_migration_leaves_the_version_before_it),
	};
	return cmocka_run_group_tests_name("store/file", tests, NULL, NULL);
}
