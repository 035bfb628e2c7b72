/* sys/paths: a person's places and the machine's. */
#include "sys/paths.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char root[] = "/tmp/banger-test-XXXXXX";

static int make_root(void **state)
{
	static const char *const variables[][2] = { { "XDG_STATE_HOME", "state" },
						    { "XDG_CACHE_HOME", "cache" },
						    { "XDG_CONFIG_HOME", "config" },
						    { "XDG_RUNTIME_DIR", "runtime" },
						    { "BANGER_ROOT", "machine" } };
	(void)state;
	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < ARRAY_COUNT(variables); i++) {
		auto_free char *path = xasprintf("%s/%s", root, variables[i][1]);
		setenv(variables[i][0], path, 1);
	}
	return 0;
}

static int remove_root(void **state)
{
	struct error err;
	(void)state;
	return fs_remove_tree(AT_FDCWD, root, &err);
}

static void is_below_root(const char *path, const char *place, mode_t mode)
{
	struct stat st;
	auto_free char *want = xasprintf("%s/%s", root, place);
	assert_string_equal(path, want);
	if (!mode)
		return;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, mode);
}

static void a_person_has_xdg_directories(void **state)
{
	struct paths paths;
	struct error err;
	(void)state;
	assert_int_equal(paths_init(&paths, false, &err), 0);
	is_below_root(paths.state, "state/banger", 0700);
	is_below_root(paths.cache, "cache/banger", 0700);
	is_below_root(paths.config, "config/banger", 0);
	is_below_root(paths.runtime, "runtime/banger", 0700);
	paths_clear(&paths);
}

/* Only root makes them; everybody knows where they are. */
static void the_machine_has_fixed_places(void **state)
{
	struct paths paths;
	struct error err;
	bool makes = geteuid() == 0;
	(void)state;
	assert_int_equal(paths_init(&paths, true, &err), 0);
	is_below_root(paths.state, "machine/var/lib/banger", makes ? 0700 : 0);
	is_below_root(paths.cache, "machine/var/cache/banger", makes ? 0700 : 0);
	is_below_root(paths.config, "machine/etc/banger", 0);
	is_below_root(paths.runtime, "machine/run/banger", makes ? 0755 : 0);
	paths_clear(&paths);
}

static void the_environment_may_ask_for_the_machine(void **state)
{
	(void)state;
	unsetenv("BANGER_SYSTEM");
	assert_false(paths_system_asked());
	setenv("BANGER_SYSTEM", "yes", 1);
	assert_false(paths_system_asked());
	setenv("BANGER_SYSTEM", "1", 1);
	assert_true(paths_system_asked());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_person_has_xdg_directories),
		cmocka_unit_test(the_machine_has_fixed_places),
		cmocka_unit_test(the_environment_may_ask_for_the_machine),
	};
	umask(022);
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
