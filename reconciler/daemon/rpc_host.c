/* resources, gc, doctor, and the sweep at start: the ledger of exec/ledger.h, made by a worker.
 *
 * The loop gives it a copy of which VMs are known, run and are worked on; what begins in between is
 * protected by locks, identity and the least age of an orphan. */
#include "daemon/bangerd.h"
#include "daemon/doctor.h"
#include "daemon/host.h"
#include "exec/ledger.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE	   100 /* a path may be 4 KiB, and six times that in JSON */
#define GC_AT_ONCE 200

enum look_for { LOOK_RESOURCES, LOOK_GC, LOOK_SWEEP, LOOK_DOCTOR };

struct host_look {
	struct work work; /* first */
	struct host_look *next;
	struct bangerd *d;
	struct later *later; /* NULL: nobody waits */
	enum look_for what_for;
	bool dry_run, orphans, fix;
	char digest[17]; /* "": any */
	size_t offset;
	struct ledger ledger;

	/* out */
	cJSON *reply;
	struct error err;
	size_t removed;
};

static void look_free(struct host_look *look)
{
	struct host_look **at = &look->d->looks;
	while (*at != look)
		at = &(*at)->next;
	*at = look->next;
	ledger_clear(&look->ledger);
	free(look->ledger.owners);
	cJSON_Delete(look->reply);
	free(look);
}

void host_looks_free(struct bangerd *d)
{
	while (d->looks)
		look_free(d->looks);
}

/* --- in the worker --- */

static cJSON *object_to_json(const struct object *object)
{
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "kind", object->kind);
	json_add_str(json, "what", object->what);
	if (object->id[0])
		json_add_str(json, "vm", object->id);
	if (object->owner[0])
		json_add_str(json, "owner", object->owner);
	json_add_bool(json, "orphan", object->orphan);
	if (object->why)
		json_add_str(json, "why", object->why);
	json_add_bool(json, "data", object->data);
	json_add_int(json, "size", (int64_t)object->size);
	json_add_int(json, "since_ms", object->since_ms);
	return json;
}

static void list_resources(struct host_look *look)
{
	const struct object_vec *objects = &look->ledger.objects;
	cJSON *items = cJSON_AddArrayToObject(look->reply, "items");
	size_t seen = 0, added = 0;
	for (size_t i = 0; i < objects->count; i++) {
		if (look->orphans && !objects->at[i].orphan)
			continue;
		if (seen++ < look->offset)
			continue;
		if (added++ == PAGE) {
			json_add_int(look->reply, "next", (int64_t)(look->offset + PAGE));
			return;
		}
		cJSON_AddItemToArray(items, object_to_json(&objects->at[i]));
	}
}

static int check_digest(struct host_look *look)
{
	char now[17];
	snprintf(now, sizeof(now), "%016" PRIx64, ledger_digest(&look->ledger, true));
	json_add_str(look->reply, "digest", now);
	if (!look->digest[0] || !strcmp(look->digest, now))
		return 0;
	return error_set(&look->err, ERROR_CONFLICT,
			 "the orphans of this host are others meanwhile, look again with "
			 "banger gc --dry-run");
}

static void note_removed(struct host_look *look, const struct object *object)
{
	look->removed++;
	log_info(NULL, "removed %s '%s', %s", object->kind, object->what, object->why);
}

static void collect(struct host_look *look)
{
	struct ledger *ledger = &look->ledger;
	cJSON *items = cJSON_AddArrayToObject(look->reply, "items");
	size_t added = 0, left = 0;
	if (check_digest(look) < 0)
		return;
	for (size_t i = 0; i < ledger->objects.count; i++) {
		const struct object *object = &ledger->objects.at[i];
		if (!ledger_takes(ledger, object, true))
			continue;
		if (added++ >= GC_AT_ONCE) {
			left++;
			continue;
		}
		struct error err = { 0 };
		cJSON *item = object_to_json(object);
		cJSON_AddItemToArray(items, item);
		if (look->dry_run)
			continue;
		if (ledger_discard(ledger, object, &err) < 0)
			cJSON_AddItemToObject(item, "error", error_to_json(&err));
		else
			note_removed(look, object);
	}
	json_add_int(look->reply, "left", (int64_t)left);
}

static void sweep(struct host_look *look)
{
	for (size_t i = 0; i < look->ledger.objects.count; i++) {
		const struct object *object = &look->ledger.objects.at[i];
		struct error err = { 0 };
		if (!ledger_takes(&look->ledger, object, false))
			continue;
		if (ledger_discard(&look->ledger, object, &err) < 0)
			log_warn(NULL, "cannot sweep %s '%s': %s", object->kind, object->what,
				 err.text);
		else
			note_removed(look, object);
	}
}

/* Also where the host cannot be looked at: that is a finding. */
static void examine(struct host_look *look)
{
	struct error looked = { 0 };
	if (ledger_look(&look->ledger, &looked) < 0)
		log_debug(NULL, "%s", looked.text);
	const struct doctor doctor = { &look->d->paths, &look->ledger, &looked };
	doctor_report(&doctor, look->fix, cJSON_AddArrayToObject(look->reply, "items"));
}

static void look_run(struct work *work)
{
	struct host_look *look = (struct host_look *)work;
	look->reply = cJSON_CreateObject();
	if (look->what_for == LOOK_DOCTOR) {
		examine(look);
		return;
	}
	if (ledger_look(&look->ledger, &look->err) < 0)
		return;
	if (look->what_for == LOOK_RESOURCES)
		list_resources(look);
	else if (look->what_for == LOOK_GC)
		collect(look);
	else
		sweep(look);
}

/* --- in the loop --- */

static void look_done(struct work *work)
{
	struct host_look *look = (struct host_look *)work;
	bool failed = look->err.code != ERROR_NONE;
	if (look->removed)
		event_add(look->d, EVENT_GC, NULL, "%zu orphans removed%s", look->removed,
			  look->what_for == LOOK_SWEEP ? ", none held data" : "");
	if (look->later && failed)
		later_refuse(look->later, &look->err);
	else if (look->later)
		later_answer(look->later, take_ptr(&look->reply));
	else if (failed)
		log_error(NULL, "cannot look for orphans: %s", look->err.text);
	look_free(look);
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct owner *)a)->id, ((const struct owner *)b)->id);
}

static struct host_look *look_new(struct bangerd *d, enum look_for what_for)
{
	struct host_look *look = xcalloc(1, sizeof(*look));
	look->work = (struct work){ .run = look_run, .done = look_done };
	look->d = d;
	look->what_for = what_for;
	look->ledger.host = &d->host;
	look->ledger.runtime = d->paths.runtime;
	look->ledger.owners = xcalloc(d->vm_count + 1, sizeof(*look->ledger.owners));
	look->ledger.owner_count = d->vm_count;
	for (size_t i = 0; i < d->vm_count; i++) {
		const struct vm *vm = d->vms[i];
		struct owner *owner = &look->ledger.owners[i];
		*owner = (struct owner){ .runs = vm->pid != 0, .busy = vm->job != NULL };
		owner->adopted = vm->adopted ? vm->pid : 0;
		owner->started_ms = vm->started_ms;
		str_copy(owner->id, sizeof(owner->id), vm->row.id);
		str_copy(owner->name, sizeof(owner->name), vm->row.name);
	}
	if (d->vm_count)
		qsort(look->ledger.owners, d->vm_count, sizeof(*look->ledger.owners), by_id);
	look->next = d->looks;
	d->looks = look;
	return look;
}

HANDLER(rpc_host_resources)
{
	(void)ret;
	int64_t offset = json_int(request->params, "offset", 0);
	if (offset < 0)
		return error_set(err, ERROR_INVALID, "'offset' is below zero");
	struct host_look *look = look_new(request->d, LOOK_RESOURCES);
	look->offset = (size_t)offset;
	look->orphans = json_bool(request->params, "orphans", false);
	look->later = conn_later(request);
	pool_submit(request->d->pool, &look->work);
	return 1;
}

HANDLER(rpc_host_gc)
{
	(void)ret;
	const char *digest = json_str(request->params, "digest", "");
	if (digest[0] && strlen(digest) != 16)
		return error_set(err, ERROR_INVALID, "'digest' is not one");
	struct host_look *look = look_new(request->d, LOOK_GC);
	str_copy(look->digest, sizeof(look->digest), digest);
	look->dry_run = json_bool(request->params, "dry_run", false);
	look->later = conn_later(request);
	pool_submit(request->d->pool, &look->work);
	return 1;
}

HANDLER(rpc_doctor)
{
	(void)ret;
	bool fix = json_bool(request->params, "fix", false);
	if (fix && conn_check_trusted(request->conn, "doctor --fix", err) < 0)
		return -1;
	struct host_look *look = look_new(request->d, LOOK_DOCTOR);
	look->fix = fix;
	look->later = conn_later(request);
	pool_submit(request->d->pool, &look->work);
	return 1;
}

void host_sweep(struct bangerd *d)
{
	pool_submit(d->pool, &look_new(d, LOOK_SWEEP)->work);
}
