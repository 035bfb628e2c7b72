/* rpc: the table and METHODS.md name the same methods. Runs from the repository root. */
#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "rpc/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

static struct buf text = { .data = buf_empty };

static int read_methods(void **state)
{
	(void)state;
	struct error err;
	return fs_read(AT_FDCWD, "reconciler/rpc/METHODS.md", 1 << 20, &text, &err);
}

static int clear_methods(void **state)
{
	(void)state;
	buf_clear(&text);
	return 0;
}

/* Calls fn for each `name` in the first cell of each row. */
static void each_documented(void (*fn)(const char *name, void *data), void *data)
{
	for (const char *line = text.data; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "| `", 3) != 0)
			continue;
		const char *end = strchr(line + 1, '|');
		assert_non_null(end);
		for (const char *at = strchr(line, '`'); at && at < end;) {
			const char *close = strchr(at + 1, '`');
			assert_non_null(close);
			char *name = xstrndup(at + 1, (size_t)(close - at - 1));
			fn(name, data);
			free(name);
			at = strchr(close + 1, '`');
		}
	}
}

static void is_in_table(const char *name, void *data)
{
	size_t *count = data;
	++*count;
	if (!rpc_method_find(name))
		fail_msg("'%s' is in METHODS.md, not in rpc_methods[]", name);
}

static void every_documented_method_is_in_the_table(void **state)
{
	(void)state;
	size_t count = 0;
	each_documented(is_in_table, &count);
	assert_true(count >= rpc_method_count);
}

struct wanted {
	const char *name;
	bool found;
};

static void is_wanted(const char *name, void *data)
{
	struct wanted *wanted = data;
	wanted->found = wanted->found || !strcmp(name, wanted->name);
}

static void every_method_of_the_table_is_documented_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < rpc_method_count; i++) {
		struct wanted wanted = { .name = rpc_methods[i].name };
		each_documented(is_wanted, &wanted);
		if (!wanted.found)
			fail_msg("'%s' is in rpc_methods[], not in METHODS.md", wanted.name);
		assert_ptr_equal(rpc_method_find(wanted.name), &rpc_methods[i]);
		assert_true(rpc_methods[i].doc[0] != '\0');
	}
	assert_null(rpc_method_find("no.such"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_documented_method_is_in_the_table),
		cmocka_unit_test(every_method_of_the_table_is_documented_once),
	};
	return cmocka_run_group_tests_name("rpc/method", tests, read_methods, clear_methods);
}
