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
	{ 3, "CREATE TABLE events ("
	     " id INTEGER PRIMARY KEY AUTOINCREMENT," /* never one twice, whatever was dropped */
	     " at_ms INTEGER NOT NULL,"
	     " vm TEXT NOT NULL,"
	     " stack TEXT NOT NULL,"
	     " kind TEXT NOT NULL,"
	     " text TEXT NOT NULL) STRICT;"
	     "CREATE TABLE revisions ("
	     " rev INTEGER PRIMARY KEY AUTOINCREMENT,"
	     " at_ms INTEGER NOT NULL,"
	     " uid INTEGER NOT NULL,"
	     " vms INTEGER NOT NULL,"
	     " bytes INTEGER NOT NULL,"
	     " who TEXT NOT NULL,"
	     " stack TEXT NOT NULL,"
	     " source TEXT NOT NULL,"
	     " kind TEXT NOT NULL,"
	     " summary TEXT NOT NULL) STRICT;"
	     "CREATE TABLE revision_vms ("
	     " rev INTEGER NOT NULL,"
	     " name TEXT NOT NULL,"
	     " stack_before TEXT,"
	     " stack_after TEXT,"
	     " spec_before TEXT,"
	     " spec_after TEXT) STRICT;"
	     "CREATE UNIQUE INDEX revision_vms_by_rev ON revision_vms (rev, name);"
	     "CREATE INDEX revision_vms_by_name ON revision_vms (name, rev);" },
	{ 4, "ALTER TABLE vms ADD COLUMN good TEXT;"
	     "ALTER TABLE vms ADD COLUMN rollback TEXT;" },
	{ 5, "ALTER TABLE vms ADD COLUMN boots TEXT NOT NULL DEFAULT '';" },
};
const size_t store_migration_count = ARRAY_COUNT(store_migrations);
