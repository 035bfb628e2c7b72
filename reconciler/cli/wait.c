/* Theory of operation: one op.wait for all operations that are still open, short enough that the
 * seconds on the screen move and Ctrl-C is felt. A daemon that ends is noticed by the call that
 * fails: the next one starts a new daemon, whose pid differs, and from there on every open item is
 * judged by vm.list. That is bounded: by --timeout, else by POLL_LIMIT_MS. */
#include "cli/wait.h"
#include "cli/conn.h"
#include "cli/progress.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define TICK_BLOCK_MS 150 /* on a terminal */
#define TICK_MS	      500
#define POLL_MS	      300
#define POLL_LIMIT_MS UINT64_C(600000)
#define RECONNECTS    5 /* in a row */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
	interrupted = signal;
}

struct waiting {
	struct cli *cli;
	struct wait_item_vec *items;
	struct wait_item **by_op; /* sorted by op */
	struct progress progress;
	uint64_t started_ms, polled_ms, deadline_ms; /* deadline 0: none */
	int64_t seen, daemon_pid, daemon_started_ms;
	unsigned reconnects;
};

/* --- the items --- */

void wait_items_clear(struct wait_item_vec *items)
{
	for (size_t i = 0; i < items->count; i++)
		free(items->at[i].name);
	wait_item_vec_clear(items);
}

void wait_items_add_failed(struct wait_item_vec *items, const char *name, const struct error *err)
{
	wait_item_vec_push(items,
			   (struct wait_item){ .name = xstrdup(name), .done = true, .err = *err });
}

static void add_item(struct wait_item_vec *items, const cJSON *json, enum wait_goal goal)
{
	struct wait_item item = { .name = xstrdup(json_str(json, "name", "")), .goal = goal };
	snprintf(item.op, sizeof(item.op), "%s", json_str(json, "op", ""));
	item.done = item.op[0] == '\0';
	item.success = item.done && !conn_item_error(json, &item.err);
	wait_item_vec_push(items, item);
}

void wait_items_add(struct wait_item_vec *items, const cJSON *list, enum wait_goal goal)
{
	const cJSON *item;
	if (cJSON_IsObject(list)) {
		add_item(items, list, goal);
		return;
	}
	cJSON_ArrayForEach(item, list)
	{
		add_item(items, item, goal);
	}
}

static int compare_ops(const void *a, const void *b)
{
	const struct wait_item *x = *(struct wait_item *const *)a;
	const struct wait_item *y = *(struct wait_item *const *)b;
	return strcmp(x->op, y->op);
}

static struct wait_item *find_op(struct waiting *w, const char *op)
{
	size_t low = 0, high = w->items->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(op, w->by_op[middle]->op);
		if (!order)
			return w->by_op[middle];
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static size_t count_open(const struct waiting *w, bool lost)
{
	size_t count = 0;
	for (size_t i = 0; i < w->items->count; i++)
		count += !w->items->at[i].done && w->items->at[i].op_lost == lost;
	return count;
}

static void finish_item(struct wait_item *item, bool success)
{
	item->done = true;
	item->success = success;
}

/* --- by operation --- */

static void take_op(struct waiting *w, struct wait_item *item, const cJSON *op)
{
	const cJSON *progress = json_get(op, "progress");
	int64_t started = json_int(op, "started_ms", 0), updated = json_int(op, "updated_ms", 0);
	snprintf(item->kind, sizeof(item->kind), "%s", json_str(op, "kind", ""));
	snprintf(item->stage, sizeof(item->stage), "%s", json_str(op, "stage", ""));
	snprintf(item->detail, sizeof(item->detail), "%s", json_str(op, "detail", ""));
	item->progress_done = json_int(progress, "done", 0);
	item->progress_total = json_int(progress, "total", 0);
	if (json_bool(op, "done", false)) {
		finish_item(item, json_bool(op, "success", false));
		item->elapsed_ms = updated > started ? (uint64_t)(updated - started) : 0;
		if (!item->success && !conn_item_error(op, &item->err))
			error_set(&item->err, ERROR_SYSTEM, "failed without a reason");
	}
	progress_changed(&w->progress, item);
}

static int wait_ops(struct waiting *w, struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	cJSON *ids = cJSON_AddArrayToObject(params, "ids");
	for (size_t i = 0; i < w->items->count; i++)
		if (!w->items->at[i].done && !w->items->at[i].op_lost)
			cJSON_AddItemToArray(ids, cJSON_CreateString(w->items->at[i].op));
	json_add_int(params, "seen", w->seen);
	json_add_int(params, "timeout_ms", w->progress.block ? TICK_BLOCK_MS : TICK_MS);
	if (conn_call(w->cli, "op.wait", params, &reply, err) < 0)
		return -1;
	const cJSON *op;
	cJSON_ArrayForEach(op, json_get(reply, "items"))
	{
		struct wait_item *item = find_op(w, json_str(op, "id", ""));
		if (item && !item->done)
			take_op(w, item, op);
	}
	w->seen = json_int(reply, "seen", w->seen);
	return 0;
}

/* --- by the VMs' state, when the operations are lost --- */

/* A VM that is stopped may be on its way up, or be where its spec wants it. */
static bool wants_stopped(struct waiting *w, const char *name)
{
	auto_json cJSON *params = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	struct error ignored;
	json_add_str(params, "name", name);
	if (conn_call(w->cli, "vm.show", params, &reply, &ignored) < 0)
		return false;
	return !strcmp(json_str(json_get(reply, "spec"), "state", "running"), "stopped");
}

/* Whether the VM is where the work should bring it. */
static bool has_arrived(struct waiting *w, const struct wait_item *item, const cJSON *vm,
			const char *state)
{
	bool stopped = !strcmp(state, "stopped") || !strcmp(state, "exited");
	if (!vm || item->goal == GOAL_GONE)
		return !vm && item->goal == GOAL_GONE;
	if (item->goal == GOAL_DOWN)
		return stopped;
	return stopped ? wants_stopped(w, item->name) : json_bool(vm, "ready", false);
}

static void judge(struct waiting *w, struct wait_item *item, const cJSON *vm)
{
	const char *state = vm ? json_str(vm, "state", "") : "deleted";
	snprintf(item->stage, sizeof(item->stage), "%s", state);
	item->detail[0] = '\0';
	if (has_arrived(w, item, vm, state)) {
		finish_item(item, true);
	} else if (!vm) {
		error_set(&item->err, ERROR_NOT_FOUND, "vm '%s' is not there any more", item->name);
		finish_item(item, false);
	} else if (!strcmp(state, "failed")) {
		error_set(&item->err, ERROR_SYSTEM, "%s", json_str(vm, "reason", "failed"));
		finish_item(item, false);
	}
	progress_changed(&w->progress, item);
}

static const cJSON *find_vm(const cJSON *list, const char *name)
{
	const cJSON *vm;
	cJSON_ArrayForEach(vm, list)
	{
		if (!strcmp(json_str(vm, "name", ""), name))
			return vm;
	}
	return NULL;
}

/* All of them: a name that is gone would make a question by names fail. */
static int poll_vms(struct waiting *w, struct error *err)
{
	auto_json cJSON *list = NULL;
	if (clock_monotonic_ms() - w->polled_ms < POLL_MS)
		return 0;
	if (conn_list(w->cli, "vm.list", NULL, &list, err) < 0)
		return -1;
	for (size_t i = 0; i < w->items->count; i++)
		if (!w->items->at[i].done && w->items->at[i].op_lost)
			judge(w, &w->items->at[i], find_vm(list, w->items->at[i].name));
	w->polled_ms = clock_monotonic_ms();
	return 0;
}

/* --- both --- */

static void lose_operations(struct waiting *w)
{
	cli_note(w->cli, "bangerd was started anew, going on");
	for (size_t i = 0; i < w->items->count; i++) {
		struct wait_item *item = &w->items->at[i];
		if (item->done || item->op_lost)
			continue;
		item->op_lost = true;
		if (item->goal != GOAL_OTHER)
			continue;
		error_set(&item->err, ERROR_UNAVAILABLE,
			  "bangerd ended during the work, try again");
		finish_item(item, false);
	}
	if (!w->deadline_ms)
		w->deadline_ms = clock_monotonic_ms() + POLL_LIMIT_MS;
}

static void sleep_ms(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	nanosleep(&t, NULL);
}

static int step(struct waiting *w, struct error *err)
{
	if (conn_open(w->cli, true, err) < 0)
		return -1;
	const struct daemon_info *daemon = conn_daemon(w->cli);
	if (!w->daemon_pid) {
		w->daemon_pid = daemon->pid;
		w->daemon_started_ms = daemon->started_ms;
	}
	if (daemon->pid != w->daemon_pid || daemon->started_ms != w->daemon_started_ms) {
		w->daemon_pid = daemon->pid;
		w->daemon_started_ms = daemon->started_ms;
		lose_operations(w);
	}
	if (count_open(w, false) && wait_ops(w, err) < 0)
		return -1;
	if (!count_open(w, true))
		return 0;
	if (!count_open(w, false))
		sleep_ms(w->progress.block ? TICK_BLOCK_MS : POLL_MS);
	return poll_vms(w, err);
}

static int go_on(struct waiting *w, struct error *err)
{
	if (step(w, err) == 0) {
		w->reconnects = 0;
		return 0;
	}
	if (interrupted)
		return 0;
	if (!conn_is_lost(err) || ++w->reconnects > RECONNECTS)
		return -1;
	sleep_ms(100 * w->reconnects);
	return 0;
}

static void advance_clocks(struct waiting *w)
{
	uint64_t elapsed = clock_monotonic_ms() - w->started_ms;
	for (size_t i = 0; i < w->items->count; i++)
		if (!w->items->at[i].done)
			w->items->at[i].elapsed_ms = elapsed;
}

static int run(struct waiting *w, struct error *err)
{
	while (count_open(w, false) + count_open(w, true)) {
		if (interrupted)
			return STATUS_INTERRUPTED;
		if (w->deadline_ms && clock_monotonic_ms() >= w->deadline_ms)
			return STATUS_TIMEOUT;
		if (go_on(w, err) < 0)
			return -1;
		advance_clocks(w);
		progress_paint(&w->progress, false);
	}
	return STATUS_DONE;
}

int wait_all(struct cli *cli, struct wait_item_vec *items, uint64_t timeout_ms, struct error *err)
{
	struct waiting w = { .cli = cli, .items = items, .started_ms = clock_monotonic_ms() };
	struct sigaction action = { .sa_handler = on_interrupt }, before;
	auto_free struct wait_item **by_op = xcalloc(items->count + 1, sizeof(struct wait_item *));
	for (size_t i = 0; i < items->count; i++)
		by_op[i] = &items->at[i];
	if (items->count)
		qsort(by_op, items->count, sizeof(struct wait_item *), compare_ops);
	w.by_op = by_op;
	if (timeout_ms)
		w.deadline_ms = w.started_ms + timeout_ms;
	if (cli->conn) {
		w.daemon_pid = conn_daemon(cli)->pid;
		w.daemon_started_ms = conn_daemon(cli)->started_ms;
	}
	progress_init(&w.progress, cli, items);
	interrupted = 0;
	sigaction(SIGINT, &action, &before);
	int status = run(&w, err);
	sigaction(SIGINT, &before, NULL);
	if (items->count)
		progress_paint(&w.progress, true);
	return status;
}
