#include "plan/plan.h"
#include "plan/text.h"
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

#define CHANGES_MAX 64 /* of one VM; the field table is shorter */

static const struct {
	const char *key;
	size_t offset;
} counts[] = {
	{ "to_create", offsetof(struct plan, to_create) },
	{ "to_change", offsetof(struct plan, to_change) },
	{ "to_restart", offsetof(struct plan, to_restart) },
	{ "to_reimage", offsetof(struct plan, to_reimage) },
	{ "to_delete", offsetof(struct plan, to_delete) },
	{ "to_adopt", offsetof(struct plan, to_adopt) },
	{ "refused", offsetof(struct plan, refused) },
	{ "waiting", offsetof(struct plan, waiting) },
	{ "kept", offsetof(struct plan, kept) },
	{ "pending", offsetof(struct plan, pending) },
	{ "unchanged", offsetof(struct plan, unchanged) },
};

static void add_text(cJSON *object, const char *key, const char *text)
{
	if (*text)
		json_add_str(object, key, text);
}

struct cJSON *vm_plan_to_json(const struct vm_plan *plan)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "name", plan->name);
	json_add_str(json, "kind", action_kind_name(plan->kind));
	json_add_str(json, "class", change_class_name(plan->worst));
	json_add_bool(json, "disruptive", plan->disruptive);
	if (plan->pending)
		json_add_bool(json, "pending", true);
	if (plan->downtime_ms)
		json_add_int(json, "downtime_ms", (int64_t)plan->downtime_ms);
	add_text(json, "reason", plan->reason);
	add_text(json, "summary", plan->summary);
	add_text(json, "after", plan->after);
	if (plan->at_a_time) {
		json_add_str(json, "set", plan->set);
		json_add_int(json, "at_a_time", plan->at_a_time);
	}
	cJSON *changes = plan->changes.count ? cJSON_AddArrayToObject(json, "changes") : NULL;
	for (size_t i = 0; i < plan->changes.count; i++) {
		const struct field_change *change = &plan->changes.at[i];
		cJSON *row = cJSON_CreateObject();
		json_add_str(row, "key", change->key);
		json_add_str(row, "from", change->from);
		json_add_str(row, "to", change->to);
		json_add_str(row, "class", change_class_name(change->class));
		if (change->pending)
			json_add_bool(row, "pending", true);
		cJSON_AddItemToArray(changes, row);
	}
	return json;
}

struct cJSON *plan_head_to_json(const struct plan *plan)
{
	char digest[17];
	snprintf(digest, sizeof(digest), "%016" PRIx64, plan_digest(plan));
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "stack", plan->stack);
	json_add_str(json, "digest", digest);
	json_add_bool(json, "needs_adopt", plan->needs_adopt);
	add_text(json, "guard", plan->guard);
	for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
		size_t count;
		memcpy(&count, (const char *)plan + counts[i].offset, sizeof(count));
		json_add_int(json, counts[i].key, (int64_t)count);
	}
	return json;
}

struct cJSON *plan_to_json(const struct plan *plan)
{
	cJSON *json = plan_head_to_json(plan);
	cJSON *vms = cJSON_AddArrayToObject(json, "vms");
	for (size_t i = 0; i < plan->count; i++)
		if (plan->vms[i].kind != ACTION_NONE)
			cJSON_AddItemToArray(vms, vm_plan_to_json(&plan->vms[i]));
	return json;
}

static int class_from_json(const cJSON *json, enum change_class *ret, struct error *err)
{
	const char *name = json_str(json, "class", "");
	for (unsigned i = 0; i < CLASS_COUNT_; i++)
		if (!strcmp(change_class_name((enum change_class)i), name)) {
			*ret = (enum change_class)i;
			return 0;
		}
	return error_set(err, ERROR_INVALID, "unknown change class '%.40s' in a plan", name);
}

static int kind_from_json(const cJSON *json, enum action_kind *ret, struct error *err)
{
	const char *name = json_str(json, "kind", "");
	for (unsigned i = 0; i < ACTION_COUNT_; i++)
		if (!strcmp(action_kind_name((enum action_kind)i), name)) {
			*ret = (enum action_kind)i;
			return 0;
		}
	return error_set(err, ERROR_INVALID, "unknown action '%.40s' in a plan", name);
}

static int changes_from_json(const cJSON *list, struct plan_text **texts,
			     struct field_change_vec *ret, struct error *err)
{
	const cJSON *row;
	cJSON_ArrayForEach(row, list)
	{
		const char *from = json_str(row, "from", "");
		const char *to = json_str(row, "to", "");
		const char *key = json_str(row, "key", NULL);
		enum change_class class;
		if (!key || strlen(key) > 40 || ret->count == CHANGES_MAX)
			return error_set(err, ERROR_INVALID, "a change in a plan is malformed");
		if (class_from_json(row, &class, err) < 0)
			return -1;
		field_change_vec_push(
			ret, (struct field_change){ .key = plan_text_keep(texts, key),
						    .from = xstrdup(from),
						    .to = xstrdup(to),
						    .class = class,
						    .pending = json_bool(row, "pending", false) });
	}
	return 0;
}

static int vm_from_json(const cJSON *json, struct plan_text **texts, struct vm_plan *ret,
			struct error *err)
{
	if (kind_from_json(json, &ret->kind, err) < 0 ||
	    class_from_json(json, &ret->worst, err) < 0)
		return -1;
	const char *name = json_str(json, "name", "");
	if (!*name || !str_copy(ret->name, sizeof(ret->name), name) ||
	    !str_copy(ret->reason, sizeof(ret->reason), json_str(json, "reason", "")) ||
	    !str_copy(ret->summary, sizeof(ret->summary), json_str(json, "summary", "")) ||
	    !str_copy(ret->after, sizeof(ret->after), json_str(json, "after", "")) ||
	    !str_copy(ret->set, sizeof(ret->set), json_str(json, "set", "")))
		return error_set(err, ERROR_INVALID, "a VM in a plan is malformed");
	ret->disruptive = json_bool(json, "disruptive", false);
	int64_t at_a_time = json_int(json, "at_a_time", 0);
	ret->at_a_time = at_a_time > 0 && at_a_time <= UINT32_MAX ? (uint32_t)at_a_time : 0;
	ret->pending = json_bool(json, "pending", false);
	int64_t downtime = json_int(json, "downtime_ms", 0);
	ret->downtime_ms = downtime > 0 ? (uint64_t)downtime : 0;
	return changes_from_json(json_get(json, "changes"), texts, &ret->changes, err);
}

int plan_add_json(struct plan *plan, const struct cJSON *vm, struct error *err)
{
	struct vm_plan entry = { 0 };
	if (vm_from_json(vm, &plan->texts, &entry, err) < 0) {
		vm_plan_clear(&entry);
		return -1;
	}
	/* Room doubles at powers of two, so none has to be stored. */
	if ((plan->count & (plan->count - 1)) == 0)
		plan->vms = xreallocarray(plan->vms, plan->count ? plan->count * 2 : 1,
					  sizeof(*plan->vms));
	plan->vms[plan->count++] = entry;
	return 0;
}

int plan_from_json(const struct cJSON *json, struct plan *ret, struct error *err)
{
	struct plan plan = { 0 };
	const char *stack = json_str(json, "stack", NULL);
	if (!stack)
		return error_set(err, ERROR_INVALID, "a plan without a stack");
	if (!str_copy(plan.guard, sizeof(plan.guard), json_str(json, "guard", "")))
		return error_set(err, ERROR_INVALID, "the guard's text in a plan is too long");
	plan.stack = plan_text_keep(&plan.texts, stack);
	plan.needs_adopt = json_bool(json, "needs_adopt", false);
	for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
		int64_t number = json_int(json, counts[i].key, 0);
		size_t count = number > 0 ? (size_t)number : 0;
		memcpy((char *)&plan + counts[i].offset, &count, sizeof(count));
	}
	const cJSON *vm;
	cJSON_ArrayForEach(vm, json_get(json, "vms"))
	{
		if (plan_add_json(&plan, vm, err) < 0) {
			plan_clear(&plan);
			return -1;
		}
	}
	*ret = plan;
	return 0;
}
