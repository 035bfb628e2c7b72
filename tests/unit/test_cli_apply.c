/* cli: from files to results: plan, question, digest, waiting, exit statuses. */
#include "test_cli_help.h"

#include <signal.h>

static char work[64]; /* a directory that is called "shop" */

#define PLAN_EMPTY                                                                                 \
	"{\"plan\":{\"stack\":\"shop\",\"digest\":\"0000000000000000\",\"unchanged\":1,\"vms\":[]" \
	"}}"
#define PLAN_CREATE                                                                                \
	"{\"plan\":{\"stack\":\"shop\",\"digest\":\"00000000000000aa\",\"to_create\":1,"           \
	"\"vms\":[{\"name\":\"web\",\"kind\":\"create\",\"class\":\"none\","                       \
	"\"summary\":\"tiny, 2 vcpus, 256Mi\"}]}}"
#define PLAN_RESTART                                                                               \
	"{\"plan\":{\"stack\":\"shop\",\"digest\":\"00000000000000bb\",\"to_change\":1,"           \
	"\"to_restart\":1,\"vms\":[{\"name\":\"web\",\"kind\":\"restart\",\"class\":\"restart\","  \
	"\"disruptive\":true,\"changes\":[{\"key\":\"vcpus\",\"from\":\"1\",\"to\":\"2\","         \
	"\"class\":\"restart\"}]}]}}"
#define PLAN_REFUSE                                                                                \
	"{\"plan\":{\"stack\":\"shop\",\"digest\":\"00000000000000cc\",\"refused\":1,"             \
	"\"vms\":[{\"name\":\"web\",\"kind\":\"refuse\",\"class\":\"none\","                       \
	"\"reason\":\"belongs to stack 'other'\"}]}}"

#define PLAN_PENDING                                                                                \
	"{\"plan\":{\"stack\":\"shop\",\"digest\":\"00000000000000dd\",\"to_change\":1,"            \
	"\"pending\":1,\"vms\":[{\"name\":\"web\",\"kind\":\"live\",\"class\":\"live\","            \
	"\"disruptive\":false,\"pending\":true,\"changes\":[{\"key\":\"vcpus\",\"from\":\"1\","     \
	"\"to\":\"2\",\"class\":\"restart\",\"pending\":true},{\"key\":\"nat\",\"from\":\"false\"," \
	"\"to\":\"true\",\"class\":\"live\"}]}]}}"

#define OP_DONE                                                                                    \
	"{\"items\":[{\"id\":\"1-1\",\"kind\":\"create\",\"name\":\"web\",\"stage\":\"ready\","    \
	"\"started_ms\":1000,\"updated_ms\":5200,\"done\":true,\"success\":true,\"version\":3}],"  \
	"\"seen\":3}"
#define OP_FAILED                                                                                  \
	"{\"items\":[{\"id\":\"1-1\",\"kind\":\"create\",\"name\":\"web\",\"stage\":\"boot\","     \
	"\"started_ms\":1000,\"updated_ms\":5200,\"done\":true,\"success\":false,\"version\":3,"   \
	"\"error\":{\"code\":\"busy\",\"text\":\"port 8080 is taken by \\u001b[31mnginx\"}}],"     \
	"\"seen\":3}"
#define OP_RUNNING                                                                                 \
	"{\"items\":[{\"id\":\"1-1\",\"kind\":\"create\",\"name\":\"web\",\"stage\":\"boot\","     \
	"\"detail\":\"kernel\",\"started_ms\":1000,\"updated_ms\":2000,\"done\":false,"            \
	"\"success\":false,\"version\":2}],\"seen\":2}"
#define OP_NOTHING "{\"items\":[],\"seen\":2}"

/* What the daemon of a test says: one text a method, NULL: not expected. */
struct script {
	struct fake fake; /* first: fake_answer() casts back */
	const char *plan, *apply, *wait;
	const char *plan_later; /* from the second time on; NULL: the same */
	enum error_code apply_error;
	unsigned plans, waits, lists;
	char params[8192]; /* of apply */
	char plan_params[8192];
	bool interrupt, die; /* at the first op.wait */
};

static cJSON *wait_answer(struct script *s)
{
	s->waits++;
	if (s->interrupt)
		kill(getpid(), SIGINT);
	if (s->die && s->waits == 1) {
		/* Another daemon from here on. */
		s->fake.pid++;
		return NULL;
	}
	return cli_json(s->waits == 1 && s->wait[0] == '+' ? OP_RUNNING
							   : s->wait + (*s->wait == '+'));
}

static cJSON *answer(struct fake *fake, const char *method, const cJSON *params, int fd,
		     struct error *err)
{
	struct script *s = (struct script *)fake;
	auto_free char *text = params ? json_print(params) : xstrdup("");
	(void)fd;
	if (!strcmp(method, "plan")) {
		snprintf(s->plan_params, sizeof(s->plan_params), "%s", text);
		return cli_json(s->plans++ && s->plan_later ? s->plan_later : s->plan);
	}
	if (!strcmp(method, "apply") || !strcmp(method, "delete")) {
		snprintf(s->params, sizeof(s->params), "%s", text);
		if (s->apply_error)
			error_set(err, s->apply_error, "the plan has moved");
		return s->apply_error ? NULL : cli_json(s->apply);
	}
	if (!strcmp(method, "op.wait"))
		return wait_answer(s);
	if (!strcmp(method, "vm.list"))
		return cli_json(s->lists++ == 0
					? "{\"items\":[{\"name\":\"web\",\"state\":\"starting\"}]}"
					: "{\"items\":[{\"name\":\"web\",\"state\":\"ready\","
					  "\"ready\":true}]}");
	error_set(err, ERROR_SYSTEM, "the test did not expect %s", method);
	return NULL;
}

static struct script script_of(const char *plan, const char *apply, const char *wait)
{
	return (struct script){ .fake.answer = answer, .plan = plan, .apply = apply, .wait = wait };
}

#define OPS_WEB "{\"ops\":[{\"name\":\"web\",\"op\":\"1-1\"}]}"

static void apply_sends_the_files_and_tells_the_end(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, OPS_WEB, "+" OP_DONE);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "-f", "vms.yaml", "--prune");
	fake_end(&s.fake);
	assert_string_equal(ran.err, "web: boot: kernel (0.0s)\nweb: ready (4.2s)\n");
	assert_int_equal(ran.status, 0);
	assert_contains(ran.out, "+ web            create   tiny, 2 vcpus, 256Mi\n");
	assert_contains(ran.out, "web ready in 4.2s (ssh: banger ssh web)\n");
	assert_string_equal(s.fake.said, "plan\napply\nop.wait\nop.wait\nvm.list\n");
	assert_string_equal(s.fake.text, "version: 1\nvms: {web: {}}\n");
	assert_contains(s.params, "\"digest\":\"00000000000000aa\"");
	assert_contains(s.params, "\"prune\":true");
	assert_contains(s.params, "\"stack\":\"shop\"");
	assert_contains(s.params, "/shop/vms.yaml\",\"directory\":");
	assert_contains(s.params, "\"length\":26");
	assert_lacks(s.params, "take_over");
}

static void a_directory_is_one_stack_in_one_descriptor(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_EMPTY, "{\"ops\":[]}", OP_NOTHING);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "-f", ".");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 0);
	assert_string_equal(s.fake.text, "vms: {db: {}}\nversion: 1\nvms: {web: {}}\n");
	assert_contains(s.params, "/shop/db.yml\"");
	assert_contains(s.params, "\"stack\":\"shop\"");
	assert_lacks(s.params, ".hidden");
	assert_contains(ran.out, "Nothing to do: 1 unchanged.\n");
}

static void standard_input_has_no_place(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_EMPTY, "{\"ops\":[]}", OP_NOTHING);
	fake_start(&s.fake);
	auto_ran struct ran ran = ran_with("stack: x\nvms: {}\n", false, "diff", "-f", "-", NULL);
	fake_end(&s.fake);
	assert_int_equal(ran.status, 0);
	assert_string_equal(s.fake.text, "stack: x\nvms: {}\n");
	assert_contains(s.plan_params, "\"name\":\"-\"");
	assert_contains(s.plan_params, "\"stack\":\"\",\"path\":\"\"");
}

static void an_interruption_is_asked_for(void **state)
{
	(void)state;
	static const struct {
		const char *input;
		bool tty;
		const char *flag;
		int status;
		const char *said, *err;
	} cases[] = {
		{ "", false, "-v", 3, "plan\n", "--yes" },
		{ "n\n", true, "-v", 3, "plan\n", "Do you want to apply this? [y/N]" },
		{ "", true, "-v", 3, "plan\n", "nothing was done" },
		{ "y\n", true, "-v", 0, "plan\napply\nop.wait\nvm.list\n", "[y/N]" },
		{ "", false, "-y", 0, "plan\napply\nop.wait\nvm.list\n", "" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct script s = script_of(PLAN_RESTART, OPS_WEB, OP_DONE);
		fake_start(&s.fake);
		auto_ran struct ran ran =
			ran_with(cases[i].input, cases[i].tty, "apply", cases[i].flag, NULL);
		fake_end(&s.fake);
		assert_int_equal(ran.status, cases[i].status);
		assert_string_equal(s.fake.said, cases[i].said);
		assert_contains(ran.err, cases[i].err);
		assert_contains(ran.out, "vcpus 1 -> 2 (restart)");
	}
}

static void restarts_are_agreed_to_or_left(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_RESTART, OPS_WEB, OP_DONE);
	fake_start(&s.fake);
	auto_ran struct ran agreed = RAN("apply", "--restart");
	auto_ran struct ran both = RAN("apply", "--restart", "--no-restart");
	fake_end(&s.fake);
	assert_int_equal(agreed.status, 0);
	assert_contains(s.params, "\"may_restart\":true");
	assert_int_equal(both.status, 2);

	s = script_of(PLAN_PENDING, OPS_WEB, OP_DONE);
	fake_start(&s.fake);
	auto_ran struct ran left = RAN("apply", "--no-restart");
	auto_ran struct ran diff = RAN("diff", "--no-restart");
	fake_end(&s.fake);
	assert_int_equal(left.status, 3);
	assert_contains(s.params, "\"no_restart\":true");
	assert_contains(s.plan_params, "\"no_restart\":true");
	assert_contains(left.out, "vcpus 1 -> 2 (restart, pending)");
	assert_contains(left.err, "vm 'web' pending a restart: vcpus 1 -> 2\n");
	assert_int_equal(diff.status, 1);
}

static void a_plan_that_moved_is_shown_again(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, NULL, OP_NOTHING);
	s.apply_error = ERROR_CONFLICT;
	s.plan_later = PLAN_RESTART;
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 3);
	assert_contains(ran.err, "the plan changed in the meantime");
	assert_contains(ran.out, "vcpus 1 -> 2 (restart)");
}

static void a_plan_that_was_carried_out_meanwhile_is_done(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, NULL, OP_NOTHING);
	s.apply_error = ERROR_CONFLICT;
	s.plan_later = PLAN_EMPTY;
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 0);
	assert_contains(ran.err, "has been done in the meantime");
}

static void a_refusal_that_stays_is_quoted(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, NULL, OP_NOTHING);
	s.apply_error = ERROR_CONFLICT;
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 3);
	assert_contains(ran.err, "banger: the plan has moved");
}

static void diff_says_by_its_status(void **state)
{
	(void)state;
	static const struct {
		const char *plan;
		int status;
	} cases[] = {
		{ PLAN_EMPTY, 0 }, { PLAN_CREATE, 1 }, { PLAN_RESTART, 1 }, { PLAN_REFUSE, 3 }
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct script s = script_of(cases[i].plan, NULL, NULL);
		fake_start(&s.fake);
		auto_ran struct ran ran = RAN("diff");
		fake_end(&s.fake);
		assert_int_equal(ran.status, cases[i].status);
		assert_string_equal(s.fake.said, "plan\n");
	}
}

static void what_is_refused_is_not_begun(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_REFUSE, NULL, NULL);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "--yes");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 3);
	assert_contains(ran.err, "vm 'web' refused: belongs to stack 'other'");
	assert_string_equal(s.fake.said, "plan\n");
}

static void faults_are_named_as_the_file_was(void **state)
{
	(void)state;
	auto_free char *faults =
		xasprintf("{\"faults\":[{\"file\":\"%s/vms.yaml\",\"line\":3,\"column\":5,"
			  "\"path\":\"vms.web\",\"text\":\"is \\u001b[1mwrong\"}]}",
			  work);
	struct script s = script_of(faults, NULL, NULL);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "-f", "./vms.yaml");
	auto_ran struct ran structured = RAN("diff", "-o", "json");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 2);
	assert_string_equal(ran.err, "./vms.yaml:3:5: vms.web: is wrong\n");
	assert_int_equal(structured.status, 2);
	assert_contains(structured.out, "\"line\":\t3");
}

static void a_failure_is_told_with_what_to_do(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, OPS_WEB, OP_FAILED);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 4);
	assert_contains(ran.err, "banger: vm 'web': port 8080 is taken by nginx\n");
	assert_contains(ran.err, "banger logs web");
}

static void time_runs_out_with_a_way_back(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, OPS_WEB, OP_NOTHING);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "--timeout", "50ms");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 5);
	assert_contains(ran.err, "the time is over; the daemon goes on with 1 of 1");
	assert_contains(ran.err, "banger op wait 1-1");
}

static void ctrl_c_leaves_the_work_to_the_daemon(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, OPS_WEB, OP_NOTHING);
	s.interrupt = true;
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 130);
	assert_contains(ran.err, "interrupted; the daemon goes on");
}

static void no_wait_prints_ids(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, OPS_WEB, NULL);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "--no-wait");
	auto_ran struct ran ids = RAN("apply", "--no-wait", "-o", "name");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 0);
	assert_contains(ran.out, "web 1-1\n");
	assert_string_equal(ids.out, "1-1\n");
}

static void json_holds_plan_and_results(void **state)
{
	(void)state;
	struct error err;
	struct script s = script_of(PLAN_CREATE, OPS_WEB, OP_FAILED);
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "-o", "json");
	fake_end(&s.fake);
	auto_json cJSON *out = json_parse(ran.out, strlen(ran.out), &err);
	assert_int_equal(ran.status, 4);
	assert_non_null(out);
	assert_string_equal(json_str(json_get(out, "plan"), "stack", ""), "shop");
	const cJSON *result = cJSON_GetArrayItem(json_get(out, "results"), 0);
	assert_string_equal(json_str(result, "name", ""), "web");
	assert_false(json_bool(result, "success", true));
	assert_string_equal(json_str(json_get(result, "error"), "code", ""), "busy");
}

static void a_daemon_that_dies_is_replaced_and_the_wait_goes_on(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_CREATE, OPS_WEB, OP_NOTHING);
	s.die = true;
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("apply", "--timeout", "20s");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 0);
	assert_contains(ran.err, "bangerd was started anew, going on");
	assert_contains(ran.err, "web: starting");
	assert_contains(ran.out, "web ready");
	assert_string_equal(s.fake.said, "plan\napply\nop.wait\nvm.list\nvm.list\nvm.list\n");
}

static void a_long_plan_comes_in_pages(void **state)
{
	(void)state;
	struct script s = script_of(
		"{\"plan\":{\"stack\":\"shop\",\"digest\":\"01\",\"to_create\":2,\"next\":1,"
		"\"vms\":[{\"name\":\"a\",\"kind\":\"create\",\"class\":\"none\"}]}}",
		NULL, NULL);
	s.plan_later = "{\"plan\":{\"stack\":\"shop\",\"digest\":\"01\",\"to_create\":2,"
		       "\"vms\":[{\"name\":\"b\",\"kind\":\"create\",\"class\":\"none\"}]}}";
	fake_start(&s.fake);
	auto_ran struct ran ran = RAN("diff");
	fake_end(&s.fake);
	assert_int_equal(ran.status, 1);
	assert_contains(ran.out, "+ a ");
	assert_contains(ran.out, "+ b ");
	assert_contains(s.plan_params, "\"offset\":1");
	assert_string_equal(s.fake.text, "version: 1\nvms: {web: {}}\n");
}

static void delete_by_file_plans_and_asks_first(void **state)
{
	(void)state;
	struct script s = script_of(PLAN_RESTART, OPS_WEB, OP_DONE);
	fake_start(&s.fake);
	auto_ran struct ran refused = RAN("delete", "-f", "vms.yaml");
	auto_ran struct ran ran = RAN("delete", "-f", "vms.yaml", "--yes");
	auto_ran struct ran both = RAN("delete", "-f", "vms.yaml", "web");
	fake_end(&s.fake);
	assert_int_equal(refused.status, 3);
	assert_int_equal(ran.status, 0);
	assert_int_equal(both.status, 2);
	assert_contains(s.plan_params, "\"delete\":true");
	assert_string_equal(s.fake.said, "plan\nplan\ndelete\nop.wait\nvm.list\n");
}

static void validate_needs_no_daemon(void **state)
{
	(void)state;
	auto_ran struct ran good = RAN("validate");
	auto_ran struct ran bad = ran_with("stack: x\nvms: {web: {memroy: 1Gi}}\n", false,
					   "validate", "-f", "-", NULL);
	auto_ran struct ran none = RAN("validate", "-f", "missing.yaml");
	assert_int_equal(good.status, 0);
	assert_string_equal(good.out, "valid: 1 VM\n");
	assert_int_equal(bad.status, 2);
	assert_contains(bad.err, "-:2:");
	assert_contains(bad.err, "did you mean 'memory'?");
	assert_int_equal(none.status, 2);
}

static void a_full_disk_is_a_failure(void **state)
{
	(void)state;
	char *argv[] = { (char[]){ "banger" }, (char[]){ "help" }, NULL };
	auto_file FILE *full = fopen("/dev/full", "w"), *err = tmpfile(), *in = tmpfile();
	const struct cli_io io = { .in = in, .out = full, .err = err };
	assert_int_equal(cli_run(2, argv, &io), 4);
}

static int set_up(void **state)
{
	struct error err;
	(void)state;
	cli_home_make();
	snprintf(work, sizeof(work), "%s/shop", cli_home);
	assert_int_equal(fs_mkdirs(work, 0700, &err), 0);
	assert_int_equal(chdir(work), 0);
	static const char web[] = "version: 1\nvms: {web: {}}\n", db[] = "vms: {db: {}}\n";
	assert_int_equal(fs_write(AT_FDCWD, "vms.yaml", web, strlen(web), 0644, &err), 0);
	assert_int_equal(fs_write(AT_FDCWD, "db.yml", db, strlen(db), 0644, &err), 0);
	assert_int_equal(fs_write(AT_FDCWD, ".hidden.yaml", db, strlen(db), 0644, &err), 0);
	assert_int_equal(fs_write(AT_FDCWD, "db.yml~", db, strlen(db), 0644, &err), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(apply_sends_the_files_and_tells_the_end),
		cmocka_unit_test(a_directory_is_one_stack_in_one_descriptor),
		cmocka_unit_test(standard_input_has_no_place),
		cmocka_unit_test(an_interruption_is_asked_for),
		cmocka_unit_test(restarts_are_agreed_to_or_left),
		cmocka_unit_test(a_plan_that_moved_is_shown_again),
		cmocka_unit_test(a_plan_that_was_carried_out_meanwhile_is_done),
		cmocka_unit_test(a_refusal_that_stays_is_quoted),
		cmocka_unit_test(diff_says_by_its_status),
		cmocka_unit_test(what_is_refused_is_not_begun),
		cmocka_unit_test(faults_are_named_as_the_file_was),
		cmocka_unit_test(a_failure_is_told_with_what_to_do),
		cmocka_unit_test(time_runs_out_with_a_way_back),
		cmocka_unit_test(ctrl_c_leaves_the_work_to_the_daemon),
		cmocka_unit_test(no_wait_prints_ids),
		cmocka_unit_test(json_holds_plan_and_results),
		cmocka_unit_test(a_daemon_that_dies_is_replaced_and_the_wait_goes_on),
		cmocka_unit_test(a_long_plan_comes_in_pages),
		cmocka_unit_test(delete_by_file_plans_and_asks_first),
		cmocka_unit_test(validate_needs_no_daemon),
		cmocka_unit_test(a_full_disk_is_a_failure),
	};
	return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
