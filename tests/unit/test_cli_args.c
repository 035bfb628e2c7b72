/* cli: command lines, did-you-mean, help; nothing here needs a daemon. */
#include "test_cli_help.h"
#include "cli/help.h"

static struct args parse(const char *command, const char *const *argv, size_t count, int expected)
{
	struct args args = { 0 };
	struct error err = { 0 };
	size_t used;
	const struct command *c = command_find(&command, 1, &used);
	assert_non_null(c);
	assert_int_equal(args_parse(&args, c, argv, count, &used, &err), expected);
	return args;
}
#define PARSE(command, expected, ...)                                                              \
	parse(command, (const char *const[]){ __VA_ARGS__ },                                       \
	      ARRAY_COUNT(((const char *const[]){ __VA_ARGS__ })), expected)

static void flags_stand_anywhere_and_end_with_two_dashes(void **state)
{
	(void)state;
	struct args args =
		PARSE("stop", 0, "--no-wait", "a", "--timeout=5s", "b", "-qv", "--", "-c");
	assert_int_equal(args.words.count, 3);
	assert_string_equal(args.words.at[0], "a");
	assert_string_equal(args.words.at[2], "-c");
	assert_int_equal(args.flags.count, 4);
	assert_string_equal(args.flags.at[1].flag->name, "timeout");
	assert_string_equal(args.flags.at[1].text, "5s");
	args_clear(&args);
}

static void values_of_short_flags_may_be_glued(void **state)
{
	(void)state;
	struct args args = PARSE("apply", 0, "-fa.yaml", "-f", "b.yaml", "-ojson", "-y");
	assert_int_equal(args.flags.count, 4);
	assert_string_equal(args.flags.at[0].text, "a.yaml");
	assert_string_equal(args.flags.at[1].text, "b.yaml");
	assert_string_equal(args.flags.at[2].text, "json");
	args_clear(&args);
}

static void a_dash_alone_is_a_value(void **state)
{
	(void)state;
	struct args args = PARSE("apply", 0, "-f", "-");
	assert_string_equal(args.flags.at[0].text, "-");
	args_clear(&args);
}

static void a_guest_command_keeps_its_flags(void **state)
{
	(void)state;
	struct args args = PARSE("ssh", 0, "-t", "web", "ls", "-la", "--color", "--", "x");
	assert_int_equal(args.words.count, 6);
	assert_string_equal(args.words.at[2], "-la");
	assert_string_equal(args.words.at[4], "--");
	args_clear(&args);
	args = PARSE("ssh", 0, "web", "-t", "--", "-v");
	assert_int_equal(args.words.count, 2);
	assert_int_equal(args.flags.count, 1);
	args_clear(&args);
}

static void wrong_flags_are_refused(void **state)
{
	(void)state;
	struct args args = PARSE("apply", -1, "--prun");
	args_clear(&args);
	args = PARSE("apply", -1, "-f");
	args_clear(&args);
	args = PARSE("apply", -1, "--yes=maybe");
	args_clear(&args);
	args = PARSE("apply", -1, "-o", "xml");
	args_clear(&args);
	args = PARSE("apply", -1, "--timeout", "soon");
	args_clear(&args);
	args = PARSE("apply", -1, "-Z");
	args_clear(&args);
}

static void what_was_meant_is_said(void **state)
{
	(void)state;
	static const struct {
		const char *first, *second, *said;
	} cases[] = {
		{ "aply", NULL, "did you mean 'apply'?" },
		{ "dleete", NULL, "did you mean 'delete'?" },
		{ "image", "pul", "did you mean 'image pull'?" },
		{ "vm", "shwo", "did you mean 'vm show'?" },
		{ "iamge", "list", "did you mean 'image list'?" },
		{ "apply", "--prnue", "did you mean '--prune'?" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_ran struct ran ran = RAN(cases[i].first, cases[i].second);
		assert_int_equal(ran.status, 2);
		assert_contains(ran.err, cases[i].said);
		assert_string_equal(ran.out, "");
	}
	auto_ran struct ran ran = RAN("xyzzy-plugh");
	assert_int_equal(ran.status, 2);
	assert_lacks(ran.err, "did you mean");
}

static void every_command_has_help(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		const struct command *c = &commands[i];
		if (c->hidden)
			continue;
		auto_free char *name = xstrdup(c->name);
		char *space = strchr(name, ' ');
		if (space)
			*space = '\0';
		auto_ran struct ran flag = RAN(name, space ? space + 1 : "--help", "--help");
		auto_ran struct ran help = RAN("help", name, space ? space + 1 : NULL);
		assert_int_equal(flag.status, 0);
		assert_int_equal(help.status, 0);
		assert_string_equal(flag.out, help.out);
		assert_contains(flag.out, c->doc);
		assert_non_null(c->args);
		if (!c->vm_verb)
			continue;
		auto_ran struct ran vm = RAN("vm", name, space ? space + 1 : "--help", "--help");
		assert_string_equal(vm.out, flag.out);
	}
}

static void nothing_typed_is_not_a_success(void **state)
{
	(void)state;
	auto_ran struct ran bare = RAN("-q");
	auto_ran struct ran help = RAN("--help");
	auto_ran struct ran family = RAN("image");
	auto_ran struct ran asked = RAN("image", "--help");
	assert_int_equal(bare.status, 2);
	assert_int_equal(help.status, 0);
	assert_string_equal(bare.out, help.out);
	assert_int_equal(family.status, 2);
	assert_string_equal(family.out, "");
	assert_int_equal(asked.status, 0);
	assert_string_equal(asked.out, family.err);
}

static void words_are_counted(void **state)
{
	(void)state;
	auto_ran struct ran none = RAN("start");
	auto_ran struct ran many = RAN("create", "a", "b");
	auto_ran struct ran stray = RAN("doctor", "a");
	assert_int_equal(none.status, 2);
	assert_contains(none.err, "banger start NAME...");
	assert_int_equal(many.status, 2);
	assert_contains(many.err, "'b' is one word too many");
	assert_int_equal(stray.status, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_stand_anywhere_and_end_with_two_dashes),
		cmocka_unit_test(values_of_short_flags_may_be_glued),
		cmocka_unit_test(a_dash_alone_is_a_value),
		cmocka_unit_test(a_guest_command_keeps_its_flags),
		cmocka_unit_test(wrong_flags_are_refused),
		cmocka_unit_test(what_was_meant_is_said),
		cmocka_unit_test(every_command_has_help),
		cmocka_unit_test(nothing_typed_is_not_a_success),
		cmocka_unit_test(words_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
