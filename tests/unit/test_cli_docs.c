/* cli: what is made from the command table is what is committed. UPDATE=1 writes it again. */
#include "test_cli_help.h"
#include "schema/field.h"

static void compare(const char *path, const char *text)
{
	struct error err;
	auto_buf struct buf want = BUF_INIT;
	if (getenv("UPDATE")) {
		assert_int_equal(fs_write(AT_FDCWD, path, text, strlen(text), 0644, &err), 0);
		return;
	}
	if (fs_read(AT_FDCWD, path, 4 << 20, &want, &err) < 0)
		fail_msg("%s (UPDATE=1 writes it)", err.text);
	if (strcmp(want.data, text) != 0)
		fail_msg("'%s' is not what the tables say, UPDATE=1 writes it again", path);
}

static void generated_files_are_current(void **state)
{
	(void)state;
	static const struct {
		const char *command, *path;
	} files[] = {
		{ "__man", "packaging/man/banger.1" },
		{ "__man-vms", "packaging/man/banger-vms.5" },
		{ "__complete-bash", "packaging/completion/banger.bash" },
		{ "__complete-zsh", "packaging/completion/_banger" },
		{ "__schema", "schema/vms.schema.json" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		auto_ran struct ran ran = RAN(files[i].command);
		assert_int_equal(ran.status, 0);
		compare(files[i].path, ran.out);
	}
}

static void help_is_what_it_was(void **state)
{
	(void)state;
	static const char *const commands_shown[] = { "apply", "create", "delete", "ssh", "watch" };
	auto_ran struct ran all = RAN("help");
	auto_ran struct ran vm = RAN("help", "vm");
	compare("tests/cli/help.txt", all.out);
	compare("tests/cli/help-vm.txt", vm.out);
	for (size_t i = 0; i < ARRAY_COUNT(commands_shown); i++) {
		auto_free char *path = xasprintf("tests/cli/help-%s.txt", commands_shown[i]);
		auto_ran struct ran ran = RAN("help", commands_shown[i]);
		compare(path, ran.out);
	}
}

/* A field of the spec is a flag of create and set, unless only a file can say it well. */
static void every_simple_field_has_a_flag(void **state)
{
	(void)state;
	static const char *const others[] = { "state", "ports",	    "labels",	 "ssh_keys",
					      "files", "workspace", "depends_on" };
	const char *words[] = { "create", "set" };
	for (size_t c = 0; c < ARRAY_COUNT(words); c++) {
		size_t used;
		const struct command *command = command_find(&words[c], 1, &used);
		for (size_t i = 0; i < FIELD_COUNT; i++) {
			auto_free char *name = xstrdup(vm_fields[i].key);
			bool other = vm_fields[i].scope != FIELD_OF_VM;
			for (size_t j = 0; j < ARRAY_COUNT(others); j++)
				other |= !strcmp(others[j], name);
			for (char *at = name; *at; at++)
				*at = *at == '_' ? '-' : *at;
			if (!other && !command_flag(command, name))
				fail_msg("banger %s has no --%s", command->name, name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(generated_files_are_current),
		cmocka_unit_test(help_is_what_it_was),
		cmocka_unit_test(every_simple_field_has_a_flag),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
