/* Operations: what somebody may wait for, kept for a while after they end. */
#include "daemon/bangerd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool drop_oldest_done(struct bangerd *d)
{
	for (size_t i = 0; i < d->op_count; i++) {
		if (!d->ops[i]->done)
			continue;
		free(d->ops[i]);
		memmove(&d->ops[i], &d->ops[i + 1], (--d->op_count - i) * sizeof(*d->ops));
		return true;
	}
	return false;
}

struct op *op_new(struct bangerd *d, const char *kind, const char *name)
{
	while (d->op_count >= OPS_KEPT && drop_oldest_done(d))
		;
	struct op *op = xcalloc(1, sizeof(*op));
	/* Unique over restarts of the daemon, so that an old id is "not found", never another's. */
	snprintf(op->id, sizeof(op->id), "%" PRIx64 "-%" PRIu64, (uint64_t)d->started_ms,
		 ++d->op_next);
	str_copy(op->kind, sizeof(op->kind), kind);
	str_copy(op->name, sizeof(op->name), name);
	str_copy(op->stage, sizeof(op->stage), "queued");
	op->started_ms = op->updated_ms = clock_wall_ms();
	op->version = ++d->op_version;
	d->ops = xreallocarray(d->ops, d->op_count + 1, sizeof(*d->ops));
	d->ops[d->op_count++] = op;
	return op;
}

static void op_changed(struct bangerd *d, struct op *op)
{
	op->updated_ms = clock_wall_ms();
	op->version = ++d->op_version;
	conns_op_changed(d);
}

void op_stage(struct bangerd *d, struct op *op, const char *stage, const char *detail)
{
	if (!op || op->done)
		return;
	if (!detail)
		detail = "";
	if (!strcmp(op->stage, stage) && !strcmp(op->detail, detail))
		return;
	snprintf(op->stage, sizeof(op->stage), "%s", stage);
	snprintf(op->detail, sizeof(op->detail), "%s", detail);
	op_changed(d, op);
}

void op_finish(struct bangerd *d, struct op *op, const struct error *err)
{
	if (!op || op->done)
		return;
	op->done = true;
	op->success = !err || err->code == ERROR_NONE;
	if (!op->success)
		op->err = *err;
	op_changed(d, op);
}

/* --- of a VM --- */

enum direction { UP, DOWN, AWAY };

static enum direction direction_of(const char *kind)
{
	if (!strcmp(kind, "delete"))
		return AWAY;
	return !strcmp(kind, "stop") || !strcmp(kind, "kill") ? DOWN : UP;
}

void vm_op_done(struct vm *vm, const struct error *err)
{
	if (!err)
		op_stage(vm->d, vm->op, vm_phase_name(vm), "");
	op_finish(vm->d, vm->op, err);
	vm->op = NULL;
}

struct op *vm_begin_op(struct vm *vm, const char *kind)
{
	if (vm->op && direction_of(vm->op->kind) != direction_of(kind)) {
		struct error err;
		error_set(&err, ERROR_CANCELLED, "vm '%s': %s was given up, %s was asked for since",
			  vm->row.name, vm->op->kind, kind);
		vm_op_done(vm, &err);
	}
	if (!vm->op)
		vm->op = op_new(vm->d, kind, vm->row.name);
	return vm->op;
}

struct op *op_find(struct bangerd *d, const char *id)
{
	for (size_t i = d->op_count; i-- > 0;)
		if (!strcmp(d->ops[i]->id, id))
			return d->ops[i];
	return NULL;
}

cJSON *op_to_json(const struct op *op)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "id", op->id);
	json_add_str(json, "kind", op->kind);
	json_add_str(json, "name", op->name);
	json_add_str(json, "stage", op->stage);
	json_add_str(json, "detail", op->detail);
	json_add_int(json, "started_ms", op->started_ms);
	json_add_int(json, "updated_ms", op->updated_ms);
	json_add_bool(json, "done", op->done);
	json_add_bool(json, "success", op->success);
	if (op->done && !op->success)
		cJSON_AddItemToObject(json, "error", error_to_json(&op->err));
	else
		cJSON_AddNullToObject(json, "error");
	json_add_int(json, "version", (int64_t)op->version);
	if (op->progress_total) {
		cJSON *progress = cJSON_AddObjectToObject(json, "progress");
		json_add_int(progress, "done", (int64_t)op->progress_done);
		json_add_int(progress, "total", (int64_t)op->progress_total);
	} else {
		cJSON_AddNullToObject(json, "progress");
	}
	return json;
}

/* An id of an earlier daemon, or one that was dropped: over, and nobody knows how it went. */
static cJSON *unknown_op_to_json(const char *id)
{
	struct op op = { .done = true };
	error_set(&op.err, ERROR_NOT_FOUND,
		  "no operation '%.40s': it is over long ago, or of an earlier daemon", id);
	snprintf(op.id, sizeof(op.id), "%.20s", id);
	return op_to_json(&op);
}

#define OP_ITEMS_MAX 500

static int by_version(const void *a, const void *b)
{
	const struct op *x = *(struct op *const *)a, *y = *(struct op *const *)b;
	return x->version < y->version ? -1 : x->version > y->version;
}

/* Those of the ids that moved on since `seen`; NULL when none did. */
static cJSON *ops_since(struct bangerd *d, const cJSON *ids, uint64_t seen)
{
	auto_free struct op **moved = xcalloc((size_t)cJSON_GetArraySize(ids), sizeof(*moved));
	size_t count = 0;
	auto_json cJSON *items = cJSON_CreateArray();
	const cJSON *id;
	cJSON_ArrayForEach(id, ids)
	{
		struct op *op = cJSON_IsString(id) ? op_find(d, id->valuestring) : NULL;
		if (op && op->version > seen)
			moved[count++] = op;
		else if (!op)
			cJSON_AddItemToArray(
				items,
				unknown_op_to_json(cJSON_IsString(id) ? id->valuestring : ""));
	}
	qsort(moved, count, sizeof(struct op *), by_version);
	for (size_t i = 0; i < count && i < OP_ITEMS_MAX; i++) {
		cJSON_AddItemToArray(items, op_to_json(moved[i]));
		seen = moved[i]->version;
	}
	if (!cJSON_GetArraySize(items))
		return NULL;
	cJSON *result = cJSON_CreateObject();
	cJSON_AddItemToObject(result, "items", take_ptr(&items));
	json_add_int(result, "seen", (int64_t)seen);
	return result;
}

/* What op.wait says to these params: NULL while there is nothing new. */
static cJSON *ops_answer(struct bangerd *d, const cJSON *params)
{
	uint64_t seen = (uint64_t)json_int(params, "seen", 0);
	const cJSON *ids = json_get(params, "ids");
	if (cJSON_IsArray(ids))
		return ops_since(d, ids, seen);
	const char *id = json_str(params, "id", "");
	const struct op *op = op_find(d, id);
	if (!op)
		return unknown_op_to_json(id);
	return op->done || op->version > seen ? op_to_json(op) : NULL;
}

/* ... and whatever there is. */
static cJSON *ops_answer_now(struct bangerd *d, const cJSON *params)
{
	cJSON *answer = ops_answer(d, params);
	if (answer)
		return answer;
	const struct op *op = op_find(d, json_str(params, "id", ""));
	if (op && !cJSON_IsArray(json_get(params, "ids")))
		return op_to_json(op);
	answer = cJSON_CreateObject();
	cJSON_AddArrayToObject(answer, "items");
	json_add_int(answer, "seen", json_int(params, "seen", 0));
	return answer;
}

static cJSON *answer_parked(struct bangerd *d, const cJSON *params, bool now)
{
	return now ? ops_answer_now(d, params) : ops_answer(d, params);
}

HANDLER(rpc_op_wait)
{
	(void)err;
	int64_t timeout_ms = json_int(request->params, "timeout_ms", 10000);
	if (timeout_ms < 0 || timeout_ms > 30000)
		timeout_ms = 30000;
	*ret = timeout_ms ? ops_answer(request->d, request->params)
			  : ops_answer_now(request->d, request->params);
	return *ret ? 0 : conn_park(request, (uint64_t)timeout_ms, answer_parked);
}

HANDLER(rpc_op_list)
{
	(void)err;
	struct bangerd *d = request->d;
	int64_t offset = json_int(request->params, "offset", 0);
	cJSON *page = *ret = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(page, "items");
	for (size_t i = offset > 0 ? (size_t)offset : 0; i < d->op_count; i++)
		cJSON_AddItemToArray(items, op_to_json(d->ops[i])); /* OPS_KEPT and running ones */
	return 0;
}
