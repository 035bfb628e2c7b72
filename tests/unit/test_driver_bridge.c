/* Addresses on the bridge, and whom its guests ask for names. */
#include "driver/driver.h"
#include "driver/net_bridge.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
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

static void vms_reach_each_other_only_by_that_word(void **state)
{
	(void)state;
	struct error err;
	bool allowed = true;
	static const char *const blocked[] = { NULL, "", "block" };
	for (size_t i = 0; i < ARRAY_COUNT(blocked); i++, allowed = true) {
		assert_int_equal(net_vm_to_vm_parse(blocked[i], &allowed, &err), 0);
		assert_false(allowed);
	}
	assert_int_equal(net_vm_to_vm_parse("allow", &allowed, &err), 0);
	assert_true(allowed);
	static const char *const bad[] = { "allow ", "Allow", "yes", "1", "deny" };
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(net_vm_to_vm_parse(bad[i], &allowed, &err), -1);
		assert_int_equal(err.code, ERROR_INVALID);
		assert_non_null(strstr(err.text, bad[i]));
		assert_false(allowed);
	}
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

/* --- taps, in a network of their own --- */

#define OWNER 64999

static const struct net_subnet subnet = { 0x0ab70000, 16 };

static void assert_links(const char *const *want, size_t count)
{
	size_t found = 0;
	struct if_nameindex *links = if_nameindex();
	for (const struct if_nameindex *at = links; at->if_index; at++)
		found += strcmp(at->if_name, "lo") != 0;
	for (size_t i = 0; i < count; i++)
		if (!if_nametoindex(want[i]))
			fail_msg("no '%s'", want[i]);
	if_freenameindex(links);
	assert_int_equal(found, count);
}
#define LINKS(...)                                                                                 \
	assert_links((const char *const[]){ __VA_ARGS__ },                                         \
		     ARRAY_COUNT(((const char *const[]){ __VA_ARGS__ })))

static void make(const char *id)
{
	struct error err;
	if (net_tap_make(&subnet, id, OWNER, true, &err) < 0)
		fail_msg("%s", err.text);
}

static void take_away(const char *id)
{
	struct error err;
	if (net_tap_remove(id, &err) < 0)
		fail_msg("%s", err.text);
}

static unsigned attribute(const char *name, const char *what)
{
	char text[16] = "";
	auto_free char *path = xasprintf("/sys/class/net/%s/%s", name, what);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	return (unsigned)strtoul(text, NULL, 0);
}

static void taps_are_kept_and_taken_again(void)
{
	make("aaaaaaaaaa");
	LINKS("banger0", "bgr-aaaaaaaaaa", "bgr-pool-0");
	unsigned ahead = if_nametoindex("bgr-pool-0"), first;
	make("aaaaaaaaaa"); /* as it is */
	make("bbbbbbbbbb");
	LINKS("banger0", "bgr-aaaaaaaaaa", "bgr-bbbbbbbbbb", "bgr-pool-0");
	assert_int_equal(if_nametoindex("bgr-bbbbbbbbbb"), ahead);
	assert_true(attribute("bgr-bbbbbbbbbb", "flags") & IFF_UP);
	assert_int_equal(attribute("bgr-bbbbbbbbbb", "owner"), OWNER);
	first = if_nametoindex("bgr-aaaaaaaaaa");
	take_away("aaaaaaaaaa");
	take_away("aaaaaaaaaa");
	LINKS("banger0", "bgr-bbbbbbbbbb", "bgr-pool-0", "bgr-pool-1");
	assert_int_equal(if_nametoindex("bgr-pool-1"), first);
	assert_false(attribute("bgr-pool-1", "flags") & IFF_UP);
	assert_int_equal(attribute("bgr-pool-1", "owner"), geteuid());
	take_away("nobody");
	assert_true(if_nametoindex("banger0") != 0);
	take_away("bbbbbbbbbb");
	assert_int_equal(if_nametoindex("banger0"), 0);
	assert_int_equal(if_nametoindex("bgr-pool-1"), 0);
	assert_int_equal(if_nametoindex("bgr-pool-0"), 0);
}

static void the_pool_is_small(void)
{
	static const char *const ids[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	for (size_t i = 0; i < ARRAY_COUNT(ids); i++)
		make(ids[i]);
	for (size_t i = 1; i < ARRAY_COUNT(ids); i++)
		take_away(ids[i]);
	LINKS("banger0", "bgr-a", "bgr-pool-0", "bgr-pool-1", "bgr-pool-2", "bgr-pool-3");
	take_away("a");
}

/* As somebody else would. */
static void destroy(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 0UL), 0);
}

/* What a daemon that was killed left of a pool goes with the taps that nobody uses. */
static void a_pool_is_found_by_name(void)
{
	struct error err;
	make("cccccccccc");
	assert_int_equal(net_tap_sweep("/nonexistent", &err), 0);
	assert_int_equal(if_nametoindex("bgr-pool-0"), 0);
	assert_int_equal(if_nametoindex("banger0"), 0);

	/* Whichever there are, and without a tap in use to begin with. */
	make("cccccccccc");
	make("dddddddddd");
	take_away("cccccccccc");
	destroy("bgr-dddddddddd");
	destroy("bgr-pool-0");
	LINKS("banger0", "bgr-pool-1");
	assert_int_equal(net_tap_sweep("/nonexistent", &err), 0);
	assert_int_equal(if_nametoindex("bgr-pool-1"), 0);
	assert_int_equal(if_nametoindex("banger0"), 0);
}

/* A hypervisor that has it open still is not handed to the next VM. */
static void one_that_is_open_is_not_kept(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
				 .ifr_name = "bgr-dddddddddd" };
	make("dddddddddd");
	make("eeeeeeeeee");
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	unsigned index = if_nametoindex("bgr-dddddddddd");
	take_away("dddddddddd");
	char name[IF_NAMESIZE];
	assert_null(if_indextoname(index, name));
	take_away("eeeeeeeeee");
}

/* Those in use, and those that wait for a VM. */
static void a_setting_is_for_all_of_them(void)
{
	struct error err;
	static const char *const taps[] = { "bgr-ffffffffff", "bgr-gggggggggg", "bgr-pool-0" };
	static const bool settings[] = { false, false, true };
	assert_int_equal(net_taps_isolate(false, &err), 0); /* no bridge */
	make("ffffffffff");
	make("gggggggggg");
	for (size_t i = 0; i < ARRAY_COUNT(settings); i++) {
		assert_int_equal(net_taps_isolate(settings[i], &err), 0);
		for (size_t j = 0; j < ARRAY_COUNT(taps); j++) {
			auto_free char *path = xasprintf("%s/brport", taps[j]);
			assert_int_equal(attribute(path, "isolated"), settings[i]);
		}
	}
	assert_int_equal(net_taps_isolate(false, &err), 0);
	make("hhhhhhhhhh"); /* of the pool, and made to be apart */
	assert_int_equal(attribute("bgr-hhhhhhhhhh/brport", "isolated"), 1);
	take_away("ffffffffff");
	take_away("gggggggggg");
	take_away("hhhhhhhhhh");
}

static bool is_alone(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
		return false;
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	return fd >= 0;
}

static void run_alone(void (*test)(void))
{
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (!is_alone())
			_exit(77);
		test();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

#define ALONE(test)                                                                                \
	static void test##_alone(void **state)                                                     \
	{                                                                                          \
		(void)state;                                                                       \
		run_alone(test);                                                                   \
	}
ALONE(taps_are_kept_and_taken_again)
ALONE(the_pool_is_small)
ALONE(a_pool_is_found_by_name)
ALONE(one_that_is_open_is_not_kept)
ALONE(a_setting_is_for_all_of_them)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_subnet_is_read),
		cmocka_unit_test(vms_reach_each_other_only_by_that_word),
		cmocka_unit_test(an_address_stays_the_same_until_it_is_taken),
		cmocka_unit_test(all_addresses_are_given_and_then_none),
		cmocka_unit_test(ssh_is_where_the_address_says),
		cmocka_unit_test(a_resolver_out_of_reach_is_no_resolver),
		cmocka_unit_test(taps_are_kept_and_taken_again_alone),
		cmocka_unit_test(the_pool_is_small_alone),
		cmocka_unit_test(a_pool_is_found_by_name_alone),
		cmocka_unit_test(one_that_is_open_is_not_kept_alone),
		cmocka_unit_test(a_setting_is_for_all_of_them_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
