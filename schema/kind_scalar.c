/* Kinds whose value is one word, number or text. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

#define NAME_LENGTH_MAX 255
#define NAME_SET	SET_ALNUM "._-/:@+"
#define NAME_PATTERN	"[A-Za-z0-9][A-Za-z0-9._/:@+-]*"
#define SHOWN		"%.40s"

/* --- strings --- */

static bool parse_name(const struct field *f, const struct yaml_node *node, const struct path *path,
		       const struct reader *r, void *to)
{
	const char *text = want_text(node, path, "a name", r);
	if (!text)
		return false;
	bool empty_is_fine = f->fallback_text[0] == '\0';
	bool good = text_only(text, NAME_SET) && node->count <= NAME_LENGTH_MAX &&
		    (*text ? strchr(SET_ALNUM, *text) != NULL : empty_is_fine);
	if (!good) {
		READER_FAULT(r, node, path,
			     "'" SHOWN "' is not a name: letters, digits and . _ - / : @ +, at "
			     "most %d, beginning with a letter or digit",
			     text, NAME_LENGTH_MAX);
		return false;
	}
	*(const char **)to = text;
	return true;
}

static bool parse_text(const struct field *f, const struct yaml_node *node, const struct path *path,
		       const struct reader *r, void *to)
{
	const char *text = want_text(node, path, "a string", r);
	if (!text)
		return false;
	if (node->count > f->max) {
		READER_FAULT(r, node, path, "%u bytes long, at most %" PRIu64 " are allowed",
			     node->count, f->max);
		return false;
	}
	*(const char **)to = text;
	return true;
}

static void fallback_text(const struct field *f, void *to)
{
	*(const char **)to = f->fallback_text;
}

static bool equal_text(const void *a, const void *b)
{
	return !strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void show_text(const struct field *f, const void *value, struct buf *to)
{
	const char *text = *(const char *const *)value;
	(void)f;
	buf_add(to, *text ? text : "none");
}

static struct cJSON *text_to_json(const struct field *f, const void *value)
{
	(void)f;
	return cJSON_CreateString(*(const char *const *)value);
}

static void pack_string(struct packer *packer, void *value)
{
	const char **text = value;
	*text = pack_text(packer, *text);
}

static void name_to_schema(const struct field *f, struct cJSON *schema)
{
	bool empty_is_fine = f->fallback_text[0] == '\0';
	json_add_str(schema, "type", "string");
	schema_pattern(schema, empty_is_fine ? "^(" NAME_PATTERN ")?$" : "^" NAME_PATTERN "$",
		       NAME_LENGTH_MAX);
}

static void text_to_schema(const struct field *f, struct cJSON *schema)
{
	json_add_str(schema, "type", "string");
	schema_pattern(schema, "^[^\\u0000-\\u001f\\u007f]*$", (unsigned)f->max);
}

const struct kind kind_name = {
	.parse = parse_name,
	.fallback = fallback_text,
	.equal = equal_text,
	.show = show_text,
	.to_json = text_to_json,
	.pack = pack_string,
	.to_schema = name_to_schema,
	.type = "name",
};

const struct kind kind_text = {
	.parse = parse_text,
	.fallback = fallback_text,
	.equal = equal_text,
	.show = show_text,
	.to_json = text_to_json,
	.pack = pack_string,
	.to_schema = text_to_schema,
	.type = "string",
};

/* --- whole numbers --- */

static bool parse_u32(const struct field *f, const struct yaml_node *node, const struct path *path,
		      const struct reader *r, void *to)
{
	uint64_t value;
	struct error err;
	const char *text = want_text(node, path, "a whole number", r);
	if (!text)
		return false;
	if (!node->plain) {
		READER_FAULT(r, node, path, "must be a whole number, written without quotes");
		return false;
	}
	if (units_parse_u64(text, &value, &err) < 0) {
		READER_FAULT(r, node, path, "%s", err.text);
		return false;
	}
	if (value < f->min || value > f->max) {
		READER_FAULT(r, node, path, "%" PRIu64 " is out of bounds, %" PRIu64 " to %" PRIu64,
			     value, f->min, f->max);
		return false;
	}
	*(uint32_t *)to = (uint32_t)value;
	return true;
}

static void fallback_u32(const struct field *f, void *to)
{
	*(uint32_t *)to = (uint32_t)f->fallback;
}

static bool equal_u32(const void *a, const void *b)
{
	return *(const uint32_t *)a == *(const uint32_t *)b;
}

static void show_u32(const struct field *f, const void *value, struct buf *to)
{
	(void)f;
	buf_addf(to, "%" PRIu32, *(const uint32_t *)value);
}

static struct cJSON *u32_to_json(const struct field *f, const void *value)
{
	(void)f;
	return cJSON_CreateNumber((double)*(const uint32_t *)value);
}

static void u32_to_schema(const struct field *f, struct cJSON *schema)
{
	json_add_str(schema, "type", "integer");
	json_add_int(schema, "minimum", (int64_t)f->min);
	json_add_int(schema, "maximum", (int64_t)f->max);
}

const struct kind kind_u32 = {
	.parse = parse_u32,
	.fallback = fallback_u32,
	.equal = equal_u32,
	.show = show_u32,
	.to_json = u32_to_json,
	.to_schema = u32_to_schema,
	.type = "number",
};

/* --- booleans --- */

static bool parse_bool(const struct field *f, const struct yaml_node *node, const struct path *path,
		       const struct reader *r, void *to)
{
	(void)f;
	const char *text = want_text(node, path, "true or false", r);
	if (!text)
		return false;
	bool truth = !strcmp(text, "true");
	if (!truth && !text_equal(text, "false")) {
		READER_FAULT(r, node, path, "must be true or false, not '" SHOWN "'", text);
		return false;
	}
	if (!node->plain) {
		READER_FAULT(r, node, path, "must be true or false, written without quotes");
		return false;
	}
	*(bool *)to = truth;
	return true;
}

static bool equal_bool(const void *a, const void *b)
{
	return *(const bool *)a == *(const bool *)b;
}

static void show_bool(const struct field *f, const void *value, struct buf *to)
{
	(void)f;
	buf_add(to, *(const bool *)value ? "true" : "false");
}

static struct cJSON *bool_to_json(const struct field *f, const void *value)
{
	(void)f;
	return cJSON_CreateBool(*(const bool *)value);
}

static void bool_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	json_add_str(schema, "type", "boolean");
}

const struct kind kind_bool = {
	.parse = parse_bool,
	.equal = equal_bool,
	.show = show_bool,
	.to_json = bool_to_json,
	.to_schema = bool_to_schema,
	.type = "true or false",
};

/* --- one of a few words --- */

static const char *join_choices(const struct field *f, struct buf *to)
{
	for (size_t i = 0; f->choices[i]; i++)
		buf_addf(to, "%s%s", !i ? "" : f->choices[i + 1] ? ", " : " or ", f->choices[i]);
	return to->data;
}

static bool parse_enum(const struct field *f, const struct yaml_node *node, const struct path *path,
		       const struct reader *r, void *to)
{
	auto_buf struct buf known = BUF_INIT;
	char hint[64];
	const char *text = want_text(node, path, join_choices(f, &known), r);
	if (!text)
		return false;
	for (unsigned i = 0; f->choices[i]; i++)
		if (!strcmp(text, f->choices[i])) {
			*(unsigned *)to = i;
			return true;
		}
	READER_FAULT(r, node, path, "must be %s, not '" SHOWN "'%s", known.data, text,
		     did_you_mean(hint, text, f->choices));
	return false;
}

static void show_enum(const struct field *f, const void *value, struct buf *to)
{
	buf_add(to, f->choices[*(const unsigned *)value]);
}

static bool equal_enum(const void *a, const void *b)
{
	return *(const unsigned *)a == *(const unsigned *)b;
}

static struct cJSON *enum_to_json(const struct field *f, const void *value)
{
	return cJSON_CreateString(f->choices[*(const unsigned *)value]);
}

static void enum_to_schema(const struct field *f, struct cJSON *schema)
{
	cJSON *choices = cJSON_AddArrayToObject(schema, "enum");
	for (size_t i = 0; f->choices[i]; i++)
		cJSON_AddItemToArray(choices, cJSON_CreateString(f->choices[i]));
}

const struct kind kind_enum = {
	.parse = parse_enum,
	.equal = equal_enum,
	.show = show_enum,
	.to_json = enum_to_json,
	.to_schema = enum_to_schema,
	.type = "word",
};
