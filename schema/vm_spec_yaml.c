/* A VM as YAML that spec_load() reads back to the same VM. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

/* Words that no YAML reader takes for something else than a string. */
static bool plain_is_safe(const char *text)
{
	static const char *const traps[] = { "true", "false", "null", "yes", "no", "on",
					     "off",  "y",     "n",    "inf", "nan" };
	if (!*text || strlen(text) > 64)
		return false;
	for (size_t i = 0; i < ARRAY_COUNT(traps); i++)
		if (!strcasecmp(text, traps[i]))
			return false;
	if (strchr(SET_ALNUM, text[0]) && !strchr(SET_DIGIT, text[0]))
		return text_only(text, SET_ALNUM "._/-");
	/* 512Mi, 90s: digits and a unit. "1e3" and "0x1f" are numbers to some. */
	size_t digits = strspn(text, SET_DIGIT);
	return digits && text[digits] && strlen(text + digits) <= 2 &&
	       text_only(text + digits, "KMGTimshd");
}

static void add_string(struct buf *to, const char *text)
{
	if (plain_is_safe(text)) {
		buf_add(to, text);
		return;
	}
	/* A JSON string is a double-quoted scalar; our texts hold nothing where they differ. */
	auto_json cJSON *string = cJSON_CreateString(text);
	auto_free char *quoted = json_print(string);
	buf_add(to, quoted);
}

static void add_flow(struct buf *to, const cJSON *value)
{
	bool map = cJSON_IsObject(value);
	if (cJSON_IsString(value)) {
		add_string(to, value->valuestring);
		return;
	}
	if (!map && !cJSON_IsArray(value)) {
		auto_free char *text = json_print(value);
		buf_add(to, text);
		return;
	}
	buf_add_char(to, map ? '{' : '[');
	for (const cJSON *child = value->child; child; child = child->next) {
		if (map) {
			add_string(to, child->string);
			buf_add(to, ": ");
		}
		add_flow(to, child);
		buf_add(to, child->next ? ", " : "");
	}
	buf_add_char(to, map ? '}' : ']');
}

/* Lists of long things, one a line. */
static void add_value(struct buf *to, const cJSON *value)
{
	bool lines = cJSON_IsArray(value) && value->child &&
		     (cJSON_IsObject(value->child) || strlen(value->child->valuestring) > 40);
	if (!lines) {
		buf_add_char(to, ' ');
		add_flow(to, value);
		buf_add_char(to, '\n');
		return;
	}
	buf_add_char(to, '\n');
	for (const cJSON *child = value->child; child; child = child->next) {
		buf_add(to, "      - ");
		add_flow(to, child);
		buf_add_char(to, '\n');
	}
}

static void add_vm(struct buf *to, const struct vm_spec *spec)
{
	auto_json cJSON *json = vm_spec_to_json(spec);
	buf_add(to, "  ");
	add_string(to, spec->name);
	buf_add(to, ":\n");
	for (const cJSON *field = json->child; field; field = field->next) {
		if (!strcmp(field->string, "name"))
			continue;
		buf_addf(to, "    %s:", field->string);
		add_value(to, field);
	}
}

char *vm_specs_to_yaml(const char *stack, const struct vm_spec *const *specs, size_t count)
{
	auto_buf struct buf out = BUF_INIT;
	buf_add(&out, "version: 1\n");
	if (stack) {
		buf_add(&out, "stack: ");
		add_string(&out, stack);
		buf_add_char(&out, '\n');
	}
	buf_add(&out, count ? "vms:\n" : "vms: {}\n");
	for (size_t i = 0; i < count; i++)
		add_vm(&out, specs[i]);
	return buf_take(&out);
}
