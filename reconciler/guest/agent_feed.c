/* Theory of operation
 *
 * The loop reads the agent's socket and pushes the bytes here; out comes what changed. The guest
 * is not trusted: a line is at most 64 KiB, and everything an honest agent ever says on one
 * connection (the reply to hello, four phases, a failure) is far below UNSOLICITED_MAX lines and
 * BYTES_MAX, so
 * beyond that it is a flood and the connection is given up, whatever the rate.
 *
 * A reply to a question that was asked is counted by the question, which the caller bounds.
 *
 * Tolerated is what honest guests do: the tail of a line whose beginning went to an earlier
 * connection comes first (one bad line before the reply to hello), events and replies we do not
 * know, and a guest that boots anew on the same connection (another boot_id). */
#include "guest/agent_lines.h"
#include "guest/guest.h"
#include "base/mem.h"

#include <string.h>

const char *const agent_phase_names[AGENT_PHASES] = { "kernel", "mounted", "network",
						      "init",	"ssh",	   "ready" };

#define UNSOLICITED_MAX 1000
#define BYTES_MAX	(512u << 10) /* the same in bytes */
#define HELLO_ID	1

struct agent_feed {
	struct agent_lines lines;
	struct agent_state state;
	unsigned count;		       /* lines so far */
	size_t bytes;		       /* so far, without the replies that were asked for */
	bool greeted;		       /* hello was answered */
	int64_t asked[AGENT_ASKS_MAX]; /* ids that wait for a reply; 0: free */
	int64_t last_id;
	cJSON *reply; /* of AGENT_REPLY, until it is taken */
	bool broken;
};

struct agent_feed *agent_feed_new(void)
{
	struct agent_feed *feed = xcalloc(1, sizeof(*feed));
	feed->lines.in = BUF_INIT;
	feed->last_id = HELLO_ID;
	return feed;
}

void agent_feed_free(struct agent_feed *feed)
{
	if (!feed)
		return;
	agent_lines_clear(&feed->lines);
	cJSON_Delete(feed->reply);
	free(feed);
}

const char *agent_feed_hello(const struct agent_feed *feed)
{
	(void)feed;
	return AGENT_HELLO;
}

const struct agent_state *agent_feed_state(const struct agent_feed *feed)
{
	return &feed->state;
}

static bool boot_id_valid(const char *id)
{
	size_t len = strspn(id, "0123456789abcdef-");
	return len >= 8 && !id[len] && len < sizeof(((struct agent_state *)0)->boot_id);
}

static bool phase_valid(const char *phase)
{
	size_t len = strspn(phase, "abcdefghijklmnopqrstuvwxyz");
	return len && !phase[len] && len < sizeof(((struct agent_state *)0)->phase);
}

/* Another boot: what was known of the last one is void. */
static void note_boot(struct agent_state *state, const char *boot_id)
{
	if (!boot_id_valid(boot_id) || !strcmp(state->boot_id, boot_id))
		return;
	*state = (struct agent_state){ 0 };
	str_copy(state->boot_id, sizeof(state->boot_id), boot_id);
}

static uint64_t milliseconds(const cJSON *object, const char *key)
{
	int64_t value = json_int(object, key, 0);
	return value > 0 ? (uint64_t)value : 0;
}

static void note_phase(struct agent_state *state, const char *phase, uint64_t at_ms)
{
	for (size_t i = 0; i < AGENT_PHASES; i++)
		if (!strcmp(agent_phase_names[i], phase))
			state->phase_ms[i] = at_ms;
}

/* The reply to hello: the whole state. */
static enum agent_event on_hello(struct agent_feed *feed, const cJSON *result)
{
	struct agent_state *state = &feed->state;
	const char *boot_id = json_str(result, "boot_id", ""),
		   *phase = json_str(result, "phase", "");
	if (feed->greeted || !boot_id_valid(boot_id) || !phase_valid(phase))
		return AGENT_BROKEN;
	feed->greeted = true;
	bool was_ready = state->ready;
	note_boot(state, boot_id);
	str_copy(state->phase, sizeof(state->phase), phase);
	for (size_t i = 0; i < AGENT_PHASES; i++)
		state->phase_ms[i] = milliseconds(json_get(result, "phases"), agent_phase_names[i]);
	state->ready = json_bool(result, "ready", false);
	state->ssh = milliseconds(json_get(result, "phases"), "ssh") != 0;
	state->ready_ms = state->ready ? milliseconds(json_get(result, "phases"), "ready") : 0;
	agent_text_copy(state->failed, sizeof(state->failed), json_str(result, "failed", ""));
	if (state->failed[0])
		return AGENT_FAILED;
	return state->ready && !was_ready ? AGENT_READY : AGENT_CHANGED;
}

static enum agent_event on_phase(struct agent_state *state, const cJSON *params)
{
	const char *phase = json_str(params, "phase", "");
	if (!phase_valid(phase))
		return AGENT_BROKEN;
	note_boot(state, json_str(params, "boot_id", ""));
	note_phase(state, phase, milliseconds(params, "uptime_ms"));
	bool is_ssh = !strcmp(phase, "ssh");
	bool changed = strcmp(state->phase, phase) != 0 || (is_ssh && !state->ssh);
	state->ssh |= is_ssh;
	/* "ready" is the furthest, whatever comes after it. */
	if (!state->ready)
		str_copy(state->phase, sizeof(state->phase), phase);
	if (strcmp(phase, "ready") != 0 || state->ready)
		return changed ? AGENT_CHANGED : AGENT_NOTHING;
	state->ready = true;
	state->ready_ms = milliseconds(params, "uptime_ms");
	return AGENT_READY;
}

/* "mounting: cannot mount …" */
static enum agent_event on_failed(struct agent_state *state, const cJSON *params)
{
	const char *step = json_str(params, "step", "");
	const char *text = json_str(params, "text", "no reason given");
	auto_free char *both = xasprintf("%s%s%s", step, *step ? ": " : "", text);
	agent_text_copy(state->failed, sizeof(state->failed), both);
	return AGENT_FAILED;
}

static enum agent_event on_message(struct agent_feed *feed, const cJSON *message)
{
	const char *event = json_str(message, "event", NULL);
	const cJSON *params = json_get(message, "params");
	if (event && !strcmp(event, "phase"))
		return on_phase(&feed->state, params);
	if (event && !strcmp(event, "failed"))
		return on_failed(&feed->state, params);
	if (event || json_int(message, "id", -1) != HELLO_ID)
		return AGENT_NOTHING;
	const cJSON *result = json_get(message, "result");
	return cJSON_IsObject(result) ? on_hello(feed, result) : AGENT_BROKEN;
}

/* --- questions --- */

static int64_t *find_asked(struct agent_feed *feed, int64_t id)
{
	for (size_t i = 0; i < AGENT_ASKS_MAX; i++)
		if (feed->asked[i] == id)
			return &feed->asked[i];
	return NULL;
}

int64_t agent_feed_ask(struct agent_feed *feed, const char *method, const cJSON *params,
		       struct buf *line, struct error *err)
{
	int64_t *place = find_asked(feed, 0);
	if (!feed->greeted || feed->broken)
		return error_set(err, ERROR_UNAVAILABLE, "the guest's agent has not answered yet");
	if (!place)
		return error_set(err, ERROR_BUSY, "the guest's agent owes %d answers",
				 AGENT_ASKS_MAX);
	if (agent_request_add(line, feed->last_id + 1, method, params, err) < 0)
		return -1;
	*place = ++feed->last_id;
	return *place;
}

void agent_feed_forget(struct agent_feed *feed, int64_t id)
{
	int64_t *place = id > 0 ? find_asked(feed, id) : NULL;
	if (place)
		*place = 0;
}

int64_t agent_feed_take_reply(struct agent_feed *feed, cJSON **ret, struct error *err)
{
	auto_json cJSON *reply = take_ptr(&feed->reply);
	int64_t id = json_int(reply, "id", -1);
	*ret = NULL;
	if (json_get(reply, "error"))
		agent_error_read(json_get(reply, "error"), err);
	else if (!cJSON_IsObject(json_get(reply, "result")))
		error_set(err, ERROR_SYSTEM, "the agent's answer holds no result");
	else
		*ret = cJSON_DetachItemFromObjectCaseSensitive(reply, "result");
	return id;
}

/* A reply that somebody waits for is kept for agent_feed_take_reply(); false: any other message. */
static bool keep_reply(struct agent_feed *feed, cJSON **message)
{
	int64_t id = json_int(*message, "id", -1);
	int64_t *place = id > 0 ? find_asked(feed, id) : NULL;
	if (!place || json_get(*message, "event"))
		return false;
	*place = 0;
	cJSON_Delete(feed->reply);
	feed->reply = take_ptr(message);
	return true;
}

static enum agent_event on_line(struct agent_feed *feed, const char *line, size_t len)
{
	struct error ignored;
	auto_json cJSON *message = len ? json_parse(line, len, &ignored) : NULL;
	if (cJSON_IsObject(message) && keep_reply(feed, &message)) {
		feed->bytes -= len + 1;
		return AGENT_REPLY;
	}
	if (++feed->count > UNSOLICITED_MAX)
		return AGENT_BROKEN;
	if (!len)
		return AGENT_NOTHING;
	if (cJSON_IsObject(message))
		return on_message(feed, message);
	bool tail = feed->count == 1 && !feed->greeted;
	return tail ? AGENT_NOTHING : AGENT_BROKEN;
}

enum agent_event agent_feed_push(struct agent_feed *feed, const char *data, size_t len)
{
	enum agent_event event = AGENT_NOTHING;
	feed->bytes += len;
	if (len && !feed->broken &&
	    (feed->bytes > BYTES_MAX || !agent_lines_push(&feed->lines, data, len)))
		feed->broken = true;
	while (!feed->broken && event == AGENT_NOTHING) {
		char *line = NULL;
		size_t line_len = 0;
		int more = agent_lines_next(&feed->lines, &line, &line_len);
		if (more == 0)
			return AGENT_NOTHING;
		event = more < 0 ? AGENT_BROKEN : on_line(feed, line, line_len);
		if (event == AGENT_BROKEN)
			feed->broken = true;
	}
	return feed->broken ? AGENT_BROKEN : event;
}
