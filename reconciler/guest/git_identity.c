#include "guest/git_identity.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#define GITCONFIG_MAX (1u << 20)
#define VALUE_MAX     512

void git_user_clear(struct git_user *user)
{
	free(user->name);
	free(user->email);
	*user = (struct git_user){ 0 };
}

static const char *skip_line(const char *at)
{
	at += strcspn(at, "\n");
	return *at ? at + 1 : at;
}

/* "[section]" or "[section "sub"]" at '['; *in_user: exactly [user]. NULL: bad syntax. */
static const char *parse_section(const char *at, bool *in_user)
{
	const char *start = ++at;
	at += strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");
	size_t len = (size_t)(at - start);
	*in_user = len == 4 && !strncasecmp(start, "user", 4) && *at == ']';
	at += strspn(at, " \t");
	if (*at == '"')
		for (at++; *at != '"'; at++) {
			if (*at == '\\' && at[1])
				at++;
			if (!*at || *at == '\n')
				return NULL;
		}
	at += *at == '"';
	return *at == ']' ? at + 1 : NULL;
}

/* One escape after a backslash; 0: none that git knows. */
static char unescape(char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case '"':
	case '\\':
		return c;
	default:
		return 0;
	}
}

/* The value after '=' up to its line's end: quotes, escapes, comments, continuations; blanks
 * around it dropped. NULL: bad syntax. */
static const char *parse_value(const char *at, struct buf *value)
{
	bool quoted = false, comment = false;
	size_t solid = 0; /* length up to the last byte that is not a trailing blank */
	for (at += strspn(at, " \t"); *at && *at != '\n'; at++) {
		if (comment || *at == '\r')
			continue;
		char c = *at;
		if (c == '"') {
			quoted = !quoted;
			continue;
		}
		if (!quoted && (c == '#' || c == ';')) {
			comment = true;
			continue;
		}
		if (c == '\\') {
			at++;
			at += *at == '\r' && at[1] == '\n';
			if (*at == '\n')
				continue;
			c = unescape(*at);
			if (!c)
				return NULL;
		}
		buf_add_char(value, c);
		if (quoted || !isspace((unsigned char)c))
			solid = value->len;
	}
	if (quoted)
		return NULL;
	if (value->room)
		value->data[value->len = solid] = '\0';
	return at;
}

/* "key", "key = value". NULL: bad syntax. */
static const char *parse_key(const char *at, bool in_user, struct git_user *user)
{
	const char *key = at;
	while (isalnum((unsigned char)*at) || *at == '-')
		at++;
	size_t len = (size_t)(at - key);
	at += strspn(at, " \t");
	if (!len || (*at && !strchr("=\n\r#;", *at)))
		return NULL;
	if (*at != '=')
		return skip_line(at);
	auto_buf struct buf value = BUF_INIT;
	at = parse_value(at + 1, &value);
	char **slot = !in_user					    ? NULL
		      : len == 4 && !strncasecmp(key, "name", len)  ? &user->name
		      : len == 5 && !strncasecmp(key, "email", len) ? &user->email
								    : NULL;
	if (at && slot) {
		free(*slot);
		*slot = buf_take(&value);
	}
	return at;
}

void git_user_parse(const char *text, struct git_user *user)
{
	bool in_user = false;
	const char *at = text;
	if (!strncmp(at, "\xef\xbb\xbf", 3))
		at += 3;
	while (at && *at) {
		if (isspace((unsigned char)*at))
			at++;
		else if (*at == '#' || *at == ';')
			at = skip_line(at);
		else if (*at == '[')
			at = parse_section(at, &in_user);
		else
			at = parse_key(at, in_user, user);
	}
}

static int read_own(const char *path, struct buf *ret, struct error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -1 : fs_read_fd(fd, path, GITCONFIG_MAX, ret, err);
}

static void read_file(const char *home, const char *name, const struct person *reader,
		      struct git_user *user)
{
	struct error unread;
	auto_free char *path = xasprintf("%s/%s", home, name);
	auto_buf struct buf text = BUF_INIT;
	int failed = reader ? person_read(reader, path, GITCONFIG_MAX, &text, &unread)
			    : read_own(path, &text, &unread);
	if (failed == 0)
		git_user_parse(text.data, user);
}

static void add_value(struct buf *to, const char *key, const char *value)
{
	if (!value || !*value || strlen(value) > VALUE_MAX)
		return;
	for (const char *c = value; *c; c++)
		if (iscntrl((unsigned char)*c))
			return;
	if (!to->len)
		buf_add(to, "[user]\n");
	buf_addf(to, "\t%s = \"", key);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			buf_add_char(to, '\\');
		buf_add_char(to, *value);
	}
	buf_add(to, "\"\n");
}

bool git_identity(const char *home, const struct person *reader, struct buf *ret)
{
	if (!home || home[0] != '/')
		return false;
	struct git_user user = { 0 };
	read_file(home, ".config/git/config", reader, &user);
	read_file(home, ".gitconfig", reader, &user);
	auto_buf struct buf text = BUF_INIT;
	add_value(&text, "name", user.name);
	add_value(&text, "email", user.email);
	git_user_clear(&user);
	buf_add(ret, text.data);
	return text.len > 0;
}
