/* store/statement.h - the statements of the store and how they are run. Only for store/. */
#ifndef STORE_STATEMENT_H
#define STORE_STATEMENT_H

#include "store/store.h"

#include <sqlite3.h>

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	VM_LIST,
	VM_PUT,
	VM_REMOVE,
	STACK_LIST,
	STACK_PUT,
	STACK_REMOVE,
	SIZES_REMOVE,
	SIZE_FORGET,
	SIZE_NOTE,
	SIZE_LARGEST,
	EVENT_ADD,
	EVENT_LAST,
	EVENT_LIST,
	EVENT_TAIL,
	EVENT_TRIM,
	EVENT_EXPIRE,
	REVISION_ADD,
	REVISION_CHANGE_ADD,
	REVISION_LIST,
	REVISION_CHANGES,
	REVISION_UNDO,
	REVISION_WEIGH,
	REVISION_TRIM,
	REVISION_CHANGES_TRIM,
	STATEMENT_COUNT_
};

struct store {
	sqlite3 *db;
	char *path;
	sqlite3_stmt *prepared[STATEMENT_COUNT_];
};

sqlite3_stmt *store_prepare(struct store *store, enum statement which, struct error *err);
/* Parameters are borrowed until the step: nothing is copied. Numbers always fit, and texts are
 * bounded before they come here, so that binding fails only on a bug. */
void store_bind_text(sqlite3_stmt *statement, int at, const char *text);
void store_bind_int(sqlite3_stmt *statement, int at, int64_t value);
/* Steps a statement that returns no rows, and makes it ready for the next time. */
int store_finish(struct store *store, sqlite3_stmt *statement, const char *doing,
		 struct error *err);
/* The same for a query whose rows were read; step is what ended them. */
int store_rows_end(struct store *store, sqlite3_stmt *query, int step, struct error *err);
int store_run(struct store *store, enum statement which, struct error *err);
int store_run_named(struct store *store, enum statement which, const char *name, struct error *err);
char *store_column(sqlite3_stmt *statement, int at); /* the caller frees; NULL for NULL */
/* The last call's error in words; -1. */
int store_failed(struct store *store, const char *doing, struct error *err);

/* A transaction of our own unless the caller has one. */
int store_own_begin(struct store *store, bool *ret_own, struct error *err);
int store_own_end(struct store *store, bool own, int result, struct error *err);

#endif
