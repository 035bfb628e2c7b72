/* Addresses on the bridge, and whom its guests ask for names. */
#include "driver/driver.h"
#include "driver/net_bridge.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void a_subnet_is_read(void **state)
{
	(void)state;
	struct net_subnet subnet;
	struct error err;
	char gateway[16];
	assert_int_equal(net_subnet_parse(NET_SUBNET_DEFAULT, &subnet, &err), 0);
	net_subnet_gateway(&subnet, gateway);
	assert_string_equal(gateway, "10.183.0.1");
	assert_true(net_subnet_has(&subnet, "10.183.255.254"));
	assert_false(net_subnet_has(&subnet, "10.184.0.1"));
	assert_false(net_subnet_has(&subnet, "nonsense"));
	static const char *const bad[] = { "",
					   "10.183.0.0",
					   "10.183.0.0/7",
					   "10.183.0.0/29",
					   "10.183.0.1/16",
					   "10.183.0.0/16 ",
					   "127.0.0.0/8",
					   "10.183.0/16",
					   "10.256.0.0/16" };
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
		assert_int_equal(net_subnet_parse(bad[i], &subnet, &err), -1);
}

static void an_address_stays_the_same_until_it_is_taken(void **state)
{
	(void)state;
	struct net_subnet subnet;
	struct error err;
	char first[16], again[16], second[16];
	assert_int_equal(net_subnet_parse("192.168.7.0/24", &subnet, &err), 0);
	assert_int_equal(net_bridge_address(&subnet, "ab12", NULL, 0, first, &err), 0);
	assert_int_equal(net_bridge_address(&subnet, "ab12", NULL, 0, again, &err), 0);
	assert_string_equal(first, again);
	assert_true(net_subnet_has(&subnet, first));
	const char *taken[] = { first };
	assert_int_equal(net_bridge_address(&subnet, "ab12", taken, 1, second, &err), 0);
	assert_string_not_equal(first, second);
}

/* Every one is given once, and never the network's, the bridge's or broadcast. */
static void all_addresses_are_given_and_then_none(void **state)
{
	(void)state;
	struct net_subnet subnet;
	struct error err;
	char given[13][16];
	const char *taken[13];
	assert_int_equal(net_subnet_parse("192.168.7.16/28", &subnet, &err), 0);
	for (size_t i = 0; i < 13; i++) {
		char id[8];
		snprintf(id, sizeof(id), "vm%zu", i);
		assert_int_equal(net_bridge_address(&subnet, id, taken, i, given[i], &err), 0);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(given[i], given[j]);
		assert_string_not_equal(given[i], "192.168.7.16");
		assert_string_not_equal(given[i], "192.168.7.17");
		assert_string_not_equal(given[i], "192.168.7.31");
		taken[i] = given[i];
	}
	char none[16];
	assert_int_equal(net_bridge_address(&subnet, "late", taken, 13, none, &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	assert_non_null(strstr(err.text, "192.168.7.16/28"));
}

static void ssh_is_where_the_address_says(void **state)
{
	(void)state;
	assert_int_equal(net_ssh_port("127.64.3.4"), USER_SSH_PORT);
	assert_int_equal(net_ssh_port("10.183.3.4"), 22);
}

static void a_resolver_out_of_reach_is_no_resolver(void **state)
{
	(void)state;
	char server[16];
	assert_true(net_resolv_conf_parse("# nameserver 1.1.1.1\nnameserver 127.0.0.53\n"
					  "nameserver fe80::1\nnameserver\t9.9.9.9\n",
					  server));
	assert_string_equal(server, "9.9.9.9");
	assert_false(net_resolv_conf_parse("nameserver 127.0.0.53", server));
	assert_false(net_resolv_conf_parse("nameserver 1.2.3.4.5.6.7.8.9", server));
	assert_false(net_resolv_conf_parse("", server));
	assert_string_equal(server, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_subnet_is_read),
		cmocka_unit_test(an_address_stays_the_same_until_it_is_taken),
		cmocka_unit_test(all_addresses_are_given_and_then_none),
		cmocka_unit_test(ssh_is_where_the_address_says),
		cmocka_unit_test(a_resolver_out_of_reach_is_no_resolver),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
