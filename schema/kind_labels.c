/* Labels: a map that is kept sorted by key, so that two can be compared side by side. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

#define LABELS_MAX	64
#define LABEL_KEY_MAX	63
#define LABEL_VALUE_MAX 256
#define LABEL_SET	SET_ALNUM "._/-"

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct label_spec *)a)->key, ((const struct label_spec *)b)->key);
}

static bool parse_label(const struct yaml_pair *pair, const struct path *path,
			const struct reader *r, struct label_spec *ret)
{
	ret->key = pair->key->text;
	if (!*ret->key || !text_only(ret->key, LABEL_SET) || pair->key->count > LABEL_KEY_MAX) {
		READER_FAULT(r, pair->key, path,
			     "a label's key is letters, digits and . _ / -, at most %d",
			     LABEL_KEY_MAX);
		return false;
	}
	ret->value = want_text(pair->value, path, "a string (\"\" for the empty one)", r);
	if (ret->value && pair->value->count > LABEL_VALUE_MAX) {
		READER_FAULT(r, pair->value, path, "%u bytes long, at most %d are allowed",
			     pair->value->count, LABEL_VALUE_MAX);
		return false;
	}
	return ret->value != NULL;
}

/* Those of `defaults` that the VM does not set itself stay. */
static size_t keep_old(struct label_spec *at, size_t count, const struct label_list *old)
{
	size_t own = count;
	for (size_t i = 0; i < old->count; i++)
		if (!bsearch(&old->at[i], at, own, sizeof(*at), by_key))
			at[count++] = old->at[i];
	return count;
}

static bool parse_labels(const struct field *f, const struct yaml_node *node,
			 const struct path *path, const struct reader *r, void *to)
{
	struct label_list *old = to, none = { 0 };
	(void)f;
	if (yaml_is_null(node)) {
		READER_FAULT(r, node, path, "has no value, write {} for none");
		return false;
	}
	if (node->kind != NODE_MAP) {
		READER_FAULT(r, node, path, "must be a mapping of strings, not %s",
			     yaml_kind_name(node));
		return false;
	}
	if (!r->merge_maps)
		old = &none;
	bool good = true;
	size_t count = node->count;
	struct label_spec *at = arena_alloc(r->scratch, (count + old->count) * sizeof(*at), 8);
	for (size_t i = 0; i < count; i++) {
		const struct path key = { .up = path, .key = node->pairs[i].key->text };
		good = parse_label(&node->pairs[i], &key, r, &at[i]) && good;
	}
	if (!good)
		return false;
	if (count)
		qsort(at, count, sizeof(*at), by_key);
	count = keep_old(at, count, old);
	if (count > LABELS_MAX) {
		READER_FAULT(r, node, path, "%zu labels, at most %d are allowed", count,
			     LABELS_MAX);
		return false;
	}
	if (count)
		qsort(at, count, sizeof(*at), by_key);
	*(struct label_list *)to = (struct label_list){ at, count };
	return true;
}

static bool equal_labels(const void *a, const void *b)
{
	const struct label_list *x = a, *y = b;
	if (x->count != y->count)
		return false;
	for (size_t i = 0; i < x->count; i++)
		if (!text_equal(x->at[i].key, y->at[i].key) ||
		    !text_equal(x->at[i].value, y->at[i].value))
			return false;
	return true;
}

static void show_labels(const struct field *f, const void *value, struct buf *to)
{
	const struct label_list *list = value;
	(void)f;
	for (size_t i = 0; i < list->count; i++)
		buf_addf(to, "%s%s=%s", i ? ", " : "[", list->at[i].key, list->at[i].value);
	buf_add(to, list->count ? "]" : "none");
}

static struct cJSON *labels_to_json(const struct field *f, const void *value)
{
	const struct label_list *list = value;
	cJSON *object = cJSON_CreateObject();
	(void)f;
	for (size_t i = 0; i < list->count; i++)
		json_add_str(object, list->at[i].key, list->at[i].value);
	return object;
}

static void pack_labels(struct packer *packer, void *value)
{
	struct label_list *list = value;
	struct label_spec *to = pack_array(packer, list->at, list->count, sizeof(*to));
	for (size_t i = 0; i < list->count; i++) {
		const char *key = pack_text(packer, list->at[i].key);
		const char *text = pack_text(packer, list->at[i].value);
		if (to)
			to[i] = (struct label_spec){ key, text };
	}
	list->at = to ? to : list->count ? list->at : NULL;
}

static void labels_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	json_add_str(schema, "type", "object");
	json_add_int(schema, "maxProperties", LABELS_MAX);
	cJSON *keys = cJSON_AddObjectToObject(schema, "propertyNames");
	schema_pattern(keys, "^[A-Za-z0-9._/-]+$", LABEL_KEY_MAX);
	cJSON *values = cJSON_AddObjectToObject(schema, "additionalProperties");
	cJSON *types = cJSON_AddArrayToObject(values, "type");
	cJSON_AddItemToArray(types, cJSON_CreateString("string"));
	cJSON_AddItemToArray(types, cJSON_CreateString("number"));
	cJSON_AddItemToArray(types, cJSON_CreateString("boolean"));
	json_add_int(values, "maxLength", LABEL_VALUE_MAX);
}

const struct kind kind_labels = {
	.parse = parse_labels,
	.equal = equal_labels,
	.show = show_labels,
	.to_json = labels_to_json,
	.pack = pack_labels,
	.to_schema = labels_to_schema,
	.type = "map of strings",
};
