#include "store/statement.h"
#include "base/mem.h"
#include "store/migrate.h"

#define VM_COLUMNS                                                                                 \
	"id, name, stack, spec, revision, applied, image_digest, kernel_digest, address, "         \
	"deleting,"                                                                                \
	" allow_data_loss, hold, exit_reason, exit_revision, expired_revision, created_ms,"        \
	" ephemeral, workspace, good, rollback, boots"

#define EVENT_COLUMNS "id, at_ms, vm, stack, kind, text"
#define EVENT_FILTER  "id > ?1 AND at_ms >= ?2 AND (?3 IS NULL OR vm = ?3 OR stack = ?3)"

static const char *const statements[STATEMENT_COUNT_] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[VM_LIST] = "SELECT " VM_COLUMNS " FROM vms ORDER BY name, id",
	[VM_PUT] =
		"INSERT INTO vms (" VM_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
		" ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)"
		" ON CONFLICT (id) DO UPDATE SET name = ?2, stack = ?3, spec = ?4, revision = ?5,"
		" applied = ?6, image_digest = ?7, kernel_digest = ?8, address = ?9,"
		" deleting = ?10, allow_data_loss = ?11, hold = ?12, exit_reason = ?13,"
		" exit_revision = ?14, expired_revision = ?15, created_ms = ?16,"
		" ephemeral = ?17, workspace = ?18, good = ?19, rollback = ?20, boots = ?21",
	[VM_REMOVE] = "DELETE FROM vms WHERE id = ?1",
	[STACK_LIST] = "SELECT name, source, watched FROM stacks ORDER BY name",
	[STACK_PUT] = "INSERT OR REPLACE INTO stacks (name, source, watched) VALUES (?1, ?2, ?3)",
	[STACK_REMOVE] = "DELETE FROM stacks WHERE name = ?1",
	[SIZES_REMOVE] = "DELETE FROM stack_sizes WHERE stack = ?1",
	[SIZE_FORGET] = "DELETE FROM stack_sizes WHERE stack = ?1 AND at_ms < ?2",
	[SIZE_NOTE] = "INSERT INTO stack_sizes (stack, at_ms, size) VALUES (?1, ?2, ?3)"
		      " ON CONFLICT DO UPDATE SET size = max(size, ?3)",
	[SIZE_LARGEST] = "SELECT coalesce(max(size), 0) FROM stack_sizes"
			 " WHERE stack = ?1 AND at_ms >= ?2",
	[EVENT_ADD] =
		"INSERT INTO events (at_ms, vm, stack, kind, text) VALUES (?1, ?2, ?3, ?4, ?5)",
	[EVENT_LAST] = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'",
	[EVENT_LIST] =
		"SELECT " EVENT_COLUMNS " FROM events WHERE " EVENT_FILTER " ORDER BY id LIMIT ?4",
	[EVENT_TAIL] = "SELECT " EVENT_COLUMNS " FROM (SELECT * FROM events WHERE " EVENT_FILTER
		       " ORDER BY id DESC LIMIT ?5) ORDER BY id LIMIT ?4",
	[EVENT_TRIM] = "DELETE FROM events WHERE id <= ?1",
	[EVENT_EXPIRE] = "DELETE FROM events WHERE at_ms < ?1",
	[REVISION_ADD] =
		"INSERT INTO revisions (at_ms, uid, vms, bytes, who, stack, source, kind, summary)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
	[REVISION_CHANGE_ADD] =
		"INSERT INTO revision_vms (rev, name, stack_before, stack_after, spec_before,"
		" spec_after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[REVISION_LIST] =
		"SELECT rev, at_ms, uid, vms, bytes, who, stack, source, kind, summary"
		" FROM revisions WHERE rev < ?1 AND rev >= ?2 AND (?3 IS NULL OR stack = ?3"
		" OR rev IN (SELECT rev FROM revision_vms WHERE name = ?3))"
		" ORDER BY rev DESC LIMIT ?4",
	[REVISION_CHANGES] =
		"SELECT name, stack_before, stack_after, spec_before, spec_after"
		" FROM revision_vms WHERE rev = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
	/* With min() alone, the other columns are those of the row that has it. */
	[REVISION_UNDO] = "SELECT name, stack_before, NULL, spec_before, NULL, min(rev)"
			  " FROM revision_vms WHERE rev > ?1 GROUP BY name ORDER BY name",
	[REVISION_WEIGH] = "SELECT rev, bytes FROM revisions ORDER BY rev DESC",
	[REVISION_TRIM] = "DELETE FROM revisions WHERE rev <= ?1",
	[REVISION_CHANGES_TRIM] = "DELETE FROM revision_vms WHERE rev <= ?1",
};

int store_failed(struct store *store, const char *doing, struct error *err)
{
	return store_error(store->db, store->path, doing, err);
}

sqlite3_stmt *store_prepare(struct store *store, enum statement which, struct error *err)
{
	sqlite3_stmt **statement = &store->prepared[which];
	if (!*statement &&
	    sqlite3_prepare_v3(store->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT,
			       statement, NULL) != SQLITE_OK) {
		store_failed(store, "read", err);
		return NULL;
	}
	return *statement;
}

void store_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
	if (sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC) != SQLITE_OK)
		BUG("cannot bind parameter %d", at);
}

void store_bind_int(sqlite3_stmt *statement, int at, int64_t value)
{
	if (sqlite3_bind_int64(statement, at, value) != SQLITE_OK)
		BUG("cannot bind parameter %d", at);
}

int store_finish(struct store *store, sqlite3_stmt *statement, const char *doing, struct error *err)
{
	int result = 0;
	if (sqlite3_step(statement) != SQLITE_DONE)
		result = store_failed(store, doing, err);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return result;
}

int store_rows_end(struct store *store, sqlite3_stmt *query, int step, struct error *err)
{
	int result = step == SQLITE_DONE ? 0 : store_failed(store, "read", err);
	sqlite3_reset(query);
	sqlite3_clear_bindings(query);
	return result;
}

int store_run(struct store *store, enum statement which, struct error *err)
{
	sqlite3_stmt *statement = store_prepare(store, which, err);
	return statement ? store_finish(store, statement, "write to", err) : -1;
}

int store_run_named(struct store *store, enum statement which, const char *name, struct error *err)
{
	sqlite3_stmt *statement = store_prepare(store, which, err);
	if (!statement)
		return -1;
	store_bind_text(statement, 1, name);
	return store_finish(store, statement, "write to", err);
}

char *store_column(sqlite3_stmt *statement, int at)
{
	return xstrdup((const char *)sqlite3_column_text(statement, at));
}

int store_own_begin(struct store *store, bool *ret_own, struct error *err)
{
	*ret_own = sqlite3_get_autocommit(store->db);
	return *ret_own ? store_run(store, BEGIN, err) : 0;
}

int store_own_end(struct store *store, bool own, int result, struct error *err)
{
	if (!own)
		return result;
	if (result == 0)
		return store_commit(store, err);
	store_rollback(store);
	return result;
}
