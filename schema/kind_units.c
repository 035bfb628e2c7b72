/* Sizes and durations. */
#include "schema/kind.h"

#include "base/json.h"
#include "base/units.h"

#include <string.h>

typedef const char *format_fn(uint64_t value, char text[UNITS_TEXT_MAX]);
typedef int parse_fn(const char *text, uint64_t *ret, struct error *err);

/* Bounds are the same business for both. */
static bool parse_bounded(const struct field *f, const struct yaml_node *node,
			  const struct path *path, const struct reader *r, uint64_t *to,
			  const char *what, parse_fn *parse, format_fn *format)
{
	struct error err;
	uint64_t value;
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];
	const char *text = want_text(node, path, what, r);
	if (!text)
		return false;
	if (parse(text, &value, &err) < 0) {
		READER_FAULT(r, node, path, "%s", err.text);
		return false;
	}
	bool none = f->zero_is_none && !value;
	if (!none && (value < f->min || value > f->max)) {
		READER_FAULT(r, node, path, "'%.40s' is out of bounds, %s%s to %s", text,
			     f->zero_is_none ? "0 or " : "", format(f->min, a), format(f->max, b));
		return false;
	}
	if (f->step && value % f->step) {
		READER_FAULT(r, node, path, "'%.40s' is not a multiple of %s, the next is %s", text,
			     format(f->step, a), format(value - value % f->step + f->step, b));
		return false;
	}
	*to = value;
	return true;
}

static bool parse_size(const struct field *f, const struct yaml_node *node, const struct path *path,
		       const struct reader *r, void *to)
{
	return parse_bounded(f, node, path, r, to, "a size such as 512Mi", units_parse_size,
			     units_format_size);
}

static bool parse_duration(const struct field *f, const struct yaml_node *node,
			   const struct path *path, const struct reader *r, void *to)
{
	return parse_bounded(f, node, path, r, to, "a duration such as 90s", units_parse_duration,
			     units_format_duration);
}

static void fallback_u64(const struct field *f, void *to)
{
	*(uint64_t *)to = f->fallback;
}

static bool equal_u64(const void *a, const void *b)
{
	return *(const uint64_t *)a == *(const uint64_t *)b;
}

static void show_size(const struct field *f, const void *value, struct buf *to)
{
	char text[UNITS_TEXT_MAX];
	uint64_t bytes = *(const uint64_t *)value;
	buf_add(to, !bytes && f->zero_is_none ? "none" : units_format_size(bytes, text));
}

static void show_duration(const struct field *f, const void *value, struct buf *to)
{
	char text[UNITS_TEXT_MAX];
	uint64_t ms = *(const uint64_t *)value;
	(void)f;
	buf_add(to, ms ? units_format_duration(ms, text) : "none");
}

static struct cJSON *size_to_json(const struct field *f, const void *value)
{
	char text[UNITS_TEXT_MAX];
	uint64_t bytes = *(const uint64_t *)value;
	(void)f;
	/* Without a unit it is a number, 0 above all; the bounds keep it below 2^53. */
	units_format_size(bytes, text);
	return text[strspn(text, "0123456789")] ? cJSON_CreateString(text)
						: cJSON_CreateNumber((double)bytes);
}

static struct cJSON *duration_to_json(const struct field *f, const void *value)
{
	char text[UNITS_TEXT_MAX];
	(void)f;
	return cJSON_CreateString(units_format_duration(*(const uint64_t *)value, text));
}

static void size_to_schema(const struct field *f, struct cJSON *schema)
{
	cJSON *types = cJSON_AddArrayToObject(schema, "type");
	cJSON_AddItemToArray(types, cJSON_CreateString("string"));
	cJSON_AddItemToArray(types, cJSON_CreateString("integer"));
	schema_pattern(schema, PATTERN_SIZE, 0);
	json_add_int(schema, "minimum", f->zero_is_none ? 0 : (int64_t)f->min);
	json_add_int(schema, "maximum", (int64_t)f->max);
}

static void duration_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	json_add_str(schema, "type", "string");
	schema_pattern(schema, PATTERN_DURATION, 0);
}

const struct kind kind_size = {
	.parse = parse_size,
	.fallback = fallback_u64,
	.equal = equal_u64,
	.show = show_size,
	.to_json = size_to_json,
	.to_schema = size_to_schema,
	.type = "size",
};

const struct kind kind_duration = {
	.parse = parse_duration,
	.fallback = fallback_u64,
	.equal = equal_u64,
	.show = show_duration,
	.to_json = duration_to_json,
	.to_schema = duration_to_schema,
	.type = "duration",
};
