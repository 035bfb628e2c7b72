/* store/migrate.h - bring a database file to the schema of this program. Only for store/. */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include "base/error.h"

#include <sqlite3.h>
#include <stddef.h>

struct migration {
	int version; /* PRAGMA user_version afterwards; 1, 2, 3, … */
	const char *sql;
};

/* schema.c: of the store. */
extern const struct migration store_migrations[];
extern const size_t store_migration_count;

/* Runs those above the file's version, each in a transaction of its own. A newer file, or one of
 * another program, is ERROR_CONFLICT and stays as it is. path is for messages. */
int migrate(sqlite3 *db, const char *path, const struct migration *migrations, size_t count,
	    struct error *err);

/* The failed call's error in words: what happened to which file, and what to do. Returns -1. */
int store_error(sqlite3 *db, const char *path, const char *doing, struct error *err);

#endif
