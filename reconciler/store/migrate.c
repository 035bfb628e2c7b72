#include "store/migrate.h"

#include <stdio.h>

#define APPLICATION_ID 0x62616e67 /* "bang" */

int store_error(sqlite3 *db, const char *path, const char *doing, struct error *err)
{
	int code = sqlite3_errcode(db) & 0xff;
	err->sys = 0;
	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return error_set(err, ERROR_SYSTEM,
				 "'%s' is damaged (%s): move it away and apply again; VMs keep "
				 "running and are found again",
				 path, sqlite3_errmsg(db));
	if (code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_PERM)
		return error_set(err, ERROR_SYSTEM,
				 "cannot %s '%s': %s; check its owner and mode, and those of its "
				 "directory",
				 doing, path, sqlite3_errmsg(db));
	if (code == SQLITE_FULL)
		return error_set(err, ERROR_SYSTEM, "cannot %s '%s': the filesystem is full", doing,
				 path);
	if (code == SQLITE_BUSY)
		return error_set(err, ERROR_BUSY, "cannot %s '%s': another process uses it", doing,
				 path);
	if (code == SQLITE_CONSTRAINT)
		return error_set(err, ERROR_CONFLICT, "cannot %s '%s': %s", doing, path,
				 sqlite3_errmsg(db));
	return error_set(err, ERROR_SYSTEM, "cannot %s '%s': %s", doing, path, sqlite3_errmsg(db));
}

static int query_int(sqlite3 *db, const char *path, const char *sql, int *ret, struct error *err)
{
	sqlite3_stmt *query = NULL;
	int failed = sqlite3_prepare_v2(db, sql, -1, &query, NULL) != SQLITE_OK ||
		     sqlite3_step(query) != SQLITE_ROW;
	if (failed)
		store_error(db, path, "read", err);
	else
		*ret = sqlite3_column_int(query, 0);
	sqlite3_finalize(query);
	return failed ? -1 : 0;
}

static int run_one(sqlite3 *db, const char *path, const struct migration *migration,
		   struct error *err)
{
	char stamp[96];
	snprintf(stamp, sizeof(stamp), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
		 APPLICATION_ID, migration->version);
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, migration->sql, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, stamp, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	store_error(db, path, "migrate", err);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

int migrate(sqlite3 *db, const char *path, const struct migration *migrations, size_t count,
	    struct error *err)
{
	int id = 0, version = 0, tables = 0;
	if (query_int(db, path, "PRAGMA application_id", &id, err) < 0 ||
	    query_int(db, path, "PRAGMA user_version", &version, err) < 0 ||
	    query_int(db, path, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
		return -1;
	if (id != APPLICATION_ID && (id || version || tables))
		return error_set(err, ERROR_CONFLICT,
				 "'%s' is the database of another program: move it away", path);
	int newest = migrations[count - 1].version;
	if (version > newest)
		return error_set(
			err, ERROR_CONFLICT,
			"'%s' was written by a newer banger (schema %d, this one knows %d): "
			"install that one",
			path, version, newest);
	for (size_t i = 0; i < count; i++)
		if (migrations[i].version > version && run_one(db, path, &migrations[i], err) < 0)
			return error_wrap(err, "to schema %d", migrations[i].version);
	return 0;
}
