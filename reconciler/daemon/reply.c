/* What several handlers need to read a request and to say an answer. */
#include "daemon/bangerd.h"

#include <stdio.h>
#include <string.h>

cJSON *error_to_json(const struct error *err)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "code", error_code_name(err->code));
	json_add_str(json, "text", err->text);
	return json;
}

cJSON *fault_to_json(const struct fault *fault)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "file", fault->file);
	json_add_int(json, "line", fault->line);
	json_add_int(json, "column", fault->column);
	json_add_str(json, "path", fault->path);
	json_add_str(json, "text", fault->text);
	return json;
}

/* A VM's entry is at most a few KiB (22 fields, 200 bytes a side); the frame has room to spare. */
#define PAGE_BYTES (RPC_FRAME_MAX - (128u << 10))

cJSON *plan_page_to_json(const struct plan *plan, size_t offset)
{
	cJSON *page = plan_head_to_json(plan);
	cJSON *vms = cJSON_AddArrayToObject(page, "vms");
	size_t used = 0;
	for (size_t i = offset; i < plan->count; i++) {
		if (plan->vms[i].kind == ACTION_NONE)
			continue;
		cJSON *vm = vm_plan_to_json(&plan->vms[i]);
		auto_free char *text = json_print(vm);
		used += strlen(text) + 1;
		if (used > PAGE_BYTES) {
			cJSON_Delete(vm);
			json_add_int(page, "next", (int64_t)i);
			break;
		}
		cJSON_AddItemToArray(vms, vm);
	}
	return page;
}

#define CANDIDATES 5

/* Those whose names begin so, "a, b, … and 3 more", and the first of them. */
static size_t candidates(struct bangerd *d, const char *prefix, struct vm **ret_first,
			 struct buf *names)
{
	size_t count = 0, len = strlen(prefix);
	for (size_t i = 0; len && i < d->vm_count; i++) {
		if (strncmp(d->vms[i]->row.name, prefix, len) != 0)
			continue;
		if (!count)
			*ret_first = d->vms[i];
		if (count < CANDIDATES)
			buf_addf(names, "%s%s", count ? ", " : "", d->vms[i]->row.name);
		count++;
	}
	if (count > CANDIDATES)
		buf_addf(names, " and %zu more", count - CANDIDATES);
	return count;
}

static struct vm *named(struct bangerd *d, const char *name, bool whole, struct error *err)
{
	struct vm *vm = vm_find(d, name);
	if (vm)
		return vm;
	auto_buf struct buf names = BUF_INIT;
	size_t count = candidates(d, name, &vm, &names);
	if (count == 1 && !whole)
		return vm;
	if (!count)
		error_set(err, ERROR_NOT_FOUND, "no VM is called '%.63s', see banger ps", name);
	else if (count == 1)
		error_set(err, ERROR_NOT_FOUND,
			  "no VM is called '%.63s'; '%s' has to be written out for this", name,
			  names.data);
	else
		error_set(err, ERROR_CONFLICT, "'%.63s' may mean any of %s", name, names.data);
	return NULL;
}

struct vm *vm_named(struct bangerd *d, const char *name, struct error *err)
{
	return named(d, name, false, err);
}

struct vm *vm_named_whole(struct bangerd *d, const char *name, struct error *err)
{
	return named(d, name, true, err);
}

cJSON *each_name(struct request *request, vm_verb verb, bool whole)
{
	cJSON *result = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(result, "items");
	const cJSON *name;
	cJSON_ArrayForEach(name, json_get(request->params, "names"))
	{
		struct error err = { 0 };
		const char *text = cJSON_IsString(name) ? name->valuestring : "";
		struct vm *vm = named(request->d, text, whole, &err);
		const struct op *op = NULL;
		bool failed = !vm || verb(request, vm, &op, &err) < 0;
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "name", vm ? vm->row.name : text);
		if (failed)
			cJSON_AddItemToObject(item, "error", error_to_json(&err));
		else if (op)
			json_add_str(item, "op", op->id);
		cJSON_AddItemToArray(items, item);
	}
	return result;
}
