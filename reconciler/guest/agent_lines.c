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

int agent_request_add(struct buf *to, int64_t id, const char *method, const cJSON *params,
		      struct error *err)
{
	auto_json cJSON *request = cJSON_CreateObject();
	json_add_int(request, "id", id);
	json_add_str(request, "method", method);
	if (params)
		cJSON_AddItemToObject(request, "params", cJSON_Duplicate(params, true));
	auto_free char *text = json_print(request);
	size_t len = strlen(text);
	if (len > AGENT_LINE_MAX)
		return error_set(err, ERROR_INVALID, "a request of %zu bytes is too long", len);
	buf_add(to, text);
	buf_add_char(to, '\n');
	return 0;
}

int agent_error_read(const cJSON *body, struct error *err)
{
	char text[256];
	agent_text_copy(text, sizeof(text), json_str(body, "text", "no reason given"));
	enum error_code code = error_code_parse(json_str(body, "code", NULL));
	return error_set(err, code == ERROR_NONE ? ERROR_SYSTEM : code, "the agent says: %s", text);
}
