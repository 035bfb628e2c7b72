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

struct output {
	struct buf text;
	const struct vm_spec *const *specs;
	size_t count;
};

/* A set has no name of its own in what is written here, its replicas have. */
static bool add_members(const struct output *out, const char *name, cJSON *to)
{
	int before = cJSON_GetArraySize(to);
	for (size_t i = 0; i < out->count; i++) {
		const struct vm_spec *spec = out->specs[i];
		if (text_equal(spec->name, name) || text_equal(spec->set, name))
			cJSON_AddItemToArray(to, cJSON_CreateString(spec->name));
	}
	return cJSON_GetArraySize(to) > before;
}

/* Only names that are in the output too: another would make it invalid. */
static void add_depends(struct output *out, const struct vm_spec *spec)
{
	auto_json cJSON *here = cJSON_CreateArray();
	auto_json cJSON *elsewhere = cJSON_CreateArray();
	for (size_t i = 0; i < spec->depends_on.count; i++)
		if (!add_members(out, spec->depends_on.at[i], here))
			cJSON_AddItemToArray(elsewhere, cJSON_CreateString(spec->depends_on.at[i]));
	if (here->child) {
		buf_add(&out->text, "    depends_on: ");
		add_flow(&out->text, here);
		buf_add_char(&out->text, '\n');
	}
	if (elsewhere->child) {
		buf_add(&out->text, "    # depends_on: ");
		add_flow(&out->text, elsewhere);
		buf_add(&out->text, " (not in this file)\n");
	}
}

static void add_vm(struct output *out, const struct vm_spec *spec)
{
	auto_json cJSON *json = vm_spec_to_json(spec);
	struct buf *to = &out->text;
	buf_add(to, "  ");
	add_string(to, spec->name);
	buf_add(to, ":\n");
	for (const cJSON *field = json->child; field; field = field->next) {
		const struct field *row = field_find(field->string);
		if (!row || row->scope != FIELD_OF_VM)
			continue; /* a replica, alone, is a VM like any other */
		if (row->kind == &kind_vm_names) {
			add_depends(out, spec);
			continue;
		}
		buf_addf(to, "    %s:", field->string);
		add_value(to, field);
	}
}

char *vm_specs_to_yaml(const char *stack, const struct vm_spec *const *specs, size_t count)
{
	struct output out = { .text = BUF_INIT, .specs = specs, .count = count };
	buf_add(&out.text, "version: 1\n");
	if (stack) {
		buf_add(&out.text, "stack: ");
		add_string(&out.text, stack);
		buf_add_char(&out.text, '\n');
	}
	buf_add(&out.text, count ? "vms:\n" : "vms: {}\n");
	for (size_t i = 0; i < count; i++)
		add_vm(&out, specs[i]);
	return buf_take(&out.text);
}
