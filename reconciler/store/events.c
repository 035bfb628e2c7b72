/* What happened, oldest first. The ring is kept by whoever adds (daemon/events.c). */
#include "base/mem.h"
#include "store/statement.h"

void store_event_clear(struct store_event *event)
{
	free(event->vm);
	free(event->stack);
	free(event->kind);
	free(event->text);
	*event = (struct store_event){ 0 };
}

void store_events_clear(struct store_event_vec *events)
{
	for (size_t i = 0; i < events->count; i++)
		store_event_clear(&events->at[i]);
	store_event_vec_clear(events);
}

int store_event_add(struct store *store, const struct store_event *event, struct error *err)
{
	sqlite3_stmt *add = store_prepare(store, EVENT_ADD, err);
	if (!add)
		return -1;
	store_bind_int(add, 1, event->at_ms);
	store_bind_text(add, 2, event->vm);
	store_bind_text(add, 3, event->stack);
	store_bind_text(add, 4, event->kind);
	store_bind_text(add, 5, event->text);
	return store_finish(store, add, "write to", err);
}

int store_event_last(struct store *store, int64_t *ret_id, struct error *err)
{
	sqlite3_stmt *query = store_prepare(store, EVENT_LAST, err);
	if (!query)
		return -1;
	int step = sqlite3_step(query);
	if (step == SQLITE_ROW) {
		*ret_id = sqlite3_column_int64(query, 0);
		step = sqlite3_step(query);
	}
	return store_rows_end(store, query, step, err);
}

int store_events(struct store *store, const struct store_event_query *query,
		 struct store_event_vec *ret, struct error *err)
{
	sqlite3_stmt *rows = store_prepare(store, query->newest ? EVENT_TAIL : EVENT_LIST, err);
	if (!rows)
		return -1;
	store_bind_int(rows, 1, query->after);
	store_bind_int(rows, 2, query->since_ms);
	store_bind_text(rows, 3, query->name);
	store_bind_int(rows, 4, query->limit);
	if (query->newest)
		store_bind_int(rows, 5, query->newest);
	struct store_event_vec events = { 0 };
	int step;
	while ((step = sqlite3_step(rows)) == SQLITE_ROW)
		store_event_vec_push(&events,
				     (struct store_event){ .id = sqlite3_column_int64(rows, 0),
							   .at_ms = sqlite3_column_int64(rows, 1),
							   .vm = store_column(rows, 2),
							   .stack = store_column(rows, 3),
							   .kind = store_column(rows, 4),
							   .text = store_column(rows, 5) });
	if (store_rows_end(store, rows, step, err) < 0) {
		store_events_clear(&events);
		return -1;
	}
	*ret = events;
	return 0;
}

static int drop(struct store *store, enum statement which, int64_t limit, struct error *err)
{
	sqlite3_stmt *statement = store_prepare(store, which, err);
	if (!statement)
		return -1;
	store_bind_int(statement, 1, limit);
	return store_finish(store, statement, "write to", err);
}

int store_events_trim(struct store *store, int64_t up_to_id, struct error *err)
{
	return drop(store, EVENT_TRIM, up_to_id, err);
}

int store_events_expire(struct store *store, int64_t oldest_ms, struct error *err)
{
	return drop(store, EVENT_EXPIRE, oldest_ms, err);
}
