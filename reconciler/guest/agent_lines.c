#include "guest/agent_lines.h"

#include <string.h>

bool agent_lines_push(struct agent_lines *lines, const char *data, size_t len)
{
	buf_drop(&lines->in, lines->at);
	lines->at = 0;
	if (lines->in.len + len > 2 * AGENT_LINE_MAX)
		return false;
	buf_add_bytes(&lines->in, data, len);
	return true;
}

int agent_lines_next(struct agent_lines *lines, char **ret, size_t *ret_len)
{
	size_t left = lines->in.len - lines->at;
	if (!left)
		return 0;
	char *line = lines->in.data + lines->at, *end = memchr(line, '\n', left);
	size_t len = end ? (size_t)(end - line) : left;
	if (len > AGENT_LINE_MAX)
		return -1;
	if (!end)
		return 0;
	*end = '\0';
	lines->at += len + 1;
	*ret = line;
	*ret_len = len;
	return 1;
}

void agent_lines_clear(struct agent_lines *lines)
{
	buf_clear(&lines->in);
	lines->at = 0;
}

void agent_text_copy(char *to, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);
	for (size_t i = 0; i < len; i++)
		to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	to[len] = '\0';
}
