#include "cli/yaml.h"

#include <string.h>

/* Plain only what no YAML reader could take for anything else; JSON's quoting is YAML's as well. */
static bool is_plain(const char *text)
{
	static const char *const words[] = { "true", "false", "null", "yes", "no", "on",
					     "off",  "y",     "n",    "inf", "nan" };
	if (!((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') ||
	      text[0] == '/' || text[0] == '_'))
		return false;
	if (text[strspn(text,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.-")])
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcasecmp(text, words[i]))
			return false;
	return true;
}

static void add_string(struct buf *out, const char *text)
{
	if (is_plain(text)) {
		buf_add(out, text);
		return;
	}
	cJSON value = { .type = cJSON_String | cJSON_IsReference };
	auto_json cJSON *copy = cJSON_CreateString(text);
	auto_free char *quoted = json_print(copy ? copy : &value);
	/* A DEL is legal in JSON and not in YAML; the rest of the controls are escaped by both. */
	for (const char *at = quoted; *at; at++) {
		if (*at == 0x7f)
			buf_add(out, "\\u007f");
		else
			buf_add_char(out, *at);
	}
}

static void add_value(struct buf *out, const cJSON *value, unsigned indent, bool in_list);

static void add_indent(struct buf *out, unsigned indent)
{
	for (unsigned i = 0; i < indent; i++)
		buf_add(out, "  ");
}

static void add_object(struct buf *out, const cJSON *value, unsigned indent, bool in_list)
{
	bool first = true;
	for (const cJSON *item = value->child; item; item = item->next) {
		/* The first key of an object in a list stands behind its dash. */
		if (!first || !in_list)
			add_indent(out, indent);
		first = false;
		add_string(out, item->string);
		buf_add_char(out, ':');
		add_value(out, item, indent + 1, false);
	}
}

static void add_list(struct buf *out, const cJSON *value, unsigned indent)
{
	for (const cJSON *item = value->child; item; item = item->next) {
		add_indent(out, indent);
		buf_add_char(out, '-');
		add_value(out, item, indent + 1, true);
	}
}

/* Stands behind "key:" or "-"; ends the line. */
static void add_value(struct buf *out, const cJSON *value, unsigned indent, bool in_list)
{
	if (cJSON_IsObject(value) && value->child) {
		buf_add_char(out, in_list ? ' ' : '\n');
		add_object(out, value, indent, in_list);
		return;
	}
	if (cJSON_IsArray(value) && value->child) {
		buf_add_char(out, '\n');
		add_list(out, value, indent);
		return;
	}
	buf_add_char(out, ' ');
	if (cJSON_IsString(value)) {
		add_string(out, value->valuestring);
	} else {
		auto_free char *text = json_print(value);
		buf_add(out, text);
	}
	buf_add_char(out, '\n');
}

void yaml_add(struct buf *out, const cJSON *value)
{
	if (cJSON_IsObject(value) && value->child)
		add_object(out, value, 0, false);
	else if (cJSON_IsArray(value) && value->child)
		add_list(out, value, 0);
	else {
		auto_free char *text = json_print(value);
		buf_addf(out, "%s\n", text);
	}
}
