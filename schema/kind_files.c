/* Files that are copied into the guest. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

#define SOURCE_MAX     4096
#define MODE_FALLBACK  0644u
#define OWNER_FALLBACK "root:root"
#define PATTERN_OWNER  "^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})(:([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}))?$"

static bool parse_guest_path(const struct yaml_node *node, const struct path *path,
			     const struct reader *r, struct file_spec *to)
{
	to->path = want_guest_path(node, path, "file", r);
	return to->path != NULL;
}

/* YAML readers disagree on 0644 (octal or decimal); here it is always octal digits, quoted or not,
 * and 420 or 644, which can be meant either way, are refused. */
static bool parse_mode(const struct yaml_node *node, const struct path *path,
		       const struct reader *r, struct file_spec *to)
{
	const char *text = want_text(node, path, "four octal digits such as 0644", r);
	if (!text)
		return false;
	if (node->count != 4 || !text_only(text, "01234567")) {
		READER_FAULT(r, node, path, "must be four octal digits such as 0644, not '%.40s'",
			     text);
		return false;
	}
	to->mode = 0;
	for (; *text; text++)
		to->mode = to->mode * 8 + (uint32_t)(*text - '0');
	return true;
}

static bool id_is_valid(const char *text, size_t len)
{
	bool number = len > 0 && strchr(SET_DIGIT, text[0]);
	if (!len || len > (number ? 9 : 32))
		return false;
	if (number)
		return strspn(text, SET_DIGIT) >= len;
	return text[0] != '-' && strspn(text, SET_LOWER SET_DIGIT "_-") >= len;
}

static bool parse_owner(const struct yaml_node *node, const struct path *path,
			const struct reader *r, struct file_spec *to)
{
	const char *text = want_text(node, path, "user or user:group", r);
	if (!text)
		return false;
	size_t user = strcspn(text, ":");
	if (!id_is_valid(text, user) ||
	    (text[user] && !id_is_valid(text + user + 1, strlen(text + user + 1)))) {
		READER_FAULT(r, node, path, "must be user or user:group, not '%.40s'", text);
		return false;
	}
	to->owner = text;
	return true;
}

static bool parse_source(const struct yaml_node *node, const struct path *path,
			 const struct reader *r, struct file_spec *to)
{
	to->source = reader_file(r, node, path, SOURCE_MAX);
	return to->source != NULL;
}

static const struct {
	const char *key;
	bool (*parse)(const struct yaml_node *, const struct path *, const struct reader *,
		      struct file_spec *);
} members[] = {
	{ "source", parse_source },
	{ "path", parse_guest_path },
	{ "mode", parse_mode },
	{ "owner", parse_owner },
};

static bool parse_member(const struct yaml_pair *pair, const struct path *up,
			 const struct reader *r, struct file_spec *to)
{
	static const char *const known[] = { "source", "path", "mode", "owner", NULL };
	const struct path path = { .up = up, .key = pair->key->text };
	char hint[64];
	for (size_t i = 0; i < ARRAY_COUNT(members); i++)
		if (!strcmp(path.key, members[i].key))
			return members[i].parse(pair->value, &path, r, to);
	READER_FAULT(r, pair->key, &path, "unknown field%s", did_you_mean(hint, path.key, known));
	return false;
}

static bool parse_file(const struct yaml_node *node, const struct path *path,
		       const struct reader *r, struct file_spec *to)
{
	*to = (struct file_spec){ .mode = MODE_FALLBACK, .owner = OWNER_FALLBACK };
	if (node->kind != NODE_MAP) {
		READER_FAULT(r, node, path, "must be a mapping of source and path, not %s",
			     yaml_kind_name(node));
		return false;
	}
	bool good = true;
	for (size_t i = 0; i < node->count; i++)
		good = parse_member(&node->pairs[i], path, r, to) && good;
	for (size_t i = 0; i < 2; i++)
		if (!yaml_get(node, members[i].key)) {
			READER_FAULT(r, node, path, "'%s' is missing", members[i].key);
			good = false;
		}
	return good;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct file_spec *)a)->path, ((const struct file_spec *)b)->path);
}

static bool parse_files(const struct field *f, const struct yaml_node *node,
			const struct path *path, const struct reader *r, void *to)
{
	(void)f;
	if (!want_list(node, path, "files", r))
		return false;
	bool good = true;
	struct file_list list = { .count = node->count };
	list.at = arena_alloc(r->scratch, list.count * sizeof(*list.at), 8);
	for (size_t i = 0; i < node->count; i++) {
		const struct path at = { .up = path, .index = i };
		good = parse_file(node->items[i], &at, r, &list.at[i]) && good;
	}
	if (!good)
		return false;
	if (list.count)
		qsort(list.at, list.count, sizeof(*list.at), by_path);
	for (size_t i = 1; i < list.count; i++)
		if (!strcmp(list.at[i].path, list.at[i - 1].path)) {
			READER_FAULT(r, node, path, "two files have the path '%.200s'",
				     list.at[i].path);
			return false;
		}
	*(struct file_list *)to = list;
	return true;
}

static bool equal_files(const void *a, const void *b)
{
	const struct file_list *x = a, *y = b;
	if (x->count != y->count)
		return false;
	for (size_t i = 0; i < x->count; i++) {
		const struct file_spec *p = &x->at[i], *q = &y->at[i];
		if (!text_equal(p->source, q->source) || !text_equal(p->path, q->path) ||
		    p->mode != q->mode || !text_equal(p->owner, q->owner))
			return false;
	}
	return true;
}

static void show_files(const struct field *f, const void *value, struct buf *to)
{
	const struct file_list *list = value;
	(void)f;
	for (size_t i = 0; i < list->count; i++)
		buf_addf(to, "%s%s %04o %s", i ? ", " : "[", list->at[i].path, list->at[i].mode,
			 list->at[i].owner);
	buf_add(to, list->count ? "]" : "none");
}

static struct cJSON *files_to_json(const struct field *f, const void *value)
{
	const struct file_list *list = value;
	cJSON *array = cJSON_CreateArray();
	(void)f;
	for (size_t i = 0; i < list->count; i++) {
		const struct file_spec *file = &list->at[i];
		char mode[16];
		snprintf(mode, sizeof(mode), "%04o", file->mode);
		cJSON *object = cJSON_CreateObject();
		json_add_str(object, "source", file->source);
		json_add_str(object, "path", file->path);
		json_add_str(object, "mode", mode);
		json_add_str(object, "owner", file->owner);
		cJSON_AddItemToArray(array, object);
	}
	return array;
}

static void pack_files(struct packer *packer, void *value)
{
	struct file_list *list = value;
	struct file_spec *to = pack_array(packer, list->at, list->count, sizeof(*to));
	for (size_t i = 0; i < list->count; i++) {
		struct file_spec file = list->at[i];
		file.source = pack_text(packer, file.source);
		file.path = pack_text(packer, file.path);
		file.owner = pack_text(packer, file.owner);
		if (to)
			to[i] = file;
	}
	list->at = to ? to : list->count ? list->at : NULL;
}

static cJSON *add_string(cJSON *members_schema, const char *key, const char *pattern, unsigned max)
{
	cJSON *member = cJSON_AddObjectToObject(members_schema, key);
	json_add_str(member, "type", "string");
	schema_pattern(member, pattern, max);
	return member;
}

static void files_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	json_add_str(schema, "type", "array");
	json_add_int(schema, "maxItems", LIST_MAX);
	cJSON *items = cJSON_AddObjectToObject(schema, "items");
	json_add_str(items, "type", "object");
	json_add_bool(items, "additionalProperties", false);
	cJSON *required = cJSON_AddArrayToObject(items, "required");
	cJSON_AddItemToArray(required, cJSON_CreateString("source"));
	cJSON_AddItemToArray(required, cJSON_CreateString("path"));
	cJSON *own = cJSON_AddObjectToObject(items, "properties");
	add_string(own, "source", "^.+$", SOURCE_MAX);
	add_string(own, "path", PATTERN_GUEST_PATH, GUEST_PATH_MAX);
	json_add_str(add_string(own, "mode", "^[0-7]{4}$", 0), "default", "0644");
	json_add_str(add_string(own, "owner", PATTERN_OWNER, 0), "default", OWNER_FALLBACK);
}

const struct kind kind_files = {
	.parse = parse_files,
	.equal = equal_files,
	.show = show_files,
	.to_json = files_to_json,
	.pack = pack_files,
	.to_schema = files_to_schema,
	.type = "list of files",
};
