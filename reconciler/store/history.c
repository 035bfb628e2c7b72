/* What was wanted, revision by revision. */
#include "base/mem.h"
#include "store/statement.h"

#include <inttypes.h>
#include <string.h>

void store_revision_clear(struct store_revision *revision)
{
	free(revision->who);
	free(revision->stack);
	free(revision->source);
	free(revision->kind);
	free(revision->summary);
	*revision = (struct store_revision){ 0 };
}

void store_revisions_clear(struct store_revision_vec *revisions)
{
	for (size_t i = 0; i < revisions->count; i++)
		store_revision_clear(&revisions->at[i]);
	store_revision_vec_clear(revisions);
}

void store_changes_clear(struct store_change_vec *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		struct store_change *change = &changes->at[i];
		free(change->name);
		free(change->stack_before);
		free(change->stack_after);
		free(change->spec_before);
		free(change->spec_after);
	}
	store_change_vec_clear(changes);
}

/* --- writing --- */

static int64_t size_of(const struct store_change *change)
{
	const char *const texts[] = { change->name, change->stack_before, change->stack_after,
				      change->spec_before, change->spec_after };
	int64_t size = 32; /* the row and its places in two indices */
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		size += texts[i] ? (int64_t)strlen(texts[i]) : 0;
	return size;
}

static int add_head(struct store *store, const struct store_revision *revision,
		    const struct store_change_vec *changes, struct error *err)
{
	sqlite3_stmt *add = store_prepare(store, REVISION_ADD, err);
	if (!add)
		return -1;
	int64_t bytes = 256;
	for (size_t i = 0; i < changes->count; i++)
		bytes += size_of(&changes->at[i]);
	store_bind_int(add, 1, revision->at_ms);
	store_bind_int(add, 2, revision->uid);
	store_bind_int(add, 3, (int64_t)changes->count);
	store_bind_int(add, 4, bytes);
	store_bind_text(add, 5, revision->who);
	store_bind_text(add, 6, revision->stack);
	store_bind_text(add, 7, revision->source);
	store_bind_text(add, 8, revision->kind);
	store_bind_text(add, 9, revision->summary);
	return store_finish(store, add, "write to", err);
}

static int add_change(struct store *store, int64_t rev, const struct store_change *change,
		      struct error *err)
{
	sqlite3_stmt *add = store_prepare(store, REVISION_CHANGE_ADD, err);
	if (!add)
		return -1;
	store_bind_int(add, 1, rev);
	store_bind_text(add, 2, change->name);
	store_bind_text(add, 3, change->stack_before);
	store_bind_text(add, 4, change->stack_after);
	store_bind_text(add, 5, change->spec_before);
	store_bind_text(add, 6, change->spec_after);
	return store_finish(store, add, "write to", err);
}

int store_revision_add(struct store *store, const struct store_revision *revision,
		       const struct store_change_vec *changes, int64_t *ret_rev, struct error *err)
{
	bool own;
	if (store_own_begin(store, &own, err) < 0)
		return -1;
	int result = add_head(store, revision, changes, err);
	int64_t rev = sqlite3_last_insert_rowid(store->db);
	for (size_t i = 0; result == 0 && i < changes->count; i++)
		result = add_change(store, rev, &changes->at[i], err);
	result = store_own_end(store, own, result, err);
	if (result == 0)
		*ret_rev = rev;
	return result;
}

static int drop_up_to(struct store *store, enum statement which, int64_t rev, struct error *err)
{
	sqlite3_stmt *drop = store_prepare(store, which, err);
	if (!drop)
		return -1;
	store_bind_int(drop, 1, rev);
	return store_finish(store, drop, "write to", err);
}

int store_history_trim(struct store *store, int64_t max_count, int64_t max_bytes, struct error *err)
{
	sqlite3_stmt *rows = store_prepare(store, REVISION_WEIGH, err);
	if (!rows)
		return -1;
	int64_t count = 0, bytes = 0, drop = 0;
	int step;
	while ((step = sqlite3_step(rows)) == SQLITE_ROW && !drop) {
		bytes += sqlite3_column_int64(rows, 1);
		if (++count > 1 && (count > max_count || bytes > max_bytes))
			drop = sqlite3_column_int64(rows, 0);
	}
	if (store_rows_end(store, rows, drop ? SQLITE_DONE : step, err) < 0)
		return -1;
	bool own;
	if (!drop)
		return 0;
	if (store_own_begin(store, &own, err) < 0)
		return -1;
	int result = drop_up_to(store, REVISION_CHANGES_TRIM, drop, err);
	if (result == 0)
		result = drop_up_to(store, REVISION_TRIM, drop, err);
	return store_own_end(store, own, result, err);
}

/* --- reading --- */

static struct store_revision read_revision(sqlite3_stmt *row)
{
	return (struct store_revision){
		.rev = sqlite3_column_int64(row, 0),
		.at_ms = sqlite3_column_int64(row, 1),
		.uid = sqlite3_column_int64(row, 2),
		.vms = sqlite3_column_int64(row, 3),
		.bytes = sqlite3_column_int64(row, 4),
		.who = store_column(row, 5),
		.stack = store_column(row, 6),
		.source = store_column(row, 7),
		.kind = store_column(row, 8),
		.summary = store_column(row, 9),
	};
}

static int list(struct store *store, int64_t below, int64_t from, const char *name, int64_t limit,
		struct store_revision_vec *ret, struct error *err)
{
	sqlite3_stmt *rows = store_prepare(store, REVISION_LIST, err);
	if (!rows)
		return -1;
	store_bind_int(rows, 1, below);
	store_bind_int(rows, 2, from);
	store_bind_text(rows, 3, name);
	store_bind_int(rows, 4, limit);
	struct store_revision_vec revisions = { 0 };
	int step;
	while ((step = sqlite3_step(rows)) == SQLITE_ROW)
		store_revision_vec_push(&revisions, read_revision(rows));
	if (store_rows_end(store, rows, step, err) < 0) {
		store_revisions_clear(&revisions);
		return -1;
	}
	*ret = revisions;
	return 0;
}

int store_revisions(struct store *store, int64_t below, const char *name, int64_t limit,
		    struct store_revision_vec *ret, struct error *err)
{
	return list(store, below > 0 ? below : INT64_MAX, 0, name, limit, ret, err);
}

int store_revision(struct store *store, int64_t rev, struct store_revision *ret, struct error *err)
{
	struct store_revision_vec found = { 0 };
	if (rev > 0 && rev < INT64_MAX && list(store, rev + 1, rev, NULL, 1, &found, err) < 0)
		return -1;
	if (!found.count)
		return error_set(err, ERROR_NOT_FOUND,
				 "there is no revision %" PRId64 " (any more), see banger history",
				 rev);
	*ret = found.at[0];
	store_revision_vec_clear(&found);
	return 0;
}

static int read_changes(struct store *store, sqlite3_stmt *rows, struct store_change_vec *ret,
			struct error *err)
{
	struct store_change_vec changes = { 0 };
	int step;
	while ((step = sqlite3_step(rows)) == SQLITE_ROW)
		store_change_vec_push(&changes,
				      (struct store_change){ .name = store_column(rows, 0),
							     .stack_before = store_column(rows, 1),
							     .stack_after = store_column(rows, 2),
							     .spec_before = store_column(rows, 3),
							     .spec_after = store_column(rows, 4) });
	if (store_rows_end(store, rows, step, err) < 0) {
		store_changes_clear(&changes);
		return -1;
	}
	*ret = changes;
	return 0;
}

int store_changes(struct store *store, int64_t rev, const char *after, int64_t limit,
		  struct store_change_vec *ret, struct error *err)
{
	sqlite3_stmt *rows = store_prepare(store, REVISION_CHANGES, err);
	if (!rows)
		return -1;
	store_bind_int(rows, 1, rev);
	store_bind_text(rows, 2, after);
	store_bind_int(rows, 3, limit);
	return read_changes(store, rows, ret, err);
}

int store_changes_undo(struct store *store, int64_t rev, struct store_change_vec *ret,
		       struct error *err)
{
	sqlite3_stmt *rows = store_prepare(store, REVISION_UNDO, err);
	if (!rows)
		return -1;
	store_bind_int(rows, 1, rev);
	return read_changes(store, rows, ret, err);
}
