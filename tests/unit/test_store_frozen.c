/* store: what every version before this one wrote is read. */
#include "base/buf.h"
#include "store/migrate.h"
#include "test_store_help.h"

#include <ctype.h>

/* Frozen: a version's tables and what it wrote there. Never edit a row, add the next one. */
static const char *const frozen[] = {
	"PRAGMA application_id = 1650552423; PRAGMA user_version = 1;"
	"CREATE TABLE vms (id TEXT PRIMARY KEY CHECK (length(id) = 10), name TEXT NOT NULL,"
	" stack TEXT NOT NULL, spec TEXT NOT NULL, revision INTEGER NOT NULL, applied TEXT,"
	" image_digest TEXT, kernel_digest TEXT, address TEXT UNIQUE, deleting INTEGER NOT NULL,"
	" allow_data_loss INTEGER NOT NULL, hold INTEGER NOT NULL, exit_reason TEXT,"
	" exit_revision INTEGER NOT NULL, expired_revision INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX vms_by_name ON vms (name) WHERE NOT deleting;"
	"CREATE TABLE stacks (name TEXT PRIMARY KEY, source TEXT NOT NULL,"
	" watched INTEGER NOT NULL) STRICT;"
	"CREATE TABLE stack_sizes (stack TEXT NOT NULL, at_ms INTEGER NOT NULL,"
	" size INTEGER NOT NULL, PRIMARY KEY (stack, at_ms)) STRICT, WITHOUT ROWID;"
	"INSERT INTO vms VALUES ('00000000a1','web','prod','{}',7,'{}','sha256:1',NULL,"
	" '127.9.8.7',0,1,2,'oom',6,5,1700000000000);"
	"INSERT INTO stacks VALUES ('prod','/srv/vms',1);"
	"INSERT INTO stack_sizes VALUES ('prod',1700000000000,12);",

	"PRAGMA user_version = 2;"
	"ALTER TABLE vms ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE vms ADD COLUMN workspace TEXT;"
	"UPDATE vms SET ephemeral = 1, workspace = '{\"path\":\"/root/repo\"}';",

	"PRAGMA user_version = 3;"
	"CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL,"
	" vm TEXT NOT NULL, stack TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL) STRICT;"
	"CREATE TABLE revisions (rev INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL,"
	" uid INTEGER NOT NULL, vms INTEGER NOT NULL, bytes INTEGER NOT NULL, who TEXT NOT NULL,"
	" stack TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, summary TEXT NOT NULL)"
	" STRICT;"
	"CREATE TABLE revision_vms (rev INTEGER NOT NULL, name TEXT NOT NULL, stack_before TEXT,"
	" stack_after TEXT, spec_before TEXT, spec_after TEXT) STRICT;"
	"CREATE UNIQUE INDEX revision_vms_by_rev ON revision_vms (rev, name);"
	"CREATE INDEX revision_vms_by_name ON revision_vms (name, rev);"
	"INSERT INTO events VALUES (41,1700000000001,'web','prod','ready','in 240 ms');"
	"INSERT INTO revisions VALUES (9,1700000000002,1000,1,40,'ann','prod','/srv/vms','apply',"
	" '1 to create');"
	"INSERT INTO revision_vms VALUES (9,'web',NULL,'prod',NULL,'{\"vcpus\":2}');",

	"PRAGMA user_version = 4;"
	"ALTER TABLE vms ADD COLUMN good TEXT;"
	"ALTER TABLE vms ADD COLUMN rollback TEXT;"
	"UPDATE vms SET good = '{\"vcpus\":1}', rollback = '{\"vcpus\":3}';",

	"PRAGMA user_version = 5;"
	"ALTER TABLE vms ADD COLUMN boots TEXT NOT NULL DEFAULT '';"
	"UPDATE vms SET boots = ' 240 251';",
};

static void exec_sql(const char *sql)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* In place of the new file that setup() made: what these first so many versions wrote. */
static void thaw(size_t versions)
{
	store_close(store);
	store = NULL;
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, &err), 0);
	assert_int_equal(fs_mkdirs(dir, 0700, &err), 0);
	for (size_t i = 0; i < versions; i++)
		exec_sql(frozen[i]);
}

static void assert_text(const char *have, const char *want)
{
	if (want)
		assert_string_equal(have, want);
	else
		assert_true(!have || !have[0]);
}

static void assert_vm(size_t version)
{
	struct store_vm_vec vms = { 0 };
	assert_int_equal(store_vms(store, &vms, &err), 0);
	assert_int_equal(vms.count, 1);
	const struct store_vm *vm = &vms.at[0];
	assert_string_equal(vm->id, "00000000a1");
	assert_string_equal(vm->name, "web");
	assert_string_equal(vm->stack, "prod");
	assert_int_equal(vm->revision, 7);
	assert_string_equal(vm->image_digest, "sha256:1");
	assert_null(vm->kernel_digest);
	assert_string_equal(vm->address, "127.9.8.7");
	assert_true(!vm->deleting && vm->allow_data_loss);
	assert_int_equal(vm->hold, 2);
	assert_string_equal(vm->exit_reason, "oom");
	assert_int_equal(vm->exit_revision, 6);
	assert_int_equal(vm->expired_revision, 5);
	assert_int_equal(vm->created_ms, 1700000000000);
	assert_int_equal(vm->ephemeral, version >= 2);
	assert_text(vm->workspace, version >= 2 ? "{\"path\":\"/root/repo\"}" : NULL);
	assert_text(vm->good, version >= 4 ? "{\"vcpus\":1}" : NULL);
	assert_text(vm->rollback, version >= 4 ? "{\"vcpus\":3}" : NULL);
	assert_text(vm->boots, version >= 5 ? " 240 251" : NULL);
	store_vms_clear(&vms);
}

static void assert_stack(void)
{
	struct store_stack_vec stacks = { 0 };
	int64_t largest = 0;
	assert_int_equal(store_stacks(store, &stacks, &err), 0);
	assert_int_equal(stacks.count, 1);
	assert_string_equal(stacks.at[0].name, "prod");
	assert_string_equal(stacks.at[0].source, "/srv/vms");
	assert_true(stacks.at[0].watched);
	store_stacks_clear(&stacks);
	assert_int_equal(store_stack_size_largest(store, "prod", 0, &largest, &err), 0);
	assert_int_equal(largest, 12);
}

static void assert_log(size_t version)
{
	struct store_event_vec events = { 0 };
	struct store_revision_vec revisions = { 0 };
	struct store_change_vec changes = { 0 };
	size_t count = version >= 3;
	assert_int_equal(
		store_events(store, &(struct store_event_query){ .limit = 9 }, &events, &err), 0);
	assert_int_equal(store_revisions(store, 0, NULL, 9, &revisions, &err), 0);
	assert_int_equal(store_changes(store, 9, "", 9, &changes, &err), 0);
	assert_int_equal(events.count, count);
	assert_int_equal(revisions.count, count);
	assert_int_equal(changes.count, count);
	if (count) {
		assert_int_equal(events.at[0].id, 41);
		assert_int_equal(events.at[0].at_ms, 1700000000001);
		assert_string_equal(events.at[0].kind, "ready");
		assert_string_equal(events.at[0].text, "in 240 ms");
		assert_int_equal(revisions.at[0].rev, 9);
		assert_int_equal(revisions.at[0].uid, 1000);
		assert_string_equal(revisions.at[0].who, "ann");
		assert_string_equal(revisions.at[0].summary, "1 to create");
		assert_null(changes.at[0].stack_before);
		assert_null(changes.at[0].spec_before);
		assert_string_equal(changes.at[0].stack_after, "prod");
		assert_string_equal(changes.at[0].spec_after, "{\"vcpus\":2}");
	}
	store_events_clear(&events);
	store_revisions_clear(&revisions);
	store_changes_clear(&changes);
}

static void what_every_version_wrote_is_read(void **state)
{
	(void)state;
	for (size_t version = 1; version <= ARRAY_COUNT(frozen); version++) {
		thaw(version);
		store = store_open(path, &err);
		assert_non_null(store);
		assert_vm(version);
		assert_stack();
		assert_log(version);
	}
}

/* All that is in the schema, as it was typed but for blanks. */
static void add_schema(struct buf *ret)
{
	sqlite3 *db;
	sqlite3_stmt *query;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(
			db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name", -1,
			&query, NULL),
		SQLITE_OK);
	while (sqlite3_step(query) == SQLITE_ROW) {
		for (const unsigned char *at = sqlite3_column_text(query, 0); *at; at++)
			if (!isspace(*at))
				buf_addf(ret, "%c", *at);
		buf_add(ret, "\n");
	}
	sqlite3_finalize(query);
	sqlite3_close(db);
}

static void a_released_migration_is_not_edited(void **state)
{
	(void)state;
	auto_buf struct buf fresh = BUF_INIT, thawed = BUF_INIT;
	assert_int_equal(ARRAY_COUNT(frozen), store_migration_count);
	add_schema(&fresh);
	thaw(ARRAY_COUNT(frozen));
	add_schema(&thawed);
	assert_string_equal(fresh.data, thawed.data);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(what_every_version_wrote_is_read),
		CASE(a_released_migration_is_not_edited),
	};
	return cmocka_run_group_tests_name("store/frozen", tests, NULL, NULL);
}
