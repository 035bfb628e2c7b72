/* The tables, version by version. */
#include "base/mem.h"
#include "base/vec.h"
#include "store/migrate.h"

/* Never edited once released: a change is a new row. */
const struct migration store_migrations[] = {
	{ 1, "CREATE TABLE vms ("
	     " id TEXT PRIMARY KEY CHECK (length(id) = 10),"
	     " name TEXT NOT NULL,"
	     " stack TEXT NOT NULL,"
	     " spec TEXT NOT NULL,"
	     " revision INTEGER NOT NULL,"
	     " applied TEXT,"
	     " image_digest TEXT,"
	     " kernel_digest TEXT,"
	     " address TEXT UNIQUE,"
	     " deleting INTEGER NOT NULL,"
	     " allow_data_loss INTEGER NOT NULL,"
	     " hold INTEGER NOT NULL,"
	     " exit_reason TEXT,"
	     " exit_revision INTEGER NOT NULL,"
	     " expired_revision INTEGER NOT NULL,"
	     " created_ms INTEGER NOT NULL) STRICT;"
	     /* A VM that is being deleted may share its name with its successor. */
	     "CREATE UNIQUE INDEX vms_by_name ON vms (name) WHERE NOT deleting;"
	     "CREATE TABLE stacks ("
	     " name TEXT PRIMARY KEY,"
	     " source TEXT NOT NULL,"
	     " watched INTEGER NOT NULL) STRICT;"
	     "CREATE TABLE stack_sizes ("
	     " stack TEXT NOT NULL,"
	     " at_ms INTEGER NOT NULL,"
	     " size INTEGER NOT NULL,"
	     " PRIMARY KEY (stack, at_ms)) STRICT, WITHOUT ROWID;" },
	{ 2, "ALTER TABLE vms ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0;"
	     "ALTER TABLE vms ADD COLUMN workspace TEXT;" },
};
const size_t store_migration_count = ARRAY_COUNT(store_migrations);
