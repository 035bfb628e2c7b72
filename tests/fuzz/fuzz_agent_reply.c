/* Whatever a guest sends on its agent's port, in the pieces that the first byte asks for. */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
	if (!memchr(text, '\0', size))
		abort();
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			abort();
}

static void check_state(const struct agent_state *state)
{
	check_text(state->boot_id, sizeof(state->boot_id));
	check_text(state->phase, sizeof(state->phase));
	check_text(state->failed, sizeof(state->failed));
}

/* Three questions are always open, so that the guest can answer any. */
static void ask(struct agent_feed *feed)
{
	struct error err;
	auto_buf struct buf line = BUF_INIT;
	for (int i = 0; i < 3; i++)
		agent_feed_ask(feed, "ping", NULL, &line, &err);
}

static void take(struct agent_feed *feed)
{
	static const char *const methods[] = { "ping", "stats", "health", "ports", "boot" };
	struct error err = { 0 };
	cJSON *result;
	if (agent_feed_take_reply(feed, &result, &err) < 2)
		abort();
	if (!result)
		check_text(err.text, sizeof(err.text));
	for (size_t i = 0; result && i < 5; i++) {
		auto_json cJSON *clean = agent_answer_clean(methods[i], result);
		auto_free char *text = json_print(clean);
		if (strlen(text) > 128 * 1024)
			abort();
	}
	cJSON_Delete(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	size_t piece = data[0] ? data[0] : size;
	struct agent_feed *feed = agent_feed_new();
	unsigned events = 0;
	for (size_t at = 1; at < size; at += piece) {
		size_t len = size - at < piece ? size - at : piece;
		enum agent_event event = agent_feed_push(feed, (const char *)data + at, len);
		while (event != AGENT_NOTHING && event != AGENT_BROKEN) {
			events += event != AGENT_REPLY;
			if (event == AGENT_REPLY)
				take(feed);
			ask(feed);
			check_state(agent_feed_state(feed));
			event = agent_feed_push(feed, NULL, 0);
		}
		if (event == AGENT_BROKEN && agent_feed_push(feed, NULL, 0) != AGENT_BROKEN)
			abort();
	}
	if (events > 1000)
		abort();
	agent_feed_free(feed);
	return 0;
}
