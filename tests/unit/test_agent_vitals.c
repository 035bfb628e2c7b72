/* agent vitals, listeners: the kernel's own tables, whole, cut off and hostile. */
#include "agent/listeners.h"
#include "agent/vitals.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <sys/stat.h>

#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
#define TAIL " 00000000:00000000 00:00000000 00000000     0        0 "

static void memory_and_load_are_read_from_the_kernels_text(void **state)
{
	(void)state;
	static const char text[] = "MemTotal:         122880 kB\nMemFree: 1 kB\n"
				   "MemAvailable:      61440 kB\nShort";
	uint64_t load[3];
	assert_int_equal(meminfo_bytes(text, "MemTotal"), 122880 * 1024);
	assert_int_equal(meminfo_bytes(text, "MemAvailable"), 61440 * 1024);
	assert_int_equal(meminfo_bytes(text, "Mem"), 0);
	assert_int_equal(meminfo_bytes("MemTotal: 99999999999999999999999 kB", "MemTotal"), 0);
	assert_int_equal(meminfo_bytes("", "MemTotal"), 0);
	loadavg_parse("0.52 12.08 3.9 1/467 12345\n", load);
	assert_int_equal(load[0], 52);
	assert_int_equal(load[1], 1208);
	assert_int_equal(load[2], 390);
	loadavg_parse("rubbish", load);
	assert_int_equal(load[0] + load[1] + load[2], 0);
	loadavg_parse("1. ", load);
	assert_int_equal(load[0], 100);
}

static void failed_units_are_the_first_words(void **state)
{
	(void)state;
	char text[] = "a.service loaded failed failed What\n\n  b.mount loaded\nc";
	auto_json cJSON *list = cJSON_CreateArray();
	units_parse(text, list);
	assert_int_equal(cJSON_GetArraySize(list), 3);
	assert_string_equal(cJSON_GetArrayItem(list, 1)->valuestring, "b.mount");
	auto_buf struct buf many = BUF_INIT;
	for (int i = 0; i < 100; i++)
		buf_add(&many, "x.service failed\n");
	units_parse(many.data, list);
	assert_int_equal(cJSON_GetArraySize(list), VITALS_UNITS_MAX);
}

static void listening_sockets_are_found_and_others_are_not(void **state)
{
	(void)state;
	struct listeners found = { 0 };
	listeners_add(&found,
		      HEAD "   0: 0100007F:0016 00000000:0000 0A" TAIL "100 1 0\n"
			   "   1: 00000000:1F90 00000000:0000 0A" TAIL "101 1 0\n"
			   "   2: 00000000:1F90 00000000:0000 0A" TAIL "102 1 0\n" /* twice */
			   "   3: 0100007F:0016 0100007F:D431 01" TAIL "103 1 0\n"
			   "   4: 0100007F",
		      false);
	listeners_add(&found,
		      HEAD "   0: 00000000000000000000000001000000:0035 "
			   "00000000000000000000000000000000:0000 07" TAIL "104 2 0\n",
		      true);
	assert_int_equal(found.count, 3);
	assert_string_equal(found.at[0].address, "127.0.0.1");
	assert_int_equal(found.at[0].port, 22);
	assert_int_equal(found.at[0].inode, 100);
	assert_string_equal(found.at[1].address, "0.0.0.0");
	assert_int_equal(found.at[1].port, 8080);
	assert_true(found.at[2].udp);
	assert_string_equal(found.at[2].address, "::1");
	assert_int_equal(found.at[2].port, 53);
}

static void a_table_of_any_length_stays_bounded(void **state)
{
	(void)state;
	struct listeners found = { 0 };
	auto_buf struct buf text = BUF_INIT;
	for (unsigned i = 1; i < 1000; i++)
		buf_addf(&text, "   %u: 00000000:%04X 00000000:0000 0A" TAIL "%u 1 0\n", i, i, i);
	for (unsigned i = 0; i < 5000; i++)
		buf_add_char(&text, 'A');
	listeners_add(&found, text.data, false);
	assert_int_equal(found.count, LISTENERS_MAX);
	assert_true(found.truncated);
}

static void make(const char *path, const char *text)
{
	struct error err;
	assert_int_equal(fs_write(AT_FDCWD, path, text, strlen(text), 0644, &err), 0);
}

static void the_owner_is_who_holds_the_socket(void **state)
{
	(void)state;
	struct error err;
	char top[] = "/tmp/banger-proc-XXXXXX";
	assert_non_null(mkdtemp(top));
	auto_free char *fds = xasprintf("%s/42/fd", top);
	auto_free char *link = xasprintf("%s/42/fd/3", top);
	auto_free char *other = xasprintf("%s/42/fd/4", top);
	auto_free char *comm = xasprintf("%s/42/comm", top);
	auto_free char *self = xasprintf("%s/self", top);
	assert_int_equal(fs_mkdirs(fds, 0755, &err), 0);
	assert_int_equal(fs_mkdirs(self, 0755, &err), 0);
	assert_int_equal(symlink("socket:[100]", link), 0);
	assert_int_equal(symlink("/dev/null", other), 0);
	make(comm, "dropbear\n");
	struct listeners found = { 0 };
	listeners_add(&found, "   0: 00000000:0016 00000000:0000 0A" TAIL "100 1 0\n", false);
	listeners_add(&found, "   0: 00000000:0017 00000000:0000 0A" TAIL "200 1 0\n", false);
	listeners_find_owners(&found, top);
	assert_int_equal(found.at[0].pid, 42);
	assert_string_equal(found.at[0].process, "dropbear");
	assert_int_equal(found.at[1].pid, 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, top, &err), 0);
}

/* By this machine's own files: every member that PROTOCOL.md promises is there. */
static void the_answers_have_their_members(void **state)
{
	(void)state;
	static const char *const numbers[] = {
		"uptime_ms", "cpus",	  "memory_total", "load_1",
		"root_size", "root_used", "work_size",	  "work_used"
	};
	struct error err;
	struct seed seed = { .work_mount = (char[]){ "/tmp" } };
	struct agent agent = { .seed = &seed };
	auto_json cJSON *stats = cJSON_CreateObject();
	auto_json cJSON *health = cJSON_CreateObject();
	auto_json cJSON *ports = cJSON_CreateObject();
	assert_int_equal(vitals_stats(&agent, stats, &err), 0);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		assert_true(json_int(stats, numbers[i], -1) >= 0);
	assert_int_equal(strlen(json_str(stats, "boot_id", "")), 36);
	assert_int_equal(vitals_health(&agent, health, &err), 0);
	assert_false(json_bool(health, "ok", true));
	assert_string_equal(json_get(health, "problems")->child->valuestring,
			    "it is not ready yet");
	assert_int_equal(listeners_tell(ports, &err), 0);
	assert_true(cJSON_IsArray(json_get(ports, "ports")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_and_load_are_read_from_the_kernels_text),
		cmocka_unit_test(failed_units_are_the_first_words),
		cmocka_unit_test(listening_sockets_are_found_and_others_are_not),
		cmocka_unit_test(a_table_of_any_length_stays_bounded),
		cmocka_unit_test(the_owner_is_who_holds_the_socket),
		cmocka_unit_test(the_answers_have_their_members),
	};
	return cmocka_run_group_tests_name("agent/vitals", tests, NULL, NULL);
}
