/* The field table as JSON Schema (draft 2020-12), for editors and for validators that are not us.
 * It is a little stricter than the reader where YAML readers disagree (`mode: 0644` must be quoted)
 * and looser where JSON Schema cannot say it (sizes with units have no bounds). */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

static void add_default(cJSON *schema, const struct field *field)
{
	struct vm_spec fallback;
	fields_fallback(&fallback);
	if (field->dflt) /* depends on the host, or is best said in words */
		return;
	cJSON_AddItemToObject(schema, "default",
			      field->kind->to_json(field, field_of(field, &fallback)));
}

static void add_description(cJSON *schema, const struct field *field)
{
	auto_buf struct buf text = BUF_INIT;
	buf_add(&text, field->doc);
	if (field->dflt)
		buf_addf(&text, " Default: %s.", field->dflt);
	buf_addf(&text, " When changed: %s.",
		 field->classes ? field->classes : change_class_name(field->change));
	json_add_str(schema, "description", text.data);
}

static cJSON *fields_schema(void)
{
	cJSON *vm = cJSON_CreateObject();
	json_add_str(vm, "description",
		     "What a VM is. Fields that are not given have their default.");
	cJSON *types = cJSON_AddArrayToObject(vm, "type");
	cJSON_AddItemToArray(types, cJSON_CreateString("object"));
	cJSON_AddItemToArray(types, cJSON_CreateString("null"));
	json_add_bool(vm, "additionalProperties", false);
	cJSON *members = cJSON_AddObjectToObject(vm, "properties");
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const struct field *field = &vm_fields[i];
		if (field->scope == FIELD_OF_REPLICA)
			continue;
		cJSON *schema = cJSON_AddObjectToObject(members, field->key);
		add_description(schema, field);
		field->kind->to_schema(field, schema);
		add_default(schema, field);
	}
	return vm;
}

static cJSON *add_reference(cJSON *members, const char *key, const char *description)
{
	cJSON *schema = cJSON_AddObjectToObject(members, key);
	json_add_str(schema, "description", description);
	json_add_str(schema, "$ref", "#/$defs/vm");
	return schema;
}

static void add_top(cJSON *members)
{
	cJSON *version = cJSON_AddObjectToObject(members, "version");
	json_add_str(version, "description", "The version of this format.");
	json_add_int(version, "const", 1);
	cJSON *stack = cJSON_AddObjectToObject(members, "stack");
	json_add_str(stack, "description",
		     "The stack these VMs belong to. Default: the name of the directory.");
	json_add_str(stack, "type", "string");
	schema_pattern(stack, PATTERN_VM_NAME, 0);
	add_reference(members, "defaults",
		      "Merged under every VM of this file: a field that the VM gives replaces the "
		      "one here, labels are merged key by key.");
	cJSON *vms = cJSON_AddObjectToObject(members, "vms");
	json_add_str(vms, "description", "The VMs by their names; {} for none.");
	json_add_str(vms, "type", "object");
	json_add_int(vms, "maxProperties", SPEC_VMS_MAX);
	cJSON *names = cJSON_AddObjectToObject(vms, "propertyNames");
	schema_pattern(names, PATTERN_VM_NAME, 0);
	cJSON *each = cJSON_AddObjectToObject(vms, "additionalProperties");
	json_add_str(each, "$ref", "#/$defs/vm");
}

char *schema_emit_json_schema(void)
{
	auto_json cJSON *root = cJSON_CreateObject();
	json_add_str(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
	json_add_str(root, "title", "banger VMs");
	json_add_str(root, "description",
		     "Virtual machines for banger. Generated from the field table, do not edit.");
	json_add_str(root, "type", "object");
	cJSON *required = cJSON_AddArrayToObject(root, "required");
	cJSON_AddItemToArray(required, cJSON_CreateString("version"));
	cJSON_AddItemToArray(required, cJSON_CreateString("vms"));
	json_add_bool(root, "additionalProperties", false);
	cJSON *ignored = cJSON_AddObjectToObject(root, "patternProperties");
	cJSON *extension = cJSON_AddObjectToObject(ignored, "^x-");
	json_add_str(extension, "description", "Ignored: a place for anchors.");
	add_top(cJSON_AddObjectToObject(root, "properties"));
	cJSON *definitions = cJSON_AddObjectToObject(root, "$defs");
	cJSON_AddItemToObject(definitions, "vm", fields_schema());

	auto_free char *text = cJSON_Print(root);
	auto_buf struct buf out = BUF_INIT;
	/* cJSON puts a tab behind each colon; no string of JSON holds a bare one. */
	char before = '\0';
	for (const char *p = text ? text : ""; *p; before = *p++)
		buf_add_char(&out, *p == '\t' && before == ':' ? ' ' : *p);
	buf_add_char(&out, '\n');
	return buf_take(&out);
}
