/* cli: stats, ports, health and ping of guests. */
#include "test_cli_help.h"

static char params_seen[8192];

#define MISSING                                                                                    \
	"{\"name\":\"x\",\"error\":{\"code\":\"not-found\",\"text\":\"no VM is called 'x'\"}}"

static cJSON *answer(struct fake *fake, const char *method, const cJSON *params, int fd,
		     struct error *err)
{
	auto_free char *text = params ? json_print(params) : xstrdup("{}");
	size_t used = strlen(params_seen);
	(void)fake, (void)fd;
	snprintf(params_seen + used, sizeof(params_seen) - used, "%s %s\n", method, text);
	if (!strcmp(method, "vm.list"))
		return cli_json("{\"items\":[{\"name\":\"web\",\"pid\":7},{\"name\":\"off\"}]}");
	if (!strcmp(method, "vm.stats"))
		return cli_json(
			"{\"items\":[{\"name\":\"web\",\"stats\":{\"cpus\":2,\"load_1\":152,"
			"\"uptime_ms\":61000,\"memory_total\":268435456,"
			"\"memory_available\":134217728,\"root_size\":2147483648,"
			"\"root_used\":1073741824}}," MISSING "]}");
	if (!strcmp(method, "vm.ports"))
		return cli_json("{\"items\":[{\"name\":\"web\",\"ports\":{\"truncated\":true,"
				"\"ports\":[{\"proto\":\"tcp\",\"bind\":\"0.0.0.0\",\"port\":80,"
				"\"pid\":9,\"process\":\"httpd\",\"endpoint\":\"127.0.0.1:8080\"},"
				"{\"proto\":\"udp\",\"bind\":\"::1\",\"port\":53,\"pid\":0,"
				"\"process\":\"\",\"endpoint\":null}]}}]}");
	if (!strcmp(method, "vm.health"))
		return cli_json("{\"items\":[{\"name\":\"web\",\"health\":{\"ok\":true}},"
				"{\"name\":\"db\",\"health\":{\"ok\":false,\"problems\":"
				"[\"the root disk is full\"]}}]}");
	if (!strcmp(method, "vm.ping"))
		return cli_json("{\"items\":[{\"name\":\"web\",\"ping\":{\"took_ms\":3,"
				"\"uptime_ms\":2500}}]}");
	error_set(err, ERROR_NOT_FOUND, "the test does not know %s", method);
	return NULL;
}

static struct fake fake;

static void with_daemon(void)
{
	params_seen[0] = '\0';
	fake = (struct fake){ .answer = answer };
	fake_start(&fake);
}

static void stats_are_a_table_and_errors_beside_it(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("stats", "web", "x");
	fake_end(&fake);
	assert_int_equal(ran.status, 2);
	assert_string_equal(ran.out, "NAME  CPUS  LOAD       MEMORY         ROOT  WORK   UP\n"
				     "web      2  1.52  128Mi/256Mi  1.0Gi/2.0Gi     -  61s\n");
	assert_non_null(strstr(ran.err, "no VM is called 'x'"));
}

static void ports_ask_all_that_run(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("ports");
	fake_end(&fake);
	assert_int_equal(ran.status, 0);
	assert_string_equal(ran.out, "NAME  PROTO  BIND     PORT  PROCESS    ENDPOINT\n"
				     "web   tcp    0.0.0.0    80  httpd (9)  127.0.0.1:8080\n"
				     "web   udp    ::1        53  -          -\n");
	assert_non_null(strstr(ran.err, "more ports than are listed"));
	assert_non_null(strstr(params_seen, "vm.ports {\"names\":[\"web\"]}"));
}

static void health_names_what_is_wrong(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("vm", "health", "web", "db");
	fake_end(&fake);
	assert_int_equal(ran.status, 1);
	assert_string_equal(ran.out, "web: well\ndb: not well\n  the root disk is full\n");
}

static void ping_is_of_the_daemon_or_of_guests(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran guest = RAN("ping", "web");
	auto_ran struct ran daemon = RAN("ping");
	fake_end(&fake);
	assert_int_equal(guest.status, 0);
	assert_string_equal(guest.out, "web: answered in 3 ms, up for 2.5 s\n");
	assert_int_equal(daemon.status, 0);
	assert_non_null(strstr(daemon.out, "pid 100"));
}

static void many_names_go_in_several_requests(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("ping", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10",
				      "11", "12", "13", "14", "15", "16", "17");
	fake_end(&fake);
	assert_int_equal(ran.status, 0);
	assert_non_null(strstr(params_seen, "vm.ping {\"names\":[\"17\"]}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stats_are_a_table_and_errors_beside_it),
		cmocka_unit_test(ports_ask_all_that_run),
		cmocka_unit_test(health_names_what_is_wrong),
		cmocka_unit_test(ping_is_of_the_daemon_or_of_guests),
		cmocka_unit_test(many_names_go_in_several_requests),
	};
	return cmocka_run_group_tests_name("cli/guest", tests, cli_set_up, cli_tear_down);
}
