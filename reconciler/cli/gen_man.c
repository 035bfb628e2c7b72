/* banger(1) and the frame of banger-vms(5), from the tables that the programs run by. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/help.h"
#include "schema/spec_load.h"

#include <string.h>

static const struct {
	const char *status, *meaning;
} exits[] = {
	{ "0", "Done, or there was nothing to do." },
	{ "1", "diff found something to do." },
	{ "2", "The input is not valid: a file, a flag, a name that does not exist." },
	{ "3", "Conflict or refused: owned by another stack, protected, in use, held back by the "
	       "guard, the plan moved, the question was not answered with yes." },
	{ "4", "The host, the hypervisor or the daemon failed; doctor: a check failed." },
	{ "5", "The time was over." },
	{ "125", "ssh: banger or ssh itself failed. Otherwise ssh ends with the status of the "
		 "command in the guest." },
	{ "130", "Interrupted by Ctrl-C; what was begun goes on in the daemon." },
};

static const struct {
	const char *name, *meaning;
} environment[] = {
	{ "NO_COLOR", "Set to anything: no colours." },
	{ "XDG_STATE_HOME, XDG_CACHE_HOME, XDG_CONFIG_HOME, XDG_RUNTIME_DIR",
	  "Where banger keeps its things, below banger/ in each of them." },
	{ "BANGER_SYSTEM", "1: as --system." },
	{ "BANGER_UID_BASE",
	  "Where the 65,536 users of hypervisors begin, when bangerd --system starts (2100000000)." },
	{ "BANGER_SHARE", "Where image recipes and the agent's initrd are." },
	{ "BANGER_DAEMON", "The bangerd to start (default: the one beside banger, else in PATH)." },
};

static const struct {
	const char *path, *meaning;
} files[] = {
	{ "vms.yaml", "What apply, diff and validate read without -f. See banger-vms(5)." },
	{ "~/.local/state/banger", "VMs, images, keys; bangerd.log is what the daemon said." },
	{ "/var/lib/banger, /run/banger/bangerd.sock, /etc/banger/vms.d",
	  "The same of the machine (bangerd --system), and the directory that it watches." },
	{ "$XDG_RUNTIME_DIR/banger/bangerd.sock", "Where bangerd listens; for its user only." },
};

static void add_text(struct buf *out, const char *text)
{
	for (const char *at = text; *at; at++) {
		bool start = at == text || at[-1] == '\n';
		if (*at == '\\')
			buf_add(out, "\\e");
		else if (*at == '-')
			buf_add(out, "\\-");
		else if (start && (*at == '.' || *at == '\''))
			buf_addf(out, "\\&%c", *at);
		else
			buf_add_char(out, *at);
	}
}

static void add_item(struct buf *out, const char *label, const char *text)
{
	buf_add(out, ".TP\n.B ");
	add_text(out, label);
	buf_add_char(out, '\n');
	add_text(out, text);
	buf_add_char(out, '\n');
}

static void add_flags(struct buf *out, const struct flag *flags)
{
	for (const struct flag *f = flags; f && f->name; f++) {
		auto_buf struct buf label = BUF_INIT;
		help_flag_label(&label, f);
		add_item(out, label.data, f->doc);
	}
}

static void add_command(struct buf *out, const struct command *c)
{
	buf_add(out, ".TP\n.B banger ");
	add_text(out, c->name);
	if (c->args[0]) {
		buf_add(out, " \\fR");
		add_text(out, c->args);
	}
	buf_add_char(out, '\n');
	add_text(out, c->doc);
	buf_add(out, ".\n");
	if (c->alias) {
		buf_add(out, "Also\n.BR \"banger ");
		add_text(out, c->alias);
		buf_add(out, "\" .\n");
	}
	for (const char *at = c->more; at;) {
		const char *end = strstr(at, "\n\n");
		auto_free char *part = end ? xstrndup(at, (size_t)(end - at)) : xstrdup(at);
		buf_add(out, ".IP\n");
		add_text(out, part);
		buf_add_char(out, '\n');
		at = end ? end + 2 : NULL;
	}
	if (!c->flags)
		return;
	buf_add(out, ".RS\n");
	add_flags(out, c->flags);
	buf_add(out, ".RE\n");
}

static void add_commands(struct buf *out)
{
	buf_add(out, ".SH COMMANDS\nFlags may stand before and after names; \\-\\- ends them. A "
		     "command that takes several names goes on after one that failed; its status "
		     "is the worst.\nEach command on VMs is also\n.BI \"banger vm \" "
		     "COMMAND .\n");
	for (int group = 0; group < GROUP_COUNT_; group++) {
		buf_addf(out, ".SS %s\n", command_group_title((enum command_group)group));
		for (size_t i = 0; i < command_count; i++)
			if (!commands[i].hidden && (int)commands[i].group == group)
				add_command(out, &commands[i]);
	}
}

static void add_examples(struct buf *out)
{
	buf_add(out, ".SH EXAMPLES\n.nf\n"
		     "banger create web \\-\\-memory 512Mi \\-p 8080:80\n"
		     "banger ssh web \\-\\- uname \\-a\n"
		     "banger diff \\-f vms.yaml || banger apply \\-f vms.yaml \\-\\-yes\n"
		     "banger show web \\-o yaml > web.yaml\n"
		     "banger ps \\-q | xargs banger stop\n"
		     ".fi\n");
}

int cmd_gen_man(struct cli *cli)
{
	auto_buf struct buf out = BUF_INIT;
	buf_addf(&out,
		 ".\\\" made by 'banger __man', do not edit\n"
		 ".TH BANGER 1 \"\" \"banger %s\" \"User Commands\"\n.SH NAME\n"
		 "banger \\- microVMs that are what a YAML file says\n.SH SYNOPSIS\n"
		 ".B banger\n.I COMMAND\n[flags] [names]\n.SH DESCRIPTION\n",
		 cli_version);
	add_text(&out, "banger makes virtual machines what a file says they are. It talks to "
		       "bangerd, which it starts when nobody answers; the virtual machines are "
		       "neither's children and outlive both. Results go to standard output, "
		       "progress and errors to standard error.\n");
	add_commands(&out);
	buf_add(&out, ".SH \"FLAGS OF EVERY COMMAND\"\n");
	add_flags(&out, global_flags);
	buf_add(&out, ".SH \"EXIT STATUS\"\n");
	for (size_t i = 0; i < ARRAY_COUNT(exits); i++)
		add_item(&out, exits[i].status, exits[i].meaning);
	buf_add(&out, ".SH ENVIRONMENT\n");
	for (size_t i = 0; i < ARRAY_COUNT(environment); i++)
		add_item(&out, environment[i].name, environment[i].meaning);
	buf_add(&out, ".SH FILES\n");
	for (size_t i = 0; i < ARRAY_COUNT(files); i++)
		add_item(&out, files[i].path, files[i].meaning);
	add_examples(&out);
	buf_add(&out, ".SH \"SEE ALSO\"\n.BR banger\\-vms (5),\n.BR bangerd (8),\n.BR ssh (1)\n");
	cli_say(cli, "%s", out.data);
	return STATUS_DONE;
}

int cmd_gen_man_vms(struct cli *cli)
{
	auto_free char *fields = schema_emit_man_fields();
	auto_buf struct buf out = BUF_INIT;
	buf_addf(&out,
		 ".\\\" made by 'banger __man-vms', do not edit\n"
		 ".TH BANGER-VMS 5 \"\" \"banger %s\" \"File Formats\"\n.SH NAME\n"
		 "banger\\-vms \\- files that say which virtual machines there are\n"
		 ".SH DESCRIPTION\n",
		 cli_version);
	add_text(&out, "A file names many virtual machines; a name is the key. A directory is the "
		       "union of its *.yaml and *.yml files, without dotfiles and what editors "
		       "leave behind. Unknown keys, duplicate keys and values out of bounds are "
		       "errors, and every one of them is reported with its line and column. A key "
		       "that is left out is its default: taking it out changes it back.\n"
		       "Sizes are written 512Mi, 2Gi, 1G or as bytes, durations 90s, 2h or 1d. "
		       "Only true and false are booleans.\n");
	buf_add(&out, ".SH \"TOP LEVEL\"\n");
	add_item(&out, "version", "1.");
	add_item(&out, "stack",
		 "The name of what belongs together: all files of one apply or one "
		 "directory. Default: the name of the directory, without '.d'. Standard input must "
		 "have one.");
	add_item(&out, "defaults",
		 "Fields that every VM of this file has unless it says otherwise.");
	add_item(&out, "vms",
		 "The virtual machines by name. Names are a-z, 0-9 and dashes, at "
		 "most 63. Only 'vms: {}' says that there are none.");
	buf_add(&out, fields);
	buf_add(&out, ".SH EXAMPLE\n.nf\n"
		      "version: 1\nstack: demo\ndefaults:\n  image: tiny\nvms:\n  db:\n"
		      "    memory: 512Mi\n    work_disk: 2Gi\n  web:\n    nat: true\n"
		      "    ports: [\"8080:80\"]\n.fi\n.SH \"SEE ALSO\"\n.BR banger (1)\n");
	cli_say(cli, "%s", out.data);
	return STATUS_DONE;
}

int cmd_gen_schema(struct cli *cli)
{
	auto_free char *text = schema_emit_json_schema();
	size_t len = strlen(text);
	cli_say(cli, "%s%s", text, len && text[len - 1] == '\n' ? "" : "\n");
	return STATUS_DONE;
}
