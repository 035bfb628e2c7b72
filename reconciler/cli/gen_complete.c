/* Shell completion from the command table, and the names it asks for.
 *
 * Both scripts hold the words of every command; names of VMs and images come from
 * `banger __names vm`, which never starts a daemon: pressing TAB must not. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"

#include <string.h>

static void add_flag_words(struct buf *out, const struct flag *flags)
{
	for (const struct flag *f = flags; f && f->name; f++) {
		buf_addf(out, "--%s ", f->name);
		if (f->letter)
			buf_addf(out, "-%c ", f->letter);
	}
}

/* First words of all commands, or second words of a family, each once. */
static void add_command_words(struct buf *out, const char *family)
{
	bool vm = family && !strcmp(family, "vm");
	size_t len = family ? strlen(family) : 0;
	struct word_vec seen = { 0 };
	for (size_t i = 0; i < command_count; i++) {
		const struct command *c = &commands[i];
		if (c->hidden || (vm && !c->vm_verb))
			continue;
		if (family && !vm && (strncmp(c->name, family, len) != 0 || c->name[len] != ' '))
			continue;
		const char *word = family && !vm ? c->name + len + 1 : c->name;
		size_t word_len = strcspn(word, " ");
		bool known = false;
		for (size_t j = 0; j < seen.count; j++)
			known |= strcspn(seen.at[j], " ") == word_len &&
				 !strncmp(seen.at[j], word, word_len);
		if (known)
			continue;
		word_vec_push(&seen, word);
		buf_addf(out, "%.*s ", (int)word_len, word);
	}
	word_vec_clear(&seen);
	if (!family)
		buf_add(out, "vm ");
}

static const char *bash_names(enum complete complete)
{
	switch (complete) {
	case COMPLETE_VM:
		return "$(_banger_names vm)";
	case COMPLETE_IMAGE:
		return "$(_banger_names image)";
	case COMPLETE_COMMAND:
		return "$words";
	default:
		return "";
	}
}

/* What may stand behind a flag that takes a value; each flag name once over all commands. */
static void add_value_cases(struct buf *out)
{
	struct word_vec seen = { 0 };
	for (size_t i = 0; i <= command_count; i++) {
		const struct flag *f = i < command_count ? commands[i].flags : global_flags;
		for (; f && f->name; f++) {
			const char *const *at = seen.at;
			bool known = false;
			for (size_t j = 0; j < seen.count; j++)
				known |= !strcmp(at[j], f->name);
			if (known || !f->value)
				continue;
			word_vec_push(&seen, f->name);
			buf_addf(out, "\t--%s) ", f->name);
			if (f->complete == COMPLETE_FILE)
				buf_add(out, "COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n");
			else
				buf_addf(out, "COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n",
					 f->words ? f->words : bash_names(f->complete));
		}
	}
	word_vec_clear(&seen);
}

static void add_bash_case(struct buf *out, const struct command *c)
{
	buf_add(out, "\t");
	if (c->alias)
		buf_addf(out, "'%s' | ", c->alias);
	if (c->vm_verb)
		buf_addf(out, "'vm %s' | ", c->name);
	buf_addf(out, "'%s') flags='", c->name);
	add_flag_words(out, c->flags);
	buf_addf(out, "' names=\"%s\"", bash_names(c->complete));
	if (c->complete == COMPLETE_DIR)
		buf_add(out, " dirs=1");
	buf_add(out, " ;;\n");
}

int cmd_gen_bash(struct cli *cli)
{
	auto_buf struct buf out = BUF_INIT;
	static const char *const families[] = { "vm", "image", "op", "daemon" };
	buf_add(&out,
		"# made by 'banger __complete-bash', do not edit\n"
		"# shellcheck shell=bash disable=SC2207 # words, never file names with blanks\n"
		"_banger_names() {\n\tbanger __names \"$1\" 2>/dev/null\n}\n\n_banger() {\n"
		"\tlocal cur prev first='' second='' word flags='' names='' dirs='' words i\n"
		"\tCOMPREPLY=()\n\tcur=${COMP_WORDS[COMP_CWORD]}\n"
		"\tprev=${COMP_WORDS[COMP_CWORD - 1]}\n\twords='");
	add_command_words(&out, NULL);
	buf_add(&out, "'\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tword=${COMP_WORDS[i]}\n"
		      "\t\t[[ $word == -* ]] && continue\n\t\tif [[ -z $first ]]; then\n"
		      "\t\t\tfirst=$word\n\t\telif [[ -z $second ]]; then\n\t\t\tsecond=$word\n"
		      "\t\tfi\n\tdone\n\tcase $prev in\n");
	add_value_cases(&out);
	buf_add(&out,
		"\tesac\n\tcase $prev in --* | -f | -o) [[ ${#COMPREPLY[@]} -gt 0 ]] && return "
		";; esac\n\tcase $prev in\n"
		"\t-f) [[ $first != logs ]] && COMPREPLY=($(compgen -f -- \"$cur\")) && return ;;\n"
		"\t-o) COMPREPLY=($(compgen -W 'table wide json yaml name' -- \"$cur\")) && return "
		";;\n"
		"\tesac\n\tcase $first in\n\t'') names=$words ;;\n");
	for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
		buf_addf(&out, "\t%s) [[ -z $second ]] && names='", families[i]);
		add_command_words(&out, families[i]);
		buf_add(&out, "' ;;\n");
	}
	buf_add(&out,
		"\tesac\n\tif [[ -n $first && -z $names ]]; then\n\tcase $first in\n"
		"\tvm | image | op | daemon) word=\"$first $second\" ;;\n\t*) word=$first ;;\n"
		"\tesac\n\tcase $word in\n");
	for (size_t i = 0; i < command_count; i++)
		if (!commands[i].hidden)
			add_bash_case(&out, &commands[i]);
	buf_add(&out, "\tesac\n\tfi\n\tif [[ $cur == -* ]]; then\n\t\tnames=\"$flags ");
	add_flag_words(&out, global_flags);
	buf_add(&out, "\"\n\telif [[ -n $dirs ]]; then\n"
		      "\t\tCOMPREPLY=($(compgen -d -- \"$cur\"))\n\t\treturn\n\tfi\n"
		      "\tCOMPREPLY=($(compgen -W \"$names\" -- \"$cur\"))\n}\n"
		      "complete -o bashdefault -F _banger banger\n");
	cli_say(cli, "%s", out.data);
	return STATUS_DONE;
}

/* --- zsh --- */

/* Inside '…[doc]…': brackets, colons and quotes mean something there. */
static void add_zsh_doc(struct buf *out, const char *doc)
{
	for (; *doc; doc++) {
		if (strchr("[]:\\", *doc))
			buf_add_char(out, '\\');
		if (*doc == '\'')
			buf_add(out, "'\\''");
		else
			buf_add_char(out, *doc);
	}
}

static const char *zsh_action(enum complete complete)
{
	switch (complete) {
	case COMPLETE_VM:
		return "_banger_names vm";
	case COMPLETE_IMAGE:
		return "_banger_names image";
	case COMPLETE_FILE:
		return "_files";
	case COMPLETE_DIR:
		return "_files -/";
	case COMPLETE_COMMAND:
		return "_banger_commands";
	default:
		return " ";
	}
}

static void add_zsh_flags(struct buf *out, const struct flag *flags)
{
	for (const struct flag *f = flags; f && f->name; f++) {
		for (int letter = 0; letter < (f->letter ? 2 : 1); letter++) {
			if (letter)
				buf_addf(out, "\t\t'*-%c[", f->letter);
			else
				buf_addf(out, "\t\t'*--%s%s[", f->name, f->value ? "=" : "");
			add_zsh_doc(out, f->doc);
			buf_add_char(out, ']');
			if (f->value && f->words)
				buf_addf(out, ":%s:(%s)", f->name, f->words);
			else if (f->value)
				buf_addf(out, ":%s:%s", f->name, zsh_action(f->complete));
			buf_add(out, "' \\\n");
		}
	}
}

static void add_zsh_case(struct buf *out, const struct command *c)
{
	buf_add_char(out, '\t');
	if (c->alias)
		buf_addf(out, "'%s' | ", c->alias);
	if (c->vm_verb)
		buf_addf(out, "'vm %s' | ", c->name);
	buf_addf(out, "'%s') _arguments -S \\\n", c->name);
	add_zsh_flags(out, c->flags);
	buf_addf(out, "\t\t$global '*:name:%s' ;;\n", zsh_action(c->complete));
}

static void add_zsh_commands(struct buf *out)
{
	buf_add(out, "_banger_commands() {\n\tlocal -a list=(\n");
	for (size_t i = 0; i < command_count; i++) {
		if (commands[i].hidden || strchr(commands[i].name, ' '))
			continue;
		buf_addf(out, "\t\t'%s:", commands[i].name);
		add_zsh_doc(out, commands[i].doc);
		buf_add(out, "'\n");
	}
	buf_add(out, "\t\t'image:images'\n\t\t'op:operations'\n\t\t'daemon:the daemon'\n"
		     "\t\t'vm:VMs, by name'\n\t)\n\t_describe command list\n}\n\n");
}

int cmd_gen_zsh(struct cli *cli)
{
	auto_buf struct buf out = BUF_INIT;
	static const char *const families[] = { "vm", "image", "op", "daemon" };
	buf_add(&out,
		"#compdef banger\n# made by 'banger __complete-zsh', do not edit\n\n"
		"_banger_names() {\n\tlocal -a names=(${(f)\"$(banger __names $1 2>/dev/null)\"})\n"
		"\tcompadd -a names\n}\n\n");
	add_zsh_commands(&out);
	buf_add(&out, "_banger() {\n\tlocal curcontext=$curcontext word\n\tlocal -a global=( \\\n");
	add_zsh_flags(&out, global_flags);
	buf_add(&out, "\t)\n\tif ((CURRENT == 2)); then\n\t\t_banger_commands\n\t\treturn\n\tfi\n"
		      "\tword=$words[2]\n\tcase $word in\n");
	for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
		buf_addf(&out, "\t%s)\n\t\tif ((CURRENT == 3)); then\n\t\t\tcompadd ", families[i]);
		add_command_words(&out, families[i]);
		buf_add(&out,
			"\n\t\t\treturn\n\t\tfi\n\t\tword=\"$word $words[3]\"\n\t\tshift words\n"
			"\t\t((CURRENT--)) ;;\n");
	}
	buf_add(&out, "\tesac\n\tshift words\n\t((CURRENT--))\n\tcase $word in\n");
	for (size_t i = 0; i < command_count; i++)
		if (!commands[i].hidden)
			add_zsh_case(&out, &commands[i]);
	buf_add(&out, "\tesac\n}\n\n_banger \"$@\"\n");
	cli_say(cli, "%s", out.data);
	return STATUS_DONE;
}

/* --- names --- */

/* __names vm|image: quietly, and only what a running daemon knows. */
int cmd_names(struct cli *cli)
{
	struct error err;
	auto_json cJSON *list = NULL;
	const char *kind = cli->args.words.at[0];
	if (conn_open(cli, false, &err) < 0)
		return STATUS_DONE;
	if (!strcmp(kind, "vm") && conn_list(cli, "vm.list", NULL, &list, &err) < 0)
		return STATUS_DONE;
	if (!strcmp(kind, "image") && conn_call(cli, "image.list", NULL, &list, &err) < 0)
		return STATUS_DONE;
	const cJSON *items = cJSON_IsObject(list) ? json_get(list, "items") : list, *item;
	cJSON_ArrayForEach(item, items)
	{
		cli_say(cli, "%s\n", json_str(item, "name", ""));
	}
	return STATUS_DONE;
}
