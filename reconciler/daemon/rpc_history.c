/* history: what was wanted, by whom, and what each revision changed. */
#include "daemon/bangerd.h"

#include <inttypes.h>
#include <string.h>

#define PAGE	   200
#define PAGE_BYTES (RPC_FRAME_MAX - (256u << 10))

static cJSON *revision_to_json(const struct store_revision *revision)
{
	cJSON *json = cJSON_CreateObject();
	json_add_int(json, "rev", revision->rev);
	json_add_int(json, "at_ms", revision->at_ms);
	json_add_int(json, "uid", revision->uid);
	json_add_str(json, "who", revision->who);
	json_add_str(json, "stack", revision->stack);
	json_add_str(json, "source", revision->source);
	json_add_str(json, "kind", revision->kind);
	json_add_str(json, "summary", revision->summary);
	json_add_int(json, "vms", revision->vms);
	return json;
}

HANDLER(rpc_history)
{
	struct store_revision_vec list = { 0 };
	const char *name = json_str(request->params, "name", NULL);
	if (store_revisions(request->d->store, json_int(request->params, "below", 0),
			    name && *name ? name : NULL, PAGE, &list, err) < 0)
		return -1;
	*ret = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(*ret, "items");
	for (size_t i = 0; i < list.count; i++)
		cJSON_AddItemToArray(items, revision_to_json(&list.at[i]));
	if (list.count == PAGE)
		json_add_int(*ret, "next", list.at[PAGE - 1].rev);
	store_revisions_clear(&list);
	return 0;
}

/* --- one revision --- */

static void add_changes(cJSON *item, const struct bangerd *d, const struct vm_spec *before,
			const struct vm_spec *after)
{
	struct capabilities can = vm_capabilities(d);
	struct field_change_vec changes = { 0 };
	cJSON *list = cJSON_AddArrayToObject(item, "changes");
	if (before && after)
		vm_spec_diff(before, after, &can, &changes);
	for (size_t i = 0; i < changes.count; i++) {
		cJSON *row = cJSON_CreateObject();
		json_add_str(row, "key", changes.at[i].key);
		json_add_str(row, "from", changes.at[i].from);
		json_add_str(row, "to", changes.at[i].to);
		cJSON_AddItemToArray(list, row);
	}
	field_changes_free(&changes);
}

static int add_side(cJSON *item, const char *key, const char *text, struct vm_spec **ret_spec,
		    struct error *err)
{
	*ret_spec = NULL;
	if (!text) {
		cJSON_AddNullToObject(item, key);
		return 0;
	}
	*ret_spec = spec_from_text(text, NULL, err);
	if (!*ret_spec)
		return -1;
	cJSON_AddItemToObject(item, key, vm_spec_to_json_full(*ret_spec));
	return 0;
}

static cJSON *change_to_json(const struct bangerd *d, const struct store_change *change,
			     struct error *err)
{
	auto_json cJSON *item = cJSON_CreateObject();
	auto_ptr(vm_spec) before = NULL;
	auto_ptr(vm_spec) after = NULL;
	json_add_str(item, "name", change->name);
	json_add_str(item, "stack_before", change->stack_before);
	json_add_str(item, "stack_after", change->stack_after);
	if (add_side(item, "before", change->spec_before, &before, err) < 0 ||
	    add_side(item, "after", change->spec_after, &after, err) < 0) {
		error_wrap(err, "vm '%s'", change->name);
		return NULL;
	}
	auto_free char *summary = before && after ? NULL : vm_spec_summary(before ? before : after);
	json_add_str(item, "summary", summary);
	add_changes(item, d, before, after);
	return take_ptr(&item);
}

/* What still fits the frame; the first always goes, and is refused there if it is too much. */
static bool fits(const cJSON *item, size_t *used)
{
	auto_free char *text = json_print(item);
	bool first = *used == 0;
	*used += strlen(text) + 1;
	return first || *used <= PAGE_BYTES;
}

static int add_vms(const struct bangerd *d, const struct store_change_vec *changes, cJSON *page,
		   struct error *err)
{
	cJSON *items = cJSON_AddArrayToObject(page, "items");
	size_t used = 0, i = 0;
	for (; i < changes->count; i++) {
		cJSON *item = change_to_json(d, &changes->at[i], err);
		if (!item)
			return -1;
		if (!fits(item, &used)) {
			cJSON_Delete(item);
			break;
		}
		cJSON_AddItemToArray(items, item);
	}
	if (i > 0 && (i < changes->count || changes->count == PAGE))
		json_add_str(page, "next", changes->at[i - 1].name);
	return 0;
}

HANDLER(rpc_history_show)
{
	struct store *store = request->d->store;
	int64_t rev = json_int(request->params, "rev", 0);
	struct store_revision head;
	struct store_change_vec changes = { 0 };
	if (store_revision(store, rev, &head, err) < 0)
		return -1;
	auto_json cJSON *page = cJSON_CreateObject();
	cJSON_AddItemToObject(page, "revision", revision_to_json(&head));
	store_revision_clear(&head);
	if (store_changes(store, rev, json_str(request->params, "after", ""), PAGE, &changes, err) <
	    0)
		return -1;
	int failed = add_vms(request->d, &changes, page, err);
	store_changes_clear(&changes);
	if (failed == 0)
		*ret = take_ptr(&page);
	return failed;
}

/* --- what was wanted then --- */

HANDLER(rpc_history_specs)
{
	struct past past;
	int64_t offset = json_int(request->params, "offset", 0);
	if (past_load(request->d, json_int(request->params, "rev", 0), &past, err) < 0)
		return -1;
	cJSON *page = *ret = cJSON_CreateObject();
	json_add_str(page, "stack", past.set.stack);
	json_add_str(page, "source", past.source);
	cJSON *items = cJSON_AddArrayToObject(page, "items");
	size_t used = 0;
	for (size_t i = offset > 0 ? (size_t)offset : 0; i < past.set.count; i++) {
		cJSON *item = vm_spec_to_json(past.set.vms[i]);
		if (!fits(item, &used)) {
			cJSON_Delete(item);
			json_add_int(page, "next", (int64_t)i);
			break;
		}
		cJSON_AddItemToArray(items, item);
	}
	past_clear(&past);
	return 0;
}
