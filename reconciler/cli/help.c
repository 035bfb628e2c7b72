#include "cli/help.h"
#include "cli/cli.h"
#include "cli/cmds.h"

#include <string.h>

static const char about[] = "banger - microVMs that are what a YAML file says\n"
			    "\n"
			    "usage: banger COMMAND [flags] [names]\n";

static const char closing[] =
	"\n"
	"'banger help COMMAND' or 'banger COMMAND --help' says more; each VM command is also\n"
	"'banger vm COMMAND'. A first VM:\n"
	"\n"
	"  banger create web          make and start it\n"
	"  banger ssh web             a shell inside\n"
	"  banger apply -f vms.yaml   many of them, from a file\n";

void help_flag_label(struct buf *out, const struct flag *flag)
{
	if (flag->letter)
		buf_addf(out, "-%c, ", flag->letter);
	buf_addf(out, "--%s", flag->name);
	if (flag->value)
		buf_addf(out, " %s", flag->value);
}

static void add_flags(struct buf *out, const char *title, const struct flag *flags)
{
	if (!flags)
		return;
	buf_addf(out, "\n%s:\n", title);
	for (const struct flag *f = flags; f->name; f++) {
		auto_buf struct buf label = BUF_INIT;
		buf_add(&label, f->letter ? "" : "    ");
		help_flag_label(&label, f);
		buf_addf(out, "  %-28s  %s\n", label.data, f->doc);
	}
}

/* text in lines of at most width bytes; empty lines stay paragraph breaks. */
void help_wrap(struct buf *out, const char *text, unsigned width)
{
	unsigned column = 0;
	while (*text) {
		if (*text == '\n') {
			buf_add_char(out, '\n');
			column = 0;
			text++;
			continue;
		}
		size_t len = strcspn(text, " \n");
		if (column && column + 1 + len > width) {
			buf_add_char(out, '\n');
			column = 0;
		}
		if (column)
			buf_add_char(out, ' ');
		buf_add_bytes(out, text, len);
		column += (column > 0) + (unsigned)len;
		text += len;
		if (*text == ' ')
			text++;
	}
	buf_add_char(out, '\n');
}

void help_all(struct buf *out)
{
	buf_add(out, about);
	for (int group = 0; group < GROUP_COUNT_; group++) {
		buf_addf(out, "\n%s:\n", command_group_title((enum command_group)group));
		for (size_t i = 0; i < command_count; i++) {
			const struct command *c = &commands[i];
			if (!c->hidden && (int)c->group == group)
				buf_addf(out, "  %-14s  %s\n", c->name, c->doc);
		}
	}
	add_flags(out, "Flags of every command", global_flags);
	buf_add(out, closing);
}

void help_command(struct buf *out, const struct command *command)
{
	buf_addf(out, "banger %s - %s\n\nusage: banger %s%s%s%s\n", command->name,
		 command->doc ? command->doc : "", command->name, command->flags ? " [flags]" : "",
		 command->args[0] ? " " : "", command->args);
	if (command->alias)
		buf_addf(out, "also:  banger %s\n", command->alias);
	if (command->vm_verb)
		buf_addf(out, "also:  banger vm %s\n", command->name);
	if (command->more) {
		buf_add_char(out, '\n');
		help_wrap(out, command->more, 80);
	}
	add_flags(out, "Flags", command->flags);
	add_flags(out, "Flags of every command", global_flags);
}

/* "image", "vm": the commands that begin so. */
void help_family(struct buf *out, const char *family)
{
	size_t len = strlen(family);
	bool vm = !strcmp(family, "vm");
	buf_addf(out, "usage: banger %s COMMAND [flags] [names]\n\n", family);
	for (size_t i = 0; i < command_count; i++) {
		const struct command *c = &commands[i];
		if (vm ? !c->vm_verb : strncmp(c->name, family, len) != 0 || c->name[len] != ' ')
			continue;
		buf_addf(out, "  %-10s  %s\n", vm ? c->name : c->name + len + 1, c->doc);
	}
}

int cmd_help(struct cli *cli)
{
	auto_buf struct buf out = BUF_INIT;
	const struct word_vec *words = &cli->args.words;
	size_t used;
	if (!words->count) {
		help_all(&out);
		cli_say(cli, "%s", out.data);
		return STATUS_DONE;
	}
	const struct command *command = command_find(words->at, words->count, &used);
	if (command && used == words->count)
		help_command(&out, command);
	else if (words->count == 1 && command_is_family(words->at[0]))
		help_family(&out, words->at[0]);
	else
		return cli_misused(cli, "there is no command '%.60s'", words->at[0]);
	cli_say(cli, "%s", out.data);
	return STATUS_DONE;
}
