/* cli: what gets onto the screen: tables, YAML, quoting, and what does not: control characters. */
#include "test_cli_help.h"
#include "cli/sources.h"
#include "cli/ssh_argv.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/yaml.h"

static void assert_cleaned(const char *from, const char *to)
{
	auto_buf struct buf out = BUF_INIT;
	term_clean_lines(&out, from);
	assert_string_equal(out.data, to);
	/* Cut anywhere, the pieces give the same. */
	for (size_t cut = 0; cut <= strlen(from); cut++) {
		struct term_filter filter = { 0 };
		auto_buf struct buf pieces = BUF_INIT;
		term_filter_add(&filter, &pieces, from, cut);
		term_filter_add(&filter, &pieces, from + cut, strlen(from) - cut);
		if (filter.have)
			buf_add_char(&pieces, '?');
		assert_string_equal(pieces.data, to);
	}
}

static void terminals_see_no_control(void **state)
{
	(void)state;
	assert_cleaned("plain\ttext\n", "plain\ttext\n");
	assert_cleaned("\033[31mred\033[0m", "red");
	assert_cleaned("\033]0;owned\007title", "title");
	assert_cleaned("\033]52;c;AAAA\033\\clip", "clip");
	assert_cleaned("\033(Bcharset\033creset", "charsetreset");
	assert_cleaned("back\b\b\rover\x7f", "backover");
	assert_cleaned("\033]unclosed\nnext", "\nnext");
	assert_cleaned("\xc2\x9b"
		       "31mC1",
		       "31mC1");
	assert_cleaned("\xe2\x80\xae"
		       "drow",
		       "drow");
	assert_cleaned("caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x8d\x8c",
		       "caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x8d\x8c");
	assert_cleaned("\xff\xc0\x80\xc3", "???");
	assert_cleaned("\xc3(", "?(");
	assert_cleaned("\xe2\x9c", "?");
}

static void quoted_words_are_one_word_again(void **state)
{
	(void)state;
	static const struct {
		const char *word, *quoted;
	} cases[] = {
		{ "uname", "uname" },
		{ "", "''" },
		{ "exit 42", "'exit 42'" },
		{ "it's", "'it'\\''s'" },
		{ "$(reboot);`x`|&", "'$(reboot);`x`|&'" },
		{ "a\nb", "'a\nb'" },
		{ "~/x", "'~/x'" },
		{ "a=b", "a=b" },
		{ "-la", "-la" },
		{ "*", "'*'" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_buf struct buf out = BUF_INIT;
		shell_quote(&out, cases[i].word);
		assert_string_equal(out.data, cases[i].quoted);
	}
}

static void ssh_takes_nothing_from_the_user(void **state)
{
	(void)state;
	struct error err;
	static const char text[] = "{\"address\":\"127.0.0.9\",\"port\":2222,\"user\":\"root\","
				   "\"identity\":\"/a b/100%/id\",\"known_hosts\":\"/k\","
				   "\"alias\":\"banger-x\"}";
	auto_json cJSON *target = json_parse(text, strlen(text), &err);
	static const char *const words[] = { "sh", "-c", "exit 42" };
	const struct ssh_command command = { .target = target, .words = words, .count = 3 };
	struct ssh_argv argv;
	auto_buf struct buf all = BUF_INIT;
	ssh_argv_init(&argv, &command);
	for (size_t i = 0; i < argv.count; i++)
		buf_addf(&all, "%s\n", argv.at[i]);
	assert_contains(all.data, "ssh\n-F\nnone\n");
	assert_contains(all.data, "IdentityFile=\"/a b/100%%/id\"\n");
	assert_contains(all.data, "StrictHostKeyChecking=yes\n");
	assert_contains(all.data, "UserKnownHostsFile=\"/k\"\n");
	assert_contains(all.data, "HostKeyAlias=banger-x\n");
	assert_contains(all.data, "-p\n2222\n-l\nroot\n--\n127.0.0.9\nsh -c 'exit 42'\n");
	assert_null(argv.at[argv.count]);
	ssh_argv_clear(&argv);
}

static void print_table(struct cli *cli)
{
	auto_table struct table table = { 0 };
	table_column(&table, "NAME", false);
	table_column(&table, "N", true);
	table_column(&table, "REASON", false);
	table_cell(&table, "web");
	table_cellf(&table, "%d", 12);
	table_cell(&table, "a rather long reason \033[31mwith colour");
	table_cell(&table, "caf\xc3\xa9-1");
	table_cell(&table, "7");
	table_colour(&table, TERM_RED);
	table_cell(&table, NULL);
	table_print(&table, cli);
}

static void tables_align_and_fit(void **state)
{
	(void)state;
	char *out = NULL;
	size_t len;
	struct cli cli = { .io.out = open_memstream(&out, &len) };
	print_table(&cli);
	fflush(cli.io.out);
	assert_string_equal(out, "NAME     N  REASON\n"
				 "web     12  a rather long reason with colour\n"
				 "caf\xc3\xa9-1   7  -\n");
	rewind(cli.io.out);
	cli.io.out_tty = true;
	cli.io.columns = 30;
	cli.colour = true;
	print_table(&cli);
	fclose(cli.io.out);
	assert_contains(out, "web     12  a rather long r...\n");
	assert_contains(out, "  " TERM_RED "7" TERM_RESET "  -\n");
	free(out);
}

static void ages_are_short(void **state)
{
	(void)state;
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = { { 0, "0s" },	   { 119000, "119s" }, { 121000, "2m" },
		      { 7199000, "119m" }, { 7200000, "2h" },  { 172800000, "2d" } };
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_free char *text = table_age(1000, 1000 + cases[i].ms);
		assert_string_equal(text, cases[i].text);
	}
	auto_free char *never = table_age(0, 5000), *future = table_age(9000, 5000);
	assert_string_equal(never, "-");
	assert_string_equal(future, "0s");
}

static void yaml_says_what_json_said(void **state)
{
	(void)state;
	struct error err;
	static const char text[] =
		"[{\"name\":\"web\",\"yes\":\"true\",\"n\":2,\"off\":null,\"list\":[\"8080:80\"],"
		"\"empty\":[],\"o\":{}},{\"deep\":{\"a\":[{\"b\":1,\"c\":\"x: y\"}]}}]";
	auto_json cJSON *value = json_parse(text, strlen(text), &err);
	auto_buf struct buf out = BUF_INIT;
	yaml_add(&out, value);
	assert_string_equal(out.data, "- name: web\n"
				      "  \"yes\": \"true\"\n"
				      "  \"n\": 2\n"
				      "  \"off\": null\n"
				      "  list:\n"
				      "    - \"8080:80\"\n"
				      "  empty: []\n"
				      "  o: {}\n"
				      "- deep:\n"
				      "    a:\n"
				      "      - b: 1\n"
				      "        c: \"x: y\"\n");
}

static void paths_become_absolute_by_their_letters(void **state)
{
	(void)state;
	static const struct {
		const char *cwd, *path, *absolute;
	} cases[] = {
		{ "/home/u", "vms.yaml", "/home/u/vms.yaml" },
		{ "/home/u", "./a//b/", "/home/u/a/b" },
		{ "/home/u", "../x", "/home/x" },
		{ "/home/u", "../../../..", "/" },
		{ "/home/u", "/etc/./v/../w", "/etc/w" },
		{ "/", ".", "/" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_free char *absolute = path_absolute(cases[i].cwd, cases[i].path);
		assert_string_equal(absolute, cases[i].absolute);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(terminals_see_no_control),
		cmocka_unit_test(quoted_words_are_one_word_again),
		cmocka_unit_test(ssh_takes_nothing_from_the_user),
		cmocka_unit_test(tables_align_and_fit),
		cmocka_unit_test(ages_are_short),
		cmocka_unit_test(yaml_says_what_json_said),
		cmocka_unit_test(paths_become_absolute_by_their_letters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
