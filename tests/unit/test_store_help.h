/* store: what the tests of its rows share: a database in a directory of its own. */
#ifndef TESTS_TEST_STORE_HELP_H
#define TESTS_TEST_STORE_HELP_H

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

static struct error err;
static char dir[64], path[128];
static struct store *store;

static inline int setup(void **state)
{
	(void)state;
	err = (struct error){ 0 };
	str_copy(dir, sizeof(dir), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/banger.db", dir);
	store = store_open(path, &err);
	return store ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	store_close(store);
	return fs_remove_tree(AT_FDCWD, dir, &err);
}

#endif
