#include "agent/seed.h"
#include "base/buf.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define GOOD                                                                                       \
	"{\"version\":1,\"id\":\"a1b2c3d4\",\"name\":\"web\",\"hostname\":\"web\","                \
	"\"root\":{\"serial\":\"root\"},\"work\":{\"serial\":\"work\",\"mount\":\"/root\"},"       \
	"\"network\":{\"mac\":\"52:54:00:AB:cd:56\",\"address\":\"10.0.2.15/24\","                 \
	"\"gateway\":\"10.0.2.2\",\"dns\":[\"10.0.2.3\"]},"                                        \
	"\"ready\":{\"kind\":\"ssh\",\"port\":22},\"init\":null,\"hypervisor\":\"qemu\","          \
	"\"authorized_keys\":[\"ssh-ed25519 AAAA me\"],"                                           \
	"\"files\":[{\"path\":\"/etc/motd\",\"mode\":420,\"owner\":\"root:root\",\"blob\":0}]}"

static struct seed *parse(const char *text, struct error *err)
{
	return seed_parse(text, strlen(text), err);
}

/* GOOD with one piece replaced. */
static char *changed(const char *from, const char *to)
{
	struct buf text = BUF_INIT;
	const char *at = strstr(GOOD, from);
	assert_non_null(at);
	buf_add_bytes(&text, GOOD, (size_t)(at - GOOD));
	buf_add(&text, to);
	buf_add(&text, at + strlen(from));
	return buf_take(&text);
}

static void everything_arrives(void **state)
{
	(void)state;
	struct error err = { 0 };
	auto_ptr(seed) seed = parse(GOOD, &err);
	assert_non_null(seed);
	assert_string_equal(seed->id, "a1b2c3d4");
	assert_string_equal(seed->root_serial, "root");
	assert_string_equal(seed->work_mount, "/root");
	assert_string_equal(seed->network.mac, "52:54:00:ab:cd:56");
	assert_int_equal(seed->network.address, inet_addr("10.0.2.15"));
	assert_int_equal(seed->network.netmask, inet_addr("255.255.255.0"));
	assert_int_equal(seed->network.gateway, inet_addr("10.0.2.2"));
	assert_int_equal(seed->network.dns_count, 1);
	assert_int_equal(seed->ready_kind, SEED_READY_SSH);
	assert_int_equal(seed->ready_port, 22);
	assert_null(seed->init);
	assert_int_equal(seed->key_count, 1);
	assert_int_equal(seed->file_count, 1);
	assert_int_equal(seed->files[0].mode, 0644);
}

static void optional_parts_may_be_null(void **state)
{
	(void)state;
	static const char *const changes[][2] = {
		{ "{\"serial\":\"work\",\"mount\":\"/root\"}", "null" },
		{ "\"10.0.2.2\"", "null" },
		{ "[\"10.0.2.3\"]", "[]" },
		{ "[\"ssh-ed25519 AAAA me\"]", "[]" },
		{ "{\"kind\":\"ssh\",\"port\":22}", "{\"kind\":\"ssh\"}" },
		{ "{\"kind\":\"ssh\",\"port\":22}", "{\"kind\":\"none\"}" },
		{ "{\"kind\":\"ssh\",\"port\":22}", "{\"kind\":\"tcp\",\"port\":8080}" },
		{ "null", "\"/sbin/init\"" },
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct error err = { 0 };
		auto_free char *text = changed(changes[i][0], changes[i][1]);
		auto_ptr(seed) seed = parse(text, &err);
		if (!seed)
			fail_msg("%s: %s", text, err.text);
	}
}

static void faults_are_refused(void **state)
{
	(void)state;
	static const char *const changes[][2] = {
		{ "\"version\":1", "\"version\":2" },
		{ "\"version\":1", "\"version\":1,\"extra\":1" },
		{ "\"version\":1", "\"version\":1,\"version\":1" },
		{ "\"version\":1,", "" },
		{ "\"hostname\":\"web\"", "\"hostname\":\"we b\"" },
		{ "\"hostname\":\"web\"", "\"hostname\":\"\"" },
		{ "\"root\":{\"serial\":\"root\"}", "\"root\":null" },
		{ "\"serial\":\"root\"", "\"serial\":\"012345678901234567890\"" },
		{ "\"/root\"", "\"root\"" },
		{ "\"/root\"", "\"/\"" },
		{ "\"/root\"", "\"/a/../b\"" },
		{ "\"/root\"", "\"/a//b\"" },
		{ "\"/root\"", "\"/a/.\"" },
		{ "\"/root\"", "\"/root/\"" },
		{ "52:54:00:AB:cd:56", "52:54:00:AB:cd" },
		{ "52:54:00:AB:cd:56", "52-54-00-AB-cd-56" },
		{ "10.0.2.15/24", "10.0.2.15" },
		{ "10.0.2.15/24", "10.0.2.15/33" },
		{ "10.0.2.15/24", "10.0.2.15/ 24" },
		{ "10.0.2.15/24", "10.0.2.256/24" },
		{ "\"10.0.2.2\"", "\"x\"" },
		{ "[\"10.0.2.3\"]", "[\"10.0.2.3\\nevil\"]" },
		{ "[\"10.0.2.3\"]", "[\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\"]" },
		{ "\"kind\":\"ssh\"", "\"kind\":\"http\"" },
		{ "\"port\":22", "\"port\":0" },
		{ "\"port\":22", "\"port\":65536" },
		{ "\"init\":null", "\"init\":\"init\"" },
		{ "\"hypervisor\":\"qemu\"", "\"hypervisor\":\"xen\"" },
		{ "\"hypervisor\":\"qemu\"", "\"hypervisor\":null" },
		{ "ssh-ed25519 AAAA me", "ssh-ed25519 AAAA me\\nssh-rsa evil" },
		{ "ssh-ed25519 AAAA me", "# banger end" },
		{ "\"mode\":420", "\"mode\":4096" },
		{ "\"mode\":420", "\"mode\":-1" },
		{ "\"mode\":420", "\"mode\":1.5" },
		{ "\"blob\":0", "\"blob\":4096" },
		{ "\"blob\":0", "\"blob\":\"0\"" },
		{ "\"/etc/motd\"", "\"/etc/../motd\"" },
		{ "\"owner\":\"root:root\",", "" },
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct error err = { 0 };
		auto_free char *text = changed(changes[i][0], changes[i][1]);
		auto_ptr(seed) seed = parse(text, &err);
		if (seed)
			fail_msg("taken: %s", text);
		assert_int_equal(err.code, ERROR_INVALID);
		assert_true(strstr(err.text, "seed") != NULL);
	}
}

static void half_a_seed_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(GOOD); len++) {
		struct error err = { 0 };
		auto_ptr(seed) seed = seed_parse(GOOD, len, &err);
		assert_null(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_arrives),
		cmocka_unit_test(optional_parts_may_be_null),
		cmocka_unit_test(faults_are_refused),
		cmocka_unit_test(half_a_seed_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
