/* Whatever a guest sends on its agent's port, in the pieces that the first byte asks for. */
#include "guest/guest.h"

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
			events++;
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
