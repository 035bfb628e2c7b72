/* What all kinds share: taking nodes apart, and packing. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

const char *want_text(const struct yaml_node *node, const struct path *path, const char *what,
		      const struct reader *reader)
{
	if (yaml_is_null(node)) {
		READER_FAULT(reader, node, path, "has no value, must be %s", what);
		return NULL;
	}
	if (node->kind != NODE_SCALAR) {
		READER_FAULT(reader, node, path, "must be %s, not %s", what, yaml_kind_name(node));
		return NULL;
	}
	if (!text_is_clean(node->text, node->count)) {
		READER_FAULT(reader, node, path,
			     "must be one line of text without control characters");
		return NULL;
	}
	return node->text;
}

bool want_list(const struct yaml_node *node, const struct path *path, const char *what,
	       const struct reader *reader)
{
	if (yaml_is_null(node)) {
		READER_FAULT(reader, node, path, "has no value, write [] for none");
		return false;
	}
	if (node->kind != NODE_LIST) {
		READER_FAULT(reader, node, path, "must be a list of %s, not %s", what,
			     yaml_kind_name(node));
		return false;
	}
	if (node->count > LIST_MAX) {
		READER_FAULT(reader, node, path, "%u entries, at most %d are allowed", node->count,
			     LIST_MAX);
		return false;
	}
	return true;
}

static bool has_dots(const char *path)
{
	for (const char *p = path; (p = strstr(p, "/..")); p += 3)
		if (p[3] == '/' || !p[3])
			return true;
	return false;
}

const char *want_guest_path(const struct yaml_node *node, const struct path *path, const char *what,
			    const struct reader *reader)
{
	const char *text = want_text(node, path, "an absolute path in the guest", reader);
	if (!text)
		return NULL;
	if (text[0] == '/' && text[node->count - 1] != '/' && node->count <= GUEST_PATH_MAX &&
	    !has_dots(text))
		return text;
	READER_FAULT(reader, node, path,
		     "must be the absolute path of a %s in the guest, without '..'", what);
	return NULL;
}

const char *did_you_mean(char text[64], const char *typed, const char *const *known)
{
	text[0] = '\0';
	for (; *known; known++)
		if (text_is_near(typed, *known)) {
			snprintf(text, 64, ", did you mean '%s'?", *known);
			break;
		}
	return text;
}

void schema_pattern(struct cJSON *schema, const char *pattern, unsigned max_length)
{
	json_add_str(schema, "pattern", pattern);
	if (max_length)
		json_add_int(schema, "maxLength", max_length);
}

void schema_pattern_list(struct cJSON *schema, const char *pattern, unsigned max_length)
{
	json_add_str(schema, "type", "array");
	json_add_int(schema, "maxItems", LIST_MAX);
	cJSON *items = cJSON_AddObjectToObject(schema, "items");
	json_add_str(items, "type", "string");
	schema_pattern(items, pattern, max_length);
}

/* Values so common that 10,000 VMs should not hold 10,000 of them. */
static const char *shared_text(const char *text)
{
	static const char *const shared[] = { "",	 "tiny",      "debian",	     "127.0.0.1",
					      "0.0.0.0", "root:root", WORKSPACE_PATH };
	for (size_t i = 0; i < ARRAY_COUNT(shared); i++)
		if (shared[i][0] == text[0] && !strcmp(shared[i], text))
			return shared[i];
	return NULL;
}

static size_t align_up(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

const char *pack_text(struct packer *packer, const char *text)
{
	if (!text)
		return NULL;
	const char *shared = shared_text(text);
	if (shared)
		return shared;
	size_t len = strlen(text);
	packer->used += len + 1;
	return packer->arena ? arena_text(packer->arena, text, len) : text;
}

void *pack_array(struct packer *packer, const void *at, size_t count, size_t size)
{
	if (!count)
		return NULL;
	packer->used = align_up(packer->used) + count * size;
	if (!packer->arena)
		return NULL;
	return memcpy(arena_alloc(packer->arena, count * size, 8), at, count * size);
}

/* --- lists of strings --- */

bool strings_equal(const void *a, const void *b)
{
	const struct string_list *x = a, *y = b;
	if (x->count != y->count)
		return false;
	for (size_t i = 0; i < x->count; i++)
		if (!text_equal(x->at[i], y->at[i]))
			return false;
	return true;
}

struct cJSON *strings_to_json(const struct field *f, const void *value)
{
	const struct string_list *list = value;
	cJSON *array = cJSON_CreateArray();
	(void)f;
	for (size_t i = 0; i < list->count; i++)
		cJSON_AddItemToArray(array, cJSON_CreateString(list->at[i]));
	return array;
}

void strings_pack(struct packer *packer, void *value)
{
	struct string_list *list = value;
	const char **to = pack_array(packer, list->at, list->count, sizeof(*to));
	for (size_t i = 0; i < list->count; i++) {
		const char *text = pack_text(packer, list->at[i]);
		if (to)
			to[i] = text;
	}
	list->at = to ? to : list->count ? list->at : NULL;
}
