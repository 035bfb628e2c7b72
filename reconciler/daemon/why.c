/* why: what is wanted of a VM against what is there, what was tried, and what it waits for. */
#include "daemon/bangerd.h"
#include "schema/field.h"
#include "schema/kind.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_SHOWN 10

/* --- said of a VM by a plan of its stack, which the VM's own plan cannot know --- */

static bool is_set_aside(const struct vm_plan *action, bool needs_adopt)
{
	return action->kind == ACTION_KEEP || action->kind == ACTION_REFUSE ||
	       (action->kind == ACTION_ADOPT && needs_adopt);
}

void vm_note_plan(struct bangerd *d, const struct plan *plan, const char *stack)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct vm_plan *action = &plan->vms[i];
		bool aside = is_set_aside(action, plan->needs_adopt);
		/* At every look of a watch, of which nearly all leave nothing undone. */
		struct vm *vm = aside || d->any_note ? vm_find(d, action->name) : NULL;
		if (!vm)
			continue;
		vm->note[0] = '\0';
		if (!aside)
			continue;
		d->any_note = true;
		bool by_guard = action->kind == ACTION_KEEP && plan->guard[0];
		snprintf(vm->note, sizeof(vm->note), "stack '%s': %s%s%s%s", stack,
			 action->kind == ACTION_KEEP ? "" : "refused: ",
			 action->reason[0] ? action->reason : "it has no owner, needs --adopt",
			 by_guard ? ": " : "", by_guard ? plan->guard : "");
	}
}

/* --- fields --- */

static void add_field(cJSON *list, const char *key, const char *want, const char *have,
		      bool differs, const char *class)
{
	cJSON *row = cJSON_CreateObject();
	json_add_str(row, "key", key);
	json_add_str(row, "want", want);
	json_add_str(row, "have", have);
	json_add_bool(row, "differs", differs);
	json_add_str(row, "class", class);
	cJSON_AddItemToArray(list, row);
}

static char *value_of(const struct field *field, const struct vm_spec *spec)
{
	auto_buf struct buf text = BUF_INIT;
	field->kind->show(field, field_of(field, spec), &text);
	return buf_take(&text);
}

/* The host's side, which no field of a spec can show. */
static void add_process(cJSON *list, const struct vm *vm, bool all)
{
	bool want = vm->want->state == STATE_RUNNING && !vm->row.hold && !vm->row.deleting;
	const char *exit = vm->row.exit_reason;
	auto_free char *have = vm->pid ? xasprintf("running, pid %d", (int)vm->pid)
			       : exit  ? xasprintf("not running, exited: %s", exit)
				       : xstrdup("not running");
	bool differs = want != (vm->pid != 0);
	if (all || differs)
		add_field(list, "state",
			  want		     ? "running"
			  : vm->row.deleting ? "gone"
					     : "stopped",
			  have, differs, NULL);
	const struct agent_state *state = vm->feed ? agent_feed_state(vm->feed) : NULL;
	if (!vm->pid || (vm->ready && !all))
		return;
	auto_free char *reached =
		vm->ready ? xstrdup("ready")
			  : xasprintf("not yet, it reached '%s'",
				      state && state->phase[0] ? state->phase : "nothing");
	add_field(list, "ready", "ready", reached, !vm->ready, NULL);
}

static cJSON *fields_of(const struct vm *vm, bool all)
{
	struct plan_vm_state state;
	auto_ptr(vm_spec) seen = NULL;
	struct capabilities can = vm_capabilities(vm->d);
	cJSON *list = cJSON_CreateArray();
	add_process(list, vm, all);
	vm_state(vm, &state, &seen);
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const struct field *field = &vm_fields[i];
		bool equal = state.have && field_equal(field, state.have, vm->want);
		if ((equal && !all) || (!state.have && !all) || !strcmp(field->key, "state"))
			continue;
		auto_free char *want = value_of(field, vm->want);
		auto_free char *have = state.have ? value_of(field, state.have) : NULL;
		enum change_class class = CLASS_NONE;
		if (state.have && !equal)
			class = field->decide ? field->decide(state.have, vm->want, &can)
					      : field->change;
		add_field(list, field->key, want, have, !equal,
			  class == CLASS_NONE ? NULL : change_class_name(class));
	}
	return list;
}

/* --- the rest --- */

static void add_events(struct bangerd *d, const char *name, cJSON *json)
{
	struct error ignored;
	struct store_event_vec found = { 0 };
	const struct store_event_query query = { .name = name,
						 .limit = EVENTS_SHOWN,
						 .newest = EVENTS_SHOWN };
	cJSON *list = cJSON_AddArrayToObject(json, "events");
	events_flush(d);
	if (store_events(d->store, &query, &found, &ignored) < 0)
		return;
	for (size_t i = 0; i < found.count; i++)
		cJSON_AddItemToArray(list, event_to_json(&found.at[i]));
	store_events_clear(&found);
}

static void add_tried(const struct vm *vm, cJSON *json)
{
	bool backing_off = vm->retry && loop_timer_is_set(vm->retry);
	if (vm->tried_ms) {
		cJSON *tried = cJSON_AddObjectToObject(json, "tried");
		json_add_str(tried, "kind", action_kind_name(vm->tried));
		json_add_int(tried, "at_ms", vm->tried_ms);
		json_add_bool(tried, "running", vm->job != NULL);
	}
	if (vm->failure)
		cJSON_AddItemToObject(json, "error", error_to_json(vm->failure));
	json_add_int(json, "failures", vm->failures);
	json_add_int(json, "restarts", vm->restarts);
	if (backing_off)
		json_add_int(json, "retry_at_ms", vm->retry_at_ms);
	else if (vm->stuck)
		json_add_str(json, "retry", "not before something about it changes");
}

static const char *waits_for(const struct vm *vm)
{
	if (vm->job)
		return "its job to end";
	if (vm->retry && loop_timer_is_set(vm->retry))
		return "its next try";
	if (vm->waiting[0])
		return vm->waiting;
	return vm->pid && !vm->ready ? "the guest to be ready" : NULL;
}

/* What keeps its directory from being applied as a whole. */
static void add_watch(const struct vm *vm, cJSON *json)
{
	auto_json cJSON *watches = watch_list(vm->d);
	const cJSON *watch;
	cJSON_ArrayForEach(watch, watches)
	{
		const cJSON *fault = cJSON_GetArrayItem(json_get(watch, "faults"), 0);
		if (strcmp(json_str(watch, "stack", ""), vm->row.stack) != 0)
			continue;
		json_add_str(json, "held_back", json_str(watch, "reason", NULL));
		auto_free char *text =
			fault ? xasprintf("%s:%d: %s: %s", json_str(fault, "file", ""),
					  (int)json_int(fault, "line", 0),
					  json_str(fault, "path", ""), json_str(fault, "text", ""))
			      : NULL;
		json_add_str(json, "fault", text);
	}
}

static cJSON *why(const struct vm *vm, bool all)
{
	char reason[600];
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "name", vm->row.name);
	json_add_str(json, "state", vm_phase_name(vm));
	vm_fill_reason(vm, reason, sizeof(reason));
	json_add_str(json, "reason", reason);
	json_add_str(json, "stack", vm->row.stack[0] ? vm->row.stack : NULL);
	json_add_str(json, "file", vm->file);
	cJSON_AddItemToObject(json, "fields", fields_of(vm, all));
	json_add_str(json, "waits_for", waits_for(vm));
	add_tried(vm, json);
	json_add_str(json, "note", vm->note[0] ? vm->note : NULL);
	if (vm->row.stack[0])
		add_watch(vm, json);
	add_events(vm->d, vm->row.name, json);
	return json;
}

/* A name that has no VM may have had one, or was refused before it could have one. */
static cJSON *why_not(struct bangerd *d, const char *name)
{
	auto_json cJSON *json = cJSON_CreateObject();
	json_add_str(json, "name", name);
	json_add_str(json, "state", "absent");
	add_events(d, name, json);
	const cJSON *events = json_get(json, "events");
	int count = cJSON_GetArraySize(events);
	if (!count)
		return NULL;
	json_add_str(json, "reason", json_str(cJSON_GetArrayItem(events, count - 1), "text", ""));
	return take_ptr(&json);
}

HANDLER(rpc_vm_why)
{
	const char *name = json_str(request->params, "name", "");
	struct vm *vm = vm_named(request->d, name, err);
	if (vm)
		*ret = why(vm, json_bool(request->params, "all", false));
	else if (err->code == ERROR_NOT_FOUND)
		*ret = why_not(request->d, name);
	return *ret ? 0 : -1;
}
