/* JSON is the YAML of a VM in other brackets: each field writes itself, and reading goes through
 * the reader of files. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

static cJSON *to_json(const struct vm_spec *spec, bool full)
{
	struct vm_spec fallback;
	cJSON *object = cJSON_CreateObject();
	fields_fallback(&fallback);
	json_add_str(object, "name", spec->name);
	if (spec->reader)
		json_add_int(object, "reader", spec->reader);
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const struct field *field = &vm_fields[i];
		if (field->scope == FIELD_OF_FILE)
			continue;
		/* Their defaults are not the table's: they depend on the host. */
		bool always = !strcmp(field->key, "image") || !strcmp(field->key, "memory");
		if (full || always || !field_equal(field, spec, &fallback))
			cJSON_AddItemToObject(object, field->key,
					      field->kind->to_json(field, field_of(field, spec)));
	}
	return object;
}

struct cJSON *vm_spec_to_json(const struct vm_spec *spec)
{
	return to_json(spec, false);
}

struct cJSON *vm_spec_to_json_full(const struct vm_spec *spec)
{
	return to_json(spec, true);
}

/* Takes what is no field out of the tree, which holds the fields beside it. NULL: it is not there.
 */
static const struct yaml_node *take_value(struct yaml_node *root, const char *key)
{
	for (size_t i = 0; i < root->count; i++) {
		const struct yaml_pair pair = root->pairs[i];
		if (!text_equal(pair.key->text, key))
			continue;
		memmove(&root->pairs[i], &root->pairs[i + 1], (root->count - i - 1) * sizeof(pair));
		root->count--;
		return pair.value;
	}
	return NULL;
}

static bool take_name(struct yaml_node *root, struct vm_spec *spec, struct fault_sink *faults)
{
	const struct path path = { .key = "name" };
	const struct yaml_node *value = take_value(root, "name");
	if (value && value->kind == NODE_SCALAR && !value->plain && vm_name_valid(value->text)) {
		str_copy(spec->name, sizeof(spec->name), value->text);
		return true;
	}
	fault_add(faults, 0, 0, &path, "is missing or not the name of a VM");
	return false;
}

static bool take_reader(struct yaml_node *root, struct vm_spec *spec, struct fault_sink *faults)
{
	const struct path path = { .key = "reader" };
	const struct yaml_node *value = take_value(root, "reader");
	uint64_t number = 0;
	if (!value)
		return true;
	bool good = value->kind == NODE_SCALAR && value->plain && value->count <= 10 &&
		    text_only(value->text, SET_DIGIT) && value->text[0] != '0';
	for (const char *at = value->text; good && *at; at++)
		number = number * 10 + (uint64_t)(*at - '0');
	if (good && number < UINT32_MAX) {
		spec->reader = (uint32_t)number;
		return true;
	}
	fault_add(faults, 0, 0, &path, "is not the number of a user");
	return false;
}

struct vm_spec *vm_spec_from_json(const struct cJSON *json, struct error *err)
{
	static const struct spec_context nothing_known = { 0 };
	struct fault_vec faults = { 0 };
	struct fault_sink sink = { .to = &faults, .file = "" };
	auto_ptr(arena) arena = arena_new(4096);
	const struct reader reader = {
		.context = &nothing_known, .stored = true, .scratch = arena, .faults = &sink
	};
	struct draft draft;
	draft_init(&draft, &reader);
	struct yaml_node *root = json ? yaml_from_json(json, arena, &sink) : NULL;
	if (root && root->kind != NODE_MAP)
		fault_add(&sink, 0, 0, NULL, "a VM must be a JSON object");
	else if (root && take_name(root, &draft.spec, &sink) &&
		 take_reader(root, &draft.spec, &sink))
		draft_read(&draft, root, NULL, &reader);
	else if (!root && !fault_any(&sink))
		fault_add(&sink, 0, 0, NULL, "no JSON");
	draft_settle(&draft, NULL, NULL, &reader);
	if (faults_to_error(&faults, err) < 0)
		return NULL;
	return draft_finish(&draft, &reader);
}
