/* image.*: the store and the catalog. */
#include "daemon/bangerd.h"

#include <stdio.h>
#include <string.h>

static bool vm_uses(const struct vm *vm, const struct image *image)
{
	if (vm->row.image_digest)
		return !strcmp(vm->row.image_digest, image->digest);
	return !strcmp(vm->want->image, image->name);
}

static cJSON *users_of(struct bangerd *d, const struct image *image)
{
	cJSON *users = cJSON_CreateArray();
	for (size_t i = 0; i < d->vm_count; i++)
		if (vm_uses(d->vms[i], image))
			cJSON_AddItemToArray(users, cJSON_CreateString(d->vms[i]->row.name));
	return users;
}

static cJSON *image_to_json(struct bangerd *d, const struct image *image)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "name", image->name);
	json_add_str(json, "digest", image->digest);
	json_add_int(json, "size", (int64_t)image->size);
	json_add_int(json, "min_memory", (int64_t)image->min_memory);
	json_add_str(json, "kernel", image->kernel);
	json_add_int(json, "pulled_ms", image->pulled_ms);
	json_add_bool(json, "in_catalog", catalog_find(image_catalog, image->name) != NULL);
	json_add_str(json, "description", image->description);
	cJSON_AddItemToObject(json, "used_by", users_of(d, image));
	return json;
}

static cJSON *entry_to_json(const struct catalog_entry *entry)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "name", entry->name);
	json_add_str(json, "digest", NULL);
	json_add_int(json, "min_memory", (int64_t)entry->min_memory);
	json_add_str(json, "kernel", entry->kernel);
	json_add_bool(json, "in_catalog", true);
	json_add_str(json, "description", entry->description);
	cJSON_AddItemToObject(json, "used_by", cJSON_CreateArray());
	return json;
}

HANDLER(rpc_image_list)
{
	struct bangerd *d = request->d;
	struct image_vec images = { 0 };
	if (image_list(&d->host.images, &images, err) < 0)
		return -1;
	*ret = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(*ret, "items");
	for (size_t i = 0; i < images.count; i++)
		cJSON_AddItemToArray(items, image_to_json(d, &images.at[i]));
	for (const struct catalog_entry *entry = image_catalog; entry->name; entry++) {
		bool pulled = false;
		for (size_t i = 0; i < images.count; i++)
			pulled |= !strcmp(images.at[i].name, entry->name);
		if (!pulled)
			cJSON_AddItemToArray(items, entry_to_json(entry));
	}
	images_clear(&images);
	return 0;
}

HANDLER(rpc_image_show)
{
	struct image image = { 0 };
	const char *name = json_str(request->params, "name", "");
	if (image_find(&request->d->host.images, name, &image, err) < 0) {
		const struct catalog_entry *entry = catalog_find(image_catalog, name);
		if (!entry)
			return -1;
		*ret = entry_to_json(entry);
		return 0;
	}
	*ret = image_to_json(request->d, &image);
	image_clear(&image);
	return 0;
}

HANDLER(rpc_image_pull)
{
	const char *name = json_str(request->params, "name", "");
	if (!catalog_find(image_catalog, name))
		return error_set(err, ERROR_NOT_FOUND,
				 "the catalog has no image '%.60s', see banger image list", name);
	pull_forget_failures(request->d);
	struct op *op = pull_start(request->d, name, json_bool(request->params, "force", false));
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "op", op->id);
	return 0;
}

HANDLER(rpc_image_delete)
{
	struct bangerd *d = request->d;
	struct image image = { 0 };
	const char *name = json_str(request->params, "name", "");
	if (image_find(&d->host.images, name, &image, err) < 0)
		return -1;
	auto_json cJSON *users = users_of(d, &image);
	image_clear(&image);
	int count = cJSON_GetArraySize(users);
	if (count)
		return error_set(err, ERROR_CONFLICT,
				 "image '%s' is used by %d VM%s, the first is '%s'", name, count,
				 count == 1 ? "" : "s", cJSON_GetArrayItem(users, 0)->valuestring);
	auto_free const char **in_use = xcalloc(d->vm_count + 1, sizeof(*in_use));
	size_t used = 0;
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i]->row.image_digest)
			in_use[used++] = d->vms[i]->row.image_digest;
	if (image_delete(&d->host.images, name, in_use, used, err) < 0)
		return -1;
	*ret = cJSON_CreateObject();
	return 0;
}
