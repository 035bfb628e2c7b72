/* sys/modules: what a kernel has is read from depmod's indexes. */
#include "sys/modules.h"
#include "test_sys_help.h"

static void write_index(const char *name, const char *text)
{
	auto_free char *path = xasprintf("lib/modules/6.1-x/%s", name);
	assert_int_equal(fs_write(dir_fd, path, text, strlen(text), 0644, &err), 0);
}

static void assert_found(const char *name, const char *want)
{
	auto_buf struct buf found = BUF_INIT;
	assert_int_equal(module_find_in(dir_path, "6.1-x", name, &found), want != NULL);
	assert_string_equal(found.data, want ? want : "");
}

static void modules_are_found_by_the_kernels_own_name(void **state)
{
	(void)state;
	auto_free char *net = xasprintf("%s/lib/modules/6.1-x/kernel/net", dir_path);
	assert_int_equal(fs_mkdirs(net, 0755, &err), 0);
	assert_found("bridge", NULL); /* no index */
	write_index("modules.builtin", "kernel/fs/ext4/ext4.ko\nkernel/net/core/dm-mod.ko\n");
	write_index("modules.dep", "kernel/net/bridge_x.ko: kernel/net/bridge.ko\n"
				   "kernel/net/br-netfilter.ko: kernel/net/bridge.ko\n"
				   "kernel/net/bridge.ko.xz:\n"
				   "kernel/net/gone.ko:\n");
	write_index("kernel/net/bridge.ko.xz", "");
	write_index("kernel/net/br-netfilter.ko", "");
	assert_found("bridge", "/lib/modules/6.1-x/kernel/net/bridge.ko.xz");
	assert_found("br_netfilter", "/lib/modules/6.1-x/kernel/net/br-netfilter.ko");
	assert_found("dm_mod", "built in");
	assert_found("gone", NULL); /* its file is */
	assert_found("ridge", NULL);
	assert_found("net", NULL);
	assert_found("", NULL);
}

static void what_is_loaded_is_the_kernels_word(void **state)
{
	(void)state;
	assert_false(module_is_loaded("no_such_module_x"));
	assert_true(module_is_loaded("kernel") || access("/sys/module/kernel", F_OK) < 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(modules_are_found_by_the_kernels_own_name),
		CASE(what_is_loaded_is_the_kernels_word),
	};
	return cmocka_run_group_tests_name("sys/modules", tests, NULL, NULL);
}
