/* cli: VMs by name: lists, verbs on several of them, logs, ssh, the daemon itself. */
#include "test_cli_help.h"

#include <inttypes.h>

static char params_seen[8192]; /* of every call, one after another */
static const char *ssh_ready = "true";

static cJSON *list_answer(const cJSON *params)
{
	if (json_int(params, "offset", 0) == 0)
		return cli_json(
			"{\"items\":[{\"name\":\"web\",\"state\":\"ready\",\"ready\":true,"
			"\"image\":\"tiny\",\"vcpus\":2,\"memory\":268435456,\"pid\":77,"
			"\"ports\":[\"8080:80\",\"53:53/udp\"],\"stack\":\"shop\","
			"\"hypervisor\":\"qemu\",\"accel\":\"tcg\",\"boot_ms\":4200,"
			"\"address\":\"127.9.9.9\",\"id\":\"a1\",\"file\":\"/w/vms.yaml\"}],"
			"\"next\":1}");
	return cli_json(
		"{\"items\":[{\"name\":\"db\",\"state\":\"failed\",\"ready\":false,"
		"\"image\":\"tiny\",\"vcpus\":1,\"memory\":134217728,\"pid\":0,\"stack\":null,"
		"\"reason\":\"said \\u001b]0;x\\u0007boo\"}]}");
}

static cJSON *verb_answer(const cJSON *params)
{
	cJSON *reply = cJSON_CreateObject(), *items = cJSON_AddArrayToObject(reply, "items");
	const cJSON *name;
	cJSON_ArrayForEach(name, json_get(params, "names"))
	{
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "name", name->valuestring);
		if (!strcmp(name->valuestring, "nope")) {
			cJSON *error = cJSON_AddObjectToObject(item, "error");
			json_add_str(error, "code", "not-found");
			json_add_str(error, "text", "no VM is called 'nope'");
		} else if (strcmp(name->valuestring, "idle") != 0) {
			json_add_str(item, "op", "7-1");
		}
		cJSON_AddItemToArray(items, item);
	}
	return reply;
}

static cJSON *logs_answer(const cJSON *params)
{
	if (json_int(params, "offset", -1) >= 0)
		return cli_json("{\"data\":\"\",\"offset\":30}");
	return cli_json("{\"data\":\"boot \\u001b[32mok\\u001b[0m\\n\",\"offset\":30}");
}

#define SPEC "{\"name\":\"web\",\"image\":\"tiny\",\"vcpus\":2,\"memory\":268435456}"
#define SET_RESTART                                                                                \
	"{\"plan\":{\"stack\":\"\",\"digest\":\"bb\",\"to_change\":1,\"to_restart\":1,\"vms\":["   \
	"{\"name\":\"web\",\"kind\":\"restart\",\"class\":\"restart\",\"disruptive\":true,"        \
	"\"changes\":[{\"key\":\"vcpus\",\"from\":\"1\",\"to\":\"2\",\"class\":\"restart\"}]}]}%"  \
	"s}"

static cJSON *set_answer(const cJSON *params)
{
	auto_free char *text = NULL;
	auto_buf struct buf reply = BUF_INIT;
	(void)text;
	buf_addf(&reply, SET_RESTART, json_bool(params, "dry_run", false) ? "" : ",\"op\":\"7-1\"");
	return cli_json(reply.data);
}

static cJSON *answer(struct fake *fake, const char *method, const cJSON *params, int fd,
		     struct error *err)
{
	auto_free char *text = params ? json_print(params) : xstrdup("{}");
	size_t used = strlen(params_seen);
	(void)fake;
	(void)fd;
	snprintf(params_seen + used, sizeof(params_seen) - used, "%s %s\n", method, text);
	if (!strcmp(method, "vm.list"))
		return list_answer(params);
	if (!strcmp(method, "vm.logs"))
		return logs_answer(params);
	if (!strcmp(method, "vm.set"))
		return set_answer(params);
	if (!strcmp(method, "vm.create"))
		return cli_json("{\"name\":\"web\",\"op\":\"7-1\"}");
	if (!strcmp(method, "vm.show"))
		return cli_json("{\"vm\":{\"name\":\"web\",\"state\":\"ready\",\"stack\":\"shop\"},"
				"\"spec\":" SPEC ",\"applied\":null}");
	if (!strcmp(method, "vm.ssh") && !strcmp(json_str(params, "name", ""), "off")) {
		error_set(err, ERROR_CONFLICT, "vm 'off' is not running, start it with ...");
		return NULL;
	}
	if (!strcmp(method, "vm.ssh")) {
		auto_free char *reply = xasprintf(
			"{\"address\":\"127.0.0.9\",\"port\":2222,\"user\":\"root\",\"identity\":"
			"\"/i\",\"known_hosts\":\"/k\",\"alias\":\"a\",\"ready\":%s,"
			"\"state\":\"starting\"}",
			ssh_ready);
		return cli_json(reply);
	}
	if (!strcmp(method, "op.wait"))
		return cli_json(
			"{\"items\":[{\"id\":\"7-1\",\"kind\":\"stop\",\"stage\":\"stopped\","
			"\"started_ms\":1,\"updated_ms\":501,\"done\":true,\"success\":true,"
			"\"version\":9}],\"seen\":9}");
	if (!strcmp(method, "doctor"))
		return cli_json(
			"{\"items\":[{\"check\":\"kvm\",\"status\":\"warn\",\"detail\":\"slow\","
			"\"fix\":\"enable it\"},{\"check\":\"qemu\",\"status\":\"fail\","
			"\"detail\":\"missing\",\"fix\":\"install it\"}]}");
	if (!strncmp(method, "vm.", 3))
		return verb_answer(params);
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

static void ps_sorts_and_cleans(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("ps");
	auto_ran struct ran names = RAN("vm", "list", "-q");
	auto_ran struct ran wide = RAN("ps", "-o", "wide");
	auto_ran struct ran list = RAN("ps", "-o", "json");
	fake_end(&fake);
	assert_int_equal(ran.status, 0);
	assert_string_equal(
		ran.out,
		"NAME  STATE   READY  IMAGE  VCPUS  MEMORY  PORTS              STACK  WORKSPACE  "
		"AGE  REASON\n"
		"db    failed  no     tiny       1   128Mi  -                  -      -            "
		"-  said boo\n"
		"web   ready   yes    tiny       2   256Mi  8080:80,53:53/udp  shop   -            "
		"-  -\n");
	assert_string_equal(names.out, "db\nweb\n");
	assert_contains(wide.out, "127.9.9.9  77   qemu/tcg    4.2s  /w/vms.yaml");
	assert_int_equal(list.out[0], '[');
}

static void several_names_end_each_in_its_way(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("stop", "web", "nope", "idle", "web");
	fake_end(&fake);
	assert_int_equal(ran.status, 2);
	assert_string_equal(ran.out, "web stopped in 0.5s\nidle stopped already\n");
	assert_contains(ran.err, "banger: no VM is called 'nope'");
	assert_contains(params_seen, "{\"names\":[\"web\",\"nope\",\"idle\"]}");
}

static void create_sends_fields(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran =
		RAN("create", "--memory", "512Mi", "web", "--kernel-args=quiet", "-p", "1:2", "-p",
		    "3:4", "--nat", "--set", "labels=a=b", "--no-start");
	auto_ran struct ran bad = RAN("create", "web", "--set", "memory");
	fake_end(&fake);
	assert_int_equal(ran.status, 0);
	assert_contains(params_seen, "vm.create {\"name\":\"web\",\"set\":[\"kernel_args=quiet\","
				     "\"memory=512Mi\",\"nat=true\",\"ports=1:2,3:4\","
				     "\"labels=a=b\"],\"start\":false}");
	assert_int_equal(bad.status, 2);
}

static void set_shows_and_asks(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran refused = RAN("set", "web", "vcpus=2");
	auto_ran struct ran asked = RAN_TTY("y\n", "set", "web", "vcpus=2");
	auto_ran struct ran yes = RAN("set", "web", "--vcpus", "2", "-y");
	auto_ran struct ran nothing = RAN("set", "web");
	auto_ran struct ran stray = RAN("set", "web", "vcpus");
	fake_end(&fake);
	assert_int_equal(refused.status, 3);
	assert_contains(refused.out, "vcpus 1 -> 2 (restart)");
	assert_int_equal(asked.status, 0);
	assert_int_equal(yes.status, 0);
	assert_int_equal(nothing.status, 2);
	assert_int_equal(stray.status, 2);
	assert_string_equal(fake.said, "vm.set\nvm.set\nvm.set\nop.wait\nvm.list\nvm.list\nvm."
				       "set\nvm.set\nop.wait\nvm.list\nvm.list\n");
}

static void show_gives_a_file(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran yaml = RAN("show", "web", "-o", "yaml");
	auto_ran struct ran text = RAN("show", "web");
	fake_end(&fake);
	assert_int_equal(yaml.status, 0);
	assert_contains(yaml.out, "version: 1\n");
	assert_contains(yaml.out, "stack: shop\n");
	assert_contains(yaml.out, "  web:\n");
	assert_contains(text.out, "state        ready\n");
}

static void logs_are_harmless_on_a_terminal(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran pipe = RAN("logs", "web", "--tail", "5");
	auto_ran struct ran tty = RAN_TTY("", "logs", "web");
	auto_ran struct ran raw = RAN_TTY("", "logs", "web", "--raw");
	auto_ran struct ran bad = RAN("logs", "web", "--tail", "many");
	fake_end(&fake);
	assert_string_equal(pipe.out, "boot \033[32mok\033[0m\n");
	assert_string_equal(tty.out, "boot ok\n");
	assert_string_equal(raw.out, "boot \033[32mok\033[0m\n");
	assert_int_equal(bad.status, 2);
	assert_contains(params_seen, "\"tail\":5");
}

/* Puts a program called ssh first in PATH. */
static void fake_ssh(const char *script)
{
	struct error err;
	static char before[4096];
	if (!before[0])
		snprintf(before, sizeof(before), "%s", getenv("PATH"));
	auto_free char *file = xasprintf("%s/ssh", cli_home);
	auto_free char *path = xasprintf("%s:%s", cli_home, before);
	auto_free char *text = xasprintf("#!/bin/sh\n%s\n", script);
	assert_int_equal(fs_write(AT_FDCWD, file, text, strlen(text), 0755, &err), 0);
	setenv("PATH", path, 1);
}

static void ssh_passes_the_status_through(void **state)
{
	(void)state;
	static const struct {
		const char *script;
		int status;
	} cases[] = {
		{ "exit 42", 42 },
		{ "exit 0", 0 },
		{ "exit 255", 125 },
		/* Connected: what LocalCommand does, then the guest's own 255. */
		{ "for a; do case $a in LocalCommand=*) ${a#LocalCommand=} ;; esac; done; exit 255",
		  255 },
		{ "kill -KILL $$", 137 },
	};
	with_daemon();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		fake_ssh(cases[i].script);
		auto_ran struct ran ran = RAN("ssh", "web", "--", "true");
		assert_int_equal(ran.status, cases[i].status);
	}
	auto_free char *file = xasprintf("%s/ssh", cli_home);
	unlink(file);
	setenv("PATH", cli_home, 1);
	auto_ran struct ran none = RAN("ssh", "web");
	auto_ran struct ran off = RAN("ssh", "off");
	ssh_ready = "false";
	auto_ran struct ran late = RAN("ssh", "web", "--timeout", "1200ms");
	ssh_ready = "true";
	fake_end(&fake);
	assert_int_equal(none.status, 125);
	assert_contains(none.err, "cannot run ssh");
	assert_int_equal(off.status, 125);
	assert_int_equal(late.status, 125);
	assert_contains(late.err, "vm 'web' is starting, waiting for it");
}

static void doctor_fails_when_a_check_does(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("doctor");
	fake_end(&fake);
	assert_int_equal(ran.status, 4);
	assert_contains(ran.out, "qemu   fail    missing\n");
	assert_contains(ran.out, "\nqemu: install it\n");
	auto_ran struct ran none = RAN("doctor");
	assert_int_equal(none.status, 4);
	assert_contains(none.out, "daemon  fail");
}

static void without_a_daemon_it_says_so(void **state)
{
	(void)state;
	auto_ran struct ran ping = RAN("ping");
	auto_ran struct ran status = RAN("daemon", "status");
	auto_ran struct ran stop = RAN("daemon", "stop");
	auto_ran struct ran ps = RAN("ps");
	auto_ran struct ran names = RAN("__names", "vm");
	assert_int_equal(ping.status, 4);
	assert_int_equal(status.status, 4);
	assert_string_equal(status.out, "bangerd does not run\n");
	assert_int_equal(stop.status, 0);
	assert_int_equal(ps.status, 4);
	assert_contains(ps.err, "bangerd ended while it started");
	assert_contains(ps.err, "bangerd.log");
	assert_int_equal(names.status, 0);
	assert_string_equal(names.out, "");
}

static void ping_tells_who_answers(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("ping");
	auto_ran struct ran names = RAN("__names", "vm");
	fake_end(&fake);
	assert_int_equal(ran.status, 0);
	auto_free char *expected = xasprintf("version %s\n", cli_version);
	assert_contains(ran.out, expected);
	assert_contains(ran.out, "pid 100\n");
	assert_string_equal(names.out, "web\ndb\n");
}

static void a_dying_daemon_is_asked_again(void **state)
{
	(void)state;
	with_daemon();
	fake.dying = 1;
	auto_ran struct ran ran = RAN("ps");
	fake.dying = 100;
	auto_ran struct ran never = RAN("ps");
	fake.dying = 0;
	fake_end(&fake);
	assert_int_equal(ran.status, 0);
	assert_string_equal(ran.err, "");
	assert_int_equal(never.status, 4);
	assert_contains(never.err, "Connection reset by peer");
}

static void prune_asks_for_what_is_idle(void **state)
{
	(void)state;
	with_daemon();
	auto_ran struct ran ran = RAN("prune");
	auto_ran struct ran no = RAN_TTY("n\n", "prune");
	auto_ran struct ran yes = RAN("prune", "--yes");
	fake_end(&fake);
	assert_int_equal(ran.status, 3);
	assert_contains(ran.err, "  - db\n");
	assert_lacks(ran.err, "  - web\n");
	assert_int_equal(no.status, 3);
	assert_int_equal(yes.status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ps_sorts_and_cleans),
		cmocka_unit_test(several_names_end_each_in_its_way),
		cmocka_unit_test(create_sends_fields),
		cmocka_unit_test(set_shows_and_asks),
		cmocka_unit_test(show_gives_a_file),
		cmocka_unit_test(logs_are_harmless_on_a_terminal),
		cmocka_unit_test(doctor_fails_when_a_check_does),
		cmocka_unit_test(without_a_daemon_it_says_so),
		cmocka_unit_test(a_dying_daemon_is_asked_again),
		cmocka_unit_test(ping_tells_who_answers),
		cmocka_unit_test(prune_asks_for_what_is_idle),
		cmocka_unit_test(ssh_passes_the_status_through),
	};
	return cmocka_run_group_tests(tests, cli_set_up, cli_tear_down);
}
