#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/help.h"
#include "cli/term.h"
#include "cli/yaml.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"

/* --- what was typed --- */

static const struct flag *known_flag(const struct cli *cli, const char *name)
{
	const struct flag *flag = command_flag(cli->command, name);
	if (!flag)
		BUG("'%s' has no flag '%s'", cli->command->name, name);
	return flag;
}

const char *cli_value(const struct cli *cli, const char *name, const char *fallback)
{
	const struct flag *flag = known_flag(cli, name);
	for (size_t i = cli->args.flags.count; i-- > 0;)
		if (cli->args.flags.at[i].flag == flag)
			return cli->args.flags.at[i].text;
	return fallback;
}

const char *cli_value_at(const struct cli *cli, const char *name, size_t n)
{
	const struct flag *flag = known_flag(cli, name);
	for (size_t i = 0; i < cli->args.flags.count; i++)
		if (cli->args.flags.at[i].flag == flag && n-- == 0)
			return cli->args.flags.at[i].text;
	return NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
	return !strcmp(cli_value(cli, name, "false"), "true");
}

bool cli_is_member(const struct cli *cli)
{
	return cli->system && geteuid() != 0;
}

int cli_duration(const struct cli *cli, const char *name, uint64_t *ret_ms, struct error *err)
{
	const char *text = cli_value(cli, name, NULL);
	*ret_ms = 0;
	if (text && units_parse_duration(text, ret_ms, err) < 0)
		return error_wrap(err, "--%s", name);
	return 0;
}

/* --- saying things --- */

void cli_say(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vfprintf(cli->io.out, fmt, args);
	va_end(args);
}

/* What people are told may quote a guest or a file: no control character gets to the terminal. */
static void say_clean(FILE *to, const char *prefix, const char *fmt, va_list args)
{
	auto_buf struct buf text = BUF_INIT, clean = BUF_INIT;
	buf_addv(&text, fmt, args);
	term_clean_lines(&clean, text.data);
	fprintf(to, "%s%s\n", prefix, clean.data);
}

void cli_note(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	if (cli->quiet)
		return;
	va_start(args, fmt);
	say_clean(cli->io.err, "banger: ", fmt, args);
	va_end(args);
}

void cli_hint(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	if (cli->quiet)
		return;
	va_start(args, fmt);
	say_clean(cli->io.err, "  hint: ", fmt, args);
	va_end(args);
}

void cli_complain(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fflush(cli->io.out);
	say_clean(cli->io.err, "", fmt, args);
	va_end(args);
}

static void usual_hint(struct cli *cli, const struct error *err)
{
	/* The text says already which command helps. */
	if (strstr(err->text, "banger "))
		return;
	if (err->code == ERROR_UNAVAILABLE)
		cli_hint(cli, "what the daemon said last is in %s/bangerd.log",
			 cli->paths.state ? cli->paths.state : "the state directory");
	else if (err->code == ERROR_NOT_FOUND && cli->command && cli->command->group == GROUP_VM)
		cli_hint(cli, "'banger ps' lists the VMs");
	else if (err->code == ERROR_NOT_FOUND && cli->command && cli->command->group == GROUP_IMAGE)
		cli_hint(cli, "'banger image list' lists the images");
}

int cli_fail(struct cli *cli, const struct error *err)
{
	cli_complain(cli, "banger: %s", err->text);
	usual_hint(cli, err);
	return error_exit_status(err->code);
}

int cli_fail_vm(struct cli *cli, const char *name, const struct error *err)
{
	auto_free char *quoted = xasprintf("'%s'", name);
	if (strstr(err->text, quoted))
		return cli_fail(cli, err);
	cli_complain(cli, "banger: vm '%s': %s", name, err->text);
	usual_hint(cli, err);
	return error_exit_status(err->code);
}

int cli_misused(struct cli *cli, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fflush(cli->io.out);
	say_clean(cli->io.err, "banger: ", fmt, args);
	va_end(args);
	if (cli->command && !cli->command->hidden)
		cli_hint(cli, "'banger help %s' says how it is used", cli->command->name);
	else
		cli_hint(cli, "'banger help' lists the commands");
	return STATUS_INVALID;
}

bool cli_ask(struct cli *cli, const char *question)
{
	auto_free char *line = NULL;
	size_t room = 0;
	fflush(cli->io.out);
	fprintf(cli->io.err, "%s [y/N] ", question);
	fflush(cli->io.err);
	if (getline(&line, &room, cli->io.in) < 0) {
		fputc('\n', cli->io.err);
		return false;
	}
	return line[0] == 'y' || line[0] == 'Y';
}

bool cli_print_structured(struct cli *cli, const cJSON *value)
{
	if (cli->output == OUTPUT_JSON) {
		auto_free char *text = cJSON_Print(value);
		cli_say(cli, "%s\n", text ? text : "");
		return true;
	}
	if (cli->output == OUTPUT_YAML) {
		auto_buf struct buf text = BUF_INIT;
		yaml_add(&text, value);
		cli_say(cli, "%s", text.data);
		return true;
	}
	return false;
}

/* --- the run --- */

static enum output output_parse(const char *name)
{
	static const char *const names[] = { "table", "wide", "json", "yaml", "name" };
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (!strcmp(name, names[i]))
			return (enum output)i;
	return OUTPUT_TABLE;
}

static void take_globals(struct cli *cli)
{
	const char *no_color = getenv("NO_COLOR");
	cli->output = output_parse(cli_value(cli, "output", "table"));
	cli->quiet = cli_flag(cli, "quiet");
	cli->verbose = cli_flag(cli, "verbose");
	cli->system = cli_flag(cli, "system") || paths_system_asked();
	cli->colour = cli->io.out_tty && !cli_flag(cli, "no-color") && !(no_color && *no_color);
}

static int unknown_command(struct cli *cli, const char *const *words, size_t count)
{
	const char *second = count > 1 && words[1][0] != '-' ? words[1] : NULL;
	bool family = command_is_family(words[0]);
	if (family && !second) {
		auto_buf struct buf out = BUF_INIT;
		help_family(&out, words[0]);
		fputs(out.data, cli->io.err);
		return STATUS_INVALID;
	}
	const char *meant = command_suggest(words[0], second);
	const char *vm = meant && !strcmp(words[0], "vm") ? "vm " : "";
	auto_free char *typed = family ? xasprintf("%s %s", words[0], second) : xstrdup(words[0]);
	if (meant)
		return cli_misused(cli, "unknown command '%.60s', did you mean '%s%s'?", typed, vm,
				   meant);
	return cli_misused(cli, "unknown command '%.60s'", typed);
}

static int check_words(struct cli *cli)
{
	const struct command *c = cli->command;
	size_t count = cli->args.words.count;
	if (count < c->min_words)
		return cli_misused(cli, "nothing named: banger %s %s", c->name, c->args);
	if (count > c->max_words)
		return cli_misused(cli, "'%.60s' is one word too many for banger %s",
				   cli->args.words.at[c->max_words], c->name);
	return STATUS_DONE;
}

static int run_command(struct cli *cli, const char *const *argv, size_t count, struct error *err)
{
	size_t used;
	if (args_parse(&cli->args, cli->command, argv, count, &used, err) < 0)
		return cli_misused(cli, "%s", err->text);
	take_globals(cli);
	if (cli_flag(cli, "help")) {
		auto_buf struct buf out = BUF_INIT;
		help_command(&out, cli->command);
		cli_say(cli, "%s", out.data);
		return STATUS_DONE;
	}
	int status = check_words(cli);
	return status == STATUS_DONE ? cli->command->run(cli) : status;
}

static const struct command *find_named(const char *name)
{
	size_t used;
	return command_find(&name, 1, &used);
}

/* "banger", "banger --help": the same text, but a success only when it was asked for. */
static int run_bare(struct cli *cli)
{
	cli->command = find_named("help");
	take_globals(cli);
	int status = cmd_help(cli);
	return cli_flag(cli, "help") ? status : STATUS_INVALID;
}

/* Finds the command behind the global flags and runs it. */
static int dispatch(struct cli *cli, const char *const *argv, size_t count)
{
	struct error err = { 0 };
	size_t used, named;
	if (!count)
		return run_bare(cli);
	if (!strcmp(argv[0], "--version")) {
		cli->command = find_named("version");
		return run_command(cli, argv + 1, count - 1, &err);
	}
	if (args_parse(&cli->args, NULL, argv, count, &used, &err) < 0)
		return cli_misused(cli, "%s", err.text);
	if (used == count)
		return run_bare(cli);
	argv += used;
	count -= used;
	cli->command = command_find(argv, count, &named);
	if (cli->command)
		return run_command(cli, argv + named, count - named, &err);
	bool help = count > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
	if (!help || !command_is_family(argv[0]))
		return unknown_command(cli, argv, count);
	auto_buf struct buf out = BUF_INIT;
	help_family(&out, argv[0]);
	cli_say(cli, "%s", out.data);
	return STATUS_DONE;
}

int cli_run(int argc, char *const *argv, const struct cli_io *io)
{
	struct cli cli = { .io = *io };
	struct word_vec words = { 0 };
	for (int i = 1; i < argc; i++)
		word_vec_push(&words, argv[i]);
	int status = dispatch(&cli, words.at, words.count);
	conn_close(&cli);
	paths_clear(&cli.paths);
	args_clear(&cli.args);
	word_vec_clear(&words);
	fflush(io->err);
	/* A full disk behind stdout is a failure, not a success with half a list. */
	if ((fflush(io->out) != 0 || ferror(io->out)) && status == STATUS_DONE) {
		fprintf(io->err, "banger: cannot write the output\n");
		return STATUS_FAILED;
	}
	return status;
}
