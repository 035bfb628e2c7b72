/* The rules of the bridge, as text: tests/driver/nft/NAME.nft. UPDATE=1 writes them. */
#include "driver/net_rules.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

static void compare(const struct net_rule *rules, size_t count, bool vm_to_vm, const char *path)
{
	auto_buf struct buf got = BUF_INIT, want = BUF_INIT;
	struct error err;
	net_rules_text(rules, count, vm_to_vm, &got);
	if (getenv("UPDATE"))
		assert_int_equal(fs_write(AT_FDCWD, path, got.data, got.len, 0644, &err), 0);
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 20, &want, &err), 0);
	assert_string_equal(got.data, want.data);
}

static void no_vm_no_table(void **state)
{
	(void)state;
	compare(NULL, 0, true, "tests/driver/nft/none.nft");
}

static void one_that_reaches_nothing(void **state)
{
	(void)state;
	const struct net_rule rule = { .id = "ab12",
				       .address = "10.183.4.5",
				       .mac = "52:54:00:01:02:03" };
	compare(&rule, 1, false, "tests/driver/nft/closed.nft");
	compare(&rule, 1, true, "tests/driver/nft/vm_to_vm.nft");
}

static void nat_and_ports(void **state)
{
	(void)state;
	struct port_spec ports[] = {
		{ .address = "127.0.0.1", .host = 8080, .guest = 80 },
		{ .address = "0.0.0.0", .host = 5353, .guest = 53, .proto = PORT_UDP },
	};
	struct port_list list = { ports, ARRAY_COUNT(ports) };
	const struct net_rule rules[] = {
		{ "ab12", "10.183.4.5", "52:54:00:01:02:03", true, &list },
		{ "cd34", "10.183.6.7", "52:54:00:04:05:06", true, NULL },
		{ "ef56", "10.183.8.9", "52:54:00:07:08:09", false, NULL },
	};
	compare(rules, ARRAY_COUNT(rules), false, "tests/driver/nft/open.nft");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_vm_no_table),
		cmocka_unit_test(one_that_reaches_nothing),
		cmocka_unit_test(nat_and_ports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
