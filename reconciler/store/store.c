/* Theory of operation
 *
 * One connection, WAL, synchronous=NORMAL: a crash of the daemon loses nothing that was committed,
 * a crash of the machine may lose the last moments of intent but never tears the file; the next
 * apply brings them again.
 *
 * A checkpoint flushes to the disk, which may take as long as the disk likes: the owner asks for
 * one when nobody waits (store_settle()). Only a log of CHECKPOINT_PAGES is not left waiting.
 *
 * Statements are prepared on first use and kept. Whether a transaction is open is asked of SQLite
 * (autocommit), which ends one by itself on some errors; so a commit after such an error fails
 * instead of pretending. Calls made of several statements open a transaction of their own when the
 * caller has none. */
#include "store/store.h"
#include "base/mem.h"
#include "store/migrate.h"
#include "store/statement.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BUSY_MS		 2000
#define CHECKPOINT_PAGES "8192"

/* --- opening --- */

/* SQLite gives its side files the mode of the database. */
static int create_private(const char *path, struct error *err)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno != EEXIST)
		return error_sys(err, "cannot create '%s'", path);
	return 0;
}

/* On a file that is not ours to write nothing else tells before the first write. */
static int check_writable(struct store *store, struct error *err)
{
	if (sqlite3_db_readonly(store->db, "main") != 1)
		return 0;
	return error_set(err, ERROR_SYSTEM,
			 "'%s' can only be read: check its owner and mode, and those of its "
			 "directory",
			 store->path);
}

static int on_check_row(void *cookie, int count, char **values, char **names)
{
	(void)names;
	*(bool *)cookie = count == 1 && values[0] && !strcmp(values[0], "ok");
	return 0;
}

static int check_integrity(struct store *store, struct error *err)
{
	bool ok = false;
	if (sqlite3_exec(store->db, "PRAGMA quick_check(1)", on_check_row, &ok, NULL) != SQLITE_OK)
		return store_failed(store, "read", err);
	if (ok)
		return 0;
	return error_set(err, ERROR_SYSTEM,
			 "'%s' is damaged: move it away and apply again; VMs keep running and are "
			 "found again",
			 store->path);
}

static int open_file(struct store *store, struct error *err)
{
	if (create_private(store->path, err) < 0)
		return -1;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK)
		return store_failed(store, "open", err);
	sqlite3_busy_timeout(store->db, BUSY_MS);
	if (check_writable(store, err) < 0)
		return -1;
	/* Everybody's file until migrate() has seen that it is ours: only reading before it. */
	if (migrate(store->db, store->path, store_migrations, store_migration_count, err) < 0)
		return -1;
	/* All rows are read once and kept by the caller: there is nothing to keep pages for. */
	if (sqlite3_exec(store->db,
			 "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
			 "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
			 "PRAGMA cache_size = -256; PRAGMA wal_autocheckpoint = " CHECKPOINT_PAGES,
			 NULL, NULL, NULL) != SQLITE_OK)
		return store_failed(store, "open", err);
	return check_integrity(store, err);
}

struct store *store_open(const char *path, struct error *err)
{
	struct store *store = xcalloc(1, sizeof(*store));
	store->path = xstrdup(path);
	if (open_file(store, err) == 0)
		return store;
	store_close(store);
	return NULL;
}

void store_settle(struct store *store)
{
	/* What cannot be moved now stays in the log, where it is as safe. */
	sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < STATEMENT_COUNT_; i++)
		sqlite3_finalize(store->prepared[i]);
	sqlite3_close(store->db);
	free(store->path);
	free(store);
}

/* --- transactions --- */

int store_begin(struct store *store, struct error *err)
{
	if (!sqlite3_get_autocommit(store->db))
		BUG("store_begin() within a transaction");
	return store_run(store, BEGIN, err);
}

int store_commit(struct store *store, struct error *err)
{
	int result = store_run(store, COMMIT, err);
	if (result < 0)
		store_rollback(store);
	return result;
}

void store_rollback(struct store *store)
{
	struct error ignored;
	if (!sqlite3_get_autocommit(store->db))
		store_run(store, ROLLBACK, &ignored);
}

/* --- VMs --- */

void store_vm_clear(struct store_vm *vm)
{
	free(vm->name);
	free(vm->stack);
	free(vm->spec);
	free(vm->applied);
	free(vm->image_digest);
	free(vm->kernel_digest);
	free(vm->address);
	free(vm->exit_reason);
	free(vm->workspace);
	free(vm->good);
	free(vm->rollback);
	free(vm->boots);
	*vm = (struct store_vm){ 0 };
}

void store_vms_clear(struct store_vm_vec *vms)
{
	for (size_t i = 0; i < vms->count; i++)
		store_vm_clear(&vms->at[i]);
	store_vm_vec_clear(vms);
}

static struct store_vm read_vm(sqlite3_stmt *row)
{
	struct store_vm vm = {
		.name = store_column(row, 1),
		.stack = store_column(row, 2),
		.spec = store_column(row, 3),
		.revision = sqlite3_column_int64(row, 4),
		.applied = store_column(row, 5),
		.image_digest = store_column(row, 6),
		.kernel_digest = store_column(row, 7),
		.address = store_column(row, 8),
		.deleting = sqlite3_column_int(row, 9) != 0,
		.allow_data_loss = sqlite3_column_int(row, 10) != 0,
		.hold = sqlite3_column_int(row, 11),
		.exit_reason = store_column(row, 12),
		.exit_revision = sqlite3_column_int64(row, 13),
		.expired_revision = sqlite3_column_int64(row, 14),
		.created_ms = sqlite3_column_int64(row, 15),
		.ephemeral = sqlite3_column_int(row, 16) != 0,
		.workspace = store_column(row, 17),
		.good = store_column(row, 18),
		.rollback = store_column(row, 19),
		.boots = store_column(row, 20),
	};
	/* The schema holds it to ten characters; a name in the file that is none is harmless. */
	str_copy(vm.id, sizeof(vm.id), (const char *)sqlite3_column_text(row, 0));
	return vm;
}

int store_vms(struct store *store, struct store_vm_vec *ret, struct error *err)
{
	sqlite3_stmt *query = store_prepare(store, VM_LIST, err);
	if (!query)
		return -1;
	struct store_vm_vec vms = { 0 };
	int step;
	while ((step = sqlite3_step(query)) == SQLITE_ROW)
		store_vm_vec_push(&vms, read_vm(query));
	int result = step == SQLITE_DONE ? 0 : store_failed(store, "read", err);
	sqlite3_reset(query);
	if (result < 0)
		store_vms_clear(&vms);
	else
		*ret = vms;
	return result;
}

int store_vm_put(struct store *store, const struct store_vm *vm, struct error *err)
{
	sqlite3_stmt *put = store_prepare(store, VM_PUT, err);
	if (!put)
		return -1;
	store_bind_text(put, 1, vm->id);
	store_bind_text(put, 2, vm->name);
	store_bind_text(put, 3, vm->stack);
	store_bind_text(put, 4, vm->spec);
	store_bind_int(put, 5, vm->revision);
	store_bind_text(put, 6, vm->applied);
	store_bind_text(put, 7, vm->image_digest);
	store_bind_text(put, 8, vm->kernel_digest);
	store_bind_text(put, 9, vm->address);
	store_bind_int(put, 10, vm->deleting);
	store_bind_int(put, 11, vm->allow_data_loss);
	store_bind_int(put, 12, vm->hold);
	store_bind_text(put, 13, vm->exit_reason);
	store_bind_int(put, 14, vm->exit_revision);
	store_bind_int(put, 15, vm->expired_revision);
	store_bind_int(put, 16, vm->created_ms);
	store_bind_int(put, 17, vm->ephemeral);
	store_bind_text(put, 18, vm->workspace);
	store_bind_text(put, 19, vm->good);
	store_bind_text(put, 20, vm->rollback);
	store_bind_text(put, 21, vm->boots ? vm->boots : "");
	if (store_finish(store, put, "write to", err) < 0)
		return error_wrap(err, "VM '%s'", vm->name ? vm->name : "");
	return 0;
}

int store_vm_remove(struct store *store, const char *id, struct error *err)
{
	return store_run_named(store, VM_REMOVE, id, err);
}

/* --- stacks --- */

void store_stacks_clear(struct store_stack_vec *stacks)
{
	for (size_t i = 0; i < stacks->count; i++) {
		free(stacks->at[i].name);
		free(stacks->at[i].source);
	}
	store_stack_vec_clear(stacks);
}

int store_stacks(struct store *store, struct store_stack_vec *ret, struct error *err)
{
	sqlite3_stmt *query = store_prepare(store, STACK_LIST, err);
	if (!query)
		return -1;
	struct store_stack_vec stacks = { 0 };
	int step;
	while ((step = sqlite3_step(query)) == SQLITE_ROW)
		store_stack_vec_push(&stacks, (struct store_stack){
						      .name = store_column(query, 0),
						      .source = store_column(query, 1),
						      .watched = sqlite3_column_int(query, 2) != 0,
					      });
	int result = step == SQLITE_DONE ? 0 : store_failed(store, "read", err);
	sqlite3_reset(query);
	if (result < 0)
		store_stacks_clear(&stacks);
	else
		*ret = stacks;
	return result;
}

int store_stack_put(struct store *store, const char *name, const char *source, bool watched,
		    struct error *err)
{
	sqlite3_stmt *put = store_prepare(store, STACK_PUT, err);
	if (!put)
		return -1;
	store_bind_text(put, 1, name);
	store_bind_text(put, 2, source);
	store_bind_int(put, 3, watched);
	return store_finish(store, put, "write to", err);
}

int store_stack_remove(struct store *store, const char *name, struct error *err)
{
	bool own;
	if (store_own_begin(store, &own, err) < 0)
		return -1;
	int result = store_run_named(store, STACK_REMOVE, name, err);
	if (result == 0)
		result = store_run_named(store, SIZES_REMOVE, name, err);
	return store_own_end(store, own, result, err);
}

static int run_size(struct store *store, enum statement which, const char *stack, int64_t at_ms,
		    const int64_t *size, struct error *err)
{
	sqlite3_stmt *statement = store_prepare(store, which, err);
	if (!statement)
		return -1;
	store_bind_text(statement, 1, stack);
	store_bind_int(statement, 2, at_ms);
	if (size)
		store_bind_int(statement, 3, *size);
	return store_finish(store, statement, "write to", err);
}

int store_stack_size_note(struct store *store, const char *stack, int64_t now_ms, int64_t keep_ms,
			  int64_t size, struct error *err)
{
	bool own;
	if (store_own_begin(store, &own, err) < 0)
		return -1;
	int result = run_size(store, SIZE_FORGET, stack, now_ms - keep_ms, NULL, err);
	if (result == 0)
		result = run_size(store, SIZE_NOTE, stack, now_ms, &size, err);
	return store_own_end(store, own, result, err);
}

int store_stack_size_largest(struct store *store, const char *stack, int64_t since_ms, int64_t *ret,
			     struct error *err)
{
	sqlite3_stmt *query = store_prepare(store, SIZE_LARGEST, err);
	if (!query)
		return -1;
	store_bind_text(query, 1, stack);
	store_bind_int(query, 2, since_ms);
	int result = 0;
	if (sqlite3_step(query) == SQLITE_ROW)
		*ret = sqlite3_column_int64(query, 0);
	else
		result = store_failed(store, "read", err);
	sqlite3_reset(query);
	sqlite3_clear_bindings(query);
	return result;
}
