/* What happened, for people and programs: a bounded ring in the store.
 *
 * Theory of operation: event_add() only appends to a list in memory, so that saying something costs
 * the moment in which it happens nothing. A timer writes what has gathered, so many in one
 * transaction, and only then do ids exist: whoever follows by id has never seen one that a killed
 * daemon took with it. A store that cannot be written to (a full disk) is tried again; meanwhile
 * the list is as bounded as the ring.
 *
 * Events say what the log says, by the same rules: no secret, no more than a line. */
#include "daemon/bangerd.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define KEPT	    20000
#define KEPT_MS	    (INT64_C(30) * 24 * 3600 * 1000) /* thirty days */
#define PENDING_MAX KEPT
#define BATCH	    500 /* in one transaction: the loop has more to do */
#define PAUSE_MS    50
#define RETRY_MS    2000
#define TEXT_MAX    400
#define PAGE	    300 /* fits a frame, whatever has to be escaped */

struct events {
	struct store_event_vec pending;
	size_t written; /* of pending */
	int64_t last;	/* id in the store */
	struct loop_timer *timer;
	bool failing;
	uint64_t lost;
};

static const char *const names[EVENT_COUNT_] = {
#define X(name, wire, doc) [EVENT_##name] = wire,
	EVENT_KINDS(X)
#undef X
};

const char *event_kind_name(enum event_kind kind)
{
	return kind < EVENT_COUNT_ ? names[kind] : "unknown";
}

static void due(void *data);

int events_open(struct bangerd *d, struct error *err)
{
	d->events = xcalloc(1, sizeof(*d->events));
	d->events->timer = loop_timer_new(d->loop, due, d);
	return store_event_last(d->store, &d->events->last, err);
}

void events_free(struct bangerd *d)
{
	if (!d->events)
		return;
	if (d->store)
		events_flush(d);
	loop_timer_free(d->events->timer);
	store_events_clear(&d->events->pending);
	free(d->events);
	d->events = NULL;
}

/* --- saying --- */

/* One line, cut after a whole character. */
static char *text_of(const char *fmt, va_list args)
{
	char text[TEXT_MAX + 8];
	int len = vsnprintf(text, sizeof(text), fmt, args);
	if (len >= TEXT_MAX) {
		size_t end = TEXT_MAX - 3;
		while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
			end--;
		str_copy(text + end, sizeof(text) - end, "...");
	}
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20)
			*at = ' ';
	return xstrdup(text);
}

static bool says_the_same(const struct store_event *a, const struct store_event *b)
{
	return !strcmp(a->vm, b->vm) && !strcmp(a->kind, b->kind) && !strcmp(a->text, b->text);
}

static void drop_written(struct events *events)
{
	struct store_event_vec *pending = &events->pending;
	for (size_t i = 0; i < events->written; i++)
		store_event_clear(&pending->at[i]);
	pending->count -= events->written;
	memmove(pending->at, pending->at + events->written, pending->count * sizeof(*pending->at));
	events->written = 0;
}

static void add(struct bangerd *d, enum event_kind kind, const char *vm, const char *stack,
		const char *fmt, va_list args)
{
	struct events *events = d->events;
	struct store_event event = { .at_ms = clock_wall_ms(),
				     .vm = xstrdup(vm ? vm : ""),
				     .stack = xstrdup(stack ? stack : ""),
				     .kind = xstrdup(event_kind_name(kind)),
				     .text = text_of(fmt, args) };
	struct store_event_vec *pending = &events->pending;
	/* What a guest does over and over is said once a pause. */
	bool again = pending->count > events->written &&
		     says_the_same(&pending->at[pending->count - 1], &event);
	if (again || pending->count - events->written >= PENDING_MAX) {
		events->lost += !again;
		store_event_clear(&event);
		return;
	}
	store_event_vec_push(pending, event);
	if (!loop_timer_is_set(events->timer))
		loop_timer_set(events->timer, PAUSE_MS);
}

void event_add(struct bangerd *d, enum event_kind kind, const char *stack, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(d, kind, NULL, stack, fmt, args);
	va_end(args);
}

void vm_event(const struct vm *vm, enum event_kind kind, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(vm->d, kind, vm->row.name, vm->row.stack, fmt, args);
	va_end(args);
}

void vm_event_named(struct bangerd *d, enum event_kind kind, const char *name, const char *stack,
		    const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(d, kind, name, stack, fmt, args);
	va_end(args);
}

/* --- writing --- */

static int write_batch(struct bangerd *d, struct error *err)
{
	struct events *events = d->events;
	size_t end = events->written + BATCH;
	if (end > events->pending.count)
		end = events->pending.count;
	if (store_begin(d->store, err) < 0)
		return -1;
	int failed = 0;
	int64_t last = 0;
	for (size_t i = events->written; failed == 0 && i < end; i++)
		failed = store_event_add(d->store, &events->pending.at[i], err);
	if (failed == 0)
		failed = store_event_last(d->store, &last, err);
	if (failed == 0 && last > KEPT)
		failed = store_events_trim(d->store, last - KEPT, err);
	if (failed == 0)
		failed = store_commit(d->store, err);
	else
		store_rollback(d->store);
	if (failed == 0) {
		events->written = end;
		events->last = last;
		conns_op_changed(d);
	}
	return failed;
}

/* False: there is more, or it could not be written. */
static bool write_some(struct bangerd *d)
{
	struct events *events = d->events;
	struct error err = { 0 };
	if (write_batch(d, &err) < 0) {
		if (!events->failing)
			log_error(NULL, "cannot write down what happened, trying again: %s",
				  err.text);
		events->failing = true;
		return false;
	}
	if (events->lost)
		log_warn(NULL, "%llu events were not written down",
			 (unsigned long long)events->lost);
	events->lost = 0;
	events->failing = false;
	if (events->written < events->pending.count)
		return false;
	drop_written(events);
	return true;
}

void events_flush(struct bangerd *d)
{
	struct events *events = d->events;
	while (events->pending.count > events->written && !write_some(d) && !events->failing)
		;
}

static void due(void *data)
{
	struct bangerd *d = data;
	if (!d->events->pending.count)
		return;
	bool all = write_some(d);
	if (!all)
		loop_timer_set(d->events->timer, d->events->failing ? RETRY_MS : 1);
}

void events_settle(struct bangerd *d)
{
	struct error err = { 0 };
	if (store_events_expire(d->store, clock_wall_ms() - KEPT_MS, &err) < 0)
		log_error(NULL, "cannot drop old events: %s", err.text);
}

/* --- reading --- */

cJSON *event_to_json(const struct store_event *event)
{
	cJSON *json = cJSON_CreateObject();
	json_add_int(json, "id", event->id);
	json_add_int(json, "at_ms", event->at_ms);
	json_add_str(json, "vm", event->vm);
	json_add_str(json, "stack", event->stack);
	json_add_str(json, "kind", event->kind);
	json_add_str(json, "text", event->text);
	return json;
}

static struct store_event_query query_of(const cJSON *params)
{
	const char *name = json_str(params, "name", NULL);
	int64_t tail = json_int(params, "tail", 0);
	int64_t after = json_int(params, "offset", 0);
	return (struct store_event_query){ .after = after > 0 ? after : 0,
					   .since_ms = json_int(params, "since_ms", 0),
					   .name = name && *name ? name : NULL,
					   .newest = tail > 0 ? tail : 0,
					   .limit = PAGE };
}

static cJSON *page_of(struct bangerd *d, const struct store_event_vec *events, bool full)
{
	cJSON *page = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(page, "items");
	for (size_t i = 0; i < events->count; i++)
		cJSON_AddItemToArray(items, event_to_json(&events->at[i]));
	if (full)
		json_add_int(page, "next", events->at[events->count - 1].id);
	json_add_int(page, "last", d->events->last);
	return page;
}

static int answer(struct bangerd *d, const cJSON *params, cJSON **ret, struct error *err)
{
	struct store_event_query query = query_of(params);
	struct store_event_vec found = { 0 };
	if (store_events(d->store, &query, &found, err) < 0)
		return -1;
	bool full = (int64_t)found.count == query.limit;
	*ret = page_of(d, &found, full);
	store_events_clear(&found);
	return 0;
}

/* Of a request that waits: something new, or the time is over. */
static cJSON *answer_parked(struct bangerd *d, const cJSON *params, bool now)
{
	struct error err = { 0 };
	auto_json cJSON *page = NULL;
	int64_t last = d->events->last;
	if (!now && last <= json_int(params, "offset", 0))
		return NULL;
	if (answer(d, params, &page, &err) < 0)
		return now ? cJSON_CreateObject() : NULL;
	bool any = cJSON_GetArraySize(json_get(page, "items")) > 0;
	return any || now ? take_ptr(&page) : NULL;
}

HANDLER(rpc_events)
{
	struct bangerd *d = request->d;
	int64_t timeout_ms = json_int(request->params, "timeout_ms", 0);
	events_flush(d);
	auto_json cJSON *page = NULL;
	if (answer(d, request->params, &page, err) < 0)
		return -1;
	bool any = cJSON_GetArraySize(json_get(page, "items")) > 0;
	if (timeout_ms <= 0 || any || d->events->last < json_int(request->params, "offset", 0)) {
		*ret = take_ptr(&page);
		return 0;
	}
	return conn_park(request, timeout_ms > 30000 ? 30000 : (uint64_t)timeout_ms, answer_parked);
}
