#include "cli/ssh_argv.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

void shell_quote(struct buf *out, const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "_-./:=@%+,";
	if (word[0] && !word[strspn(word, safe)]) {
		buf_add(out, word);
		return;
	}
	buf_add_char(out, '\'');
	for (; *word; word++) {
		if (*word == '\'')
			buf_add(out, "'\\''");
		else
			buf_add_char(out, *word);
	}
	buf_add_char(out, '\'');
}

static void add(struct ssh_argv *argv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct ssh_argv *argv, const char *fmt, ...)
{
	auto_buf struct buf text = BUF_INIT;
	va_list args;
	va_start(args, fmt);
	buf_addv(&text, fmt, args);
	va_end(args);
	if (argv->count + 1 >= sizeof(argv->at) / sizeof(argv->at[0]))
		BUG("too many arguments for ssh");
	argv->at[argv->count++] = buf_take(&text);
}

static void add_option(struct ssh_argv *argv, const char *key, const char *value)
{
	add(argv, "-o");
	add(argv, "%s=%s", key, value);
}

/* ssh splits file lists at blanks and expands %: a path with them has to be written so. */
static void add_path_option(struct ssh_argv *argv, const char *key, const char *path)
{
	auto_buf struct buf value = BUF_INIT;
	buf_add_char(&value, '"');
	for (; *path; path++) {
		if (*path == '%')
			buf_add_char(&value, '%');
		if (*path == '"' || *path == '\\')
			buf_add_char(&value, '\\');
		buf_add_char(&value, *path);
	}
	buf_add_char(&value, '"');
	add_option(argv, key, value.data);
}

void ssh_argv_init(struct ssh_argv *argv, const struct ssh_command *command)
{
	const cJSON *target = command->target;
	*argv = (struct ssh_argv){ 0 };
	add(argv, "ssh");
	add(argv, "-F");
	add(argv, "none");
	add_path_option(argv, "IdentityFile", json_str(target, "identity", ""));
	add_option(argv, "IdentitiesOnly", "yes");
	add_option(argv, "IdentityAgent", "none");
	add_option(argv, "PreferredAuthentications", "publickey");
	add_path_option(argv, "UserKnownHostsFile", json_str(target, "known_hosts", ""));
	add_option(argv, "GlobalKnownHostsFile", "none");
	add_option(argv, "StrictHostKeyChecking", "yes");
	add_option(argv, "UpdateHostKeys", "no");
	add_option(argv, "HostKeyAlias", json_str(target, "alias", ""));
	/* Up to the server's first line, which an emulated guest that just came up takes long for.
	 */
	add_option(argv, "ConnectTimeout", "30");
	add_option(argv, "ServerAliveInterval", "15");
	add_option(argv, "LogLevel", command->verbose ? "VERBOSE" : "ERROR");
	if (command->notify_pid) {
		auto_free char *notify = xasprintf("kill -USR1 %d", (int)command->notify_pid);
		add_option(argv, "PermitLocalCommand", "yes");
		add_option(argv, "LocalCommand", notify);
	}
	if (command->tty)
		add(argv, "-tt");
	add(argv, "-p");
	add(argv, "%" PRId64, json_int(target, "port", 22));
	add(argv, "-l");
	add(argv, "%s", json_str(target, "user", "root"));
	add(argv, "--");
	add(argv, "%s", json_str(target, "address", ""));
	if (command->line) {
		add(argv, "%s", command->line);
		return;
	}
	if (!command->count)
		return;
	auto_buf struct buf line = BUF_INIT;
	for (size_t i = 0; i < command->count; i++) {
		buf_add(&line, i ? " " : "");
		shell_quote(&line, command->words[i]);
	}
	add(argv, "%s", line.data);
}

void ssh_argv_clear(struct ssh_argv *argv)
{
	for (size_t i = 0; i < argv->count; i++)
		free(argv->at[i]);
	argv->count = 0;
}
