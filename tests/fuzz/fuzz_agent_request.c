/* Bytes from the host's side of the port, through the channel and the parser, to methods that
 * change nothing; and the same bytes as a seed and as the kernel's tables. */
#include "agent/listeners.h"
#include "agent/methods.h"
#include "agent/vitals.h"
#include "base/mem.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum method_answer answer_nothing(struct agent *agent, const struct request *request,
					 cJSON *result, struct error *err)
{
	(void)agent, (void)err;
	json_add_str(result, "text", json_str(request->params, "text", NULL));
	return METHOD_DONE;
}

static const struct method table[] = { { "hello", answer_nothing },
				       { "ping", answer_nothing },
				       { NULL, NULL } };

static void on_line(void *arg, const char *line, size_t len)
{
	methods_answer(table, arg, line, len);
}

static void feed_channel(const uint8_t *data, size_t size)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return;
	auto_close int host = ends[1];
	struct agent agent = { 0 };
	channel_init(&agent.channel, ends[0]);
	char answers[4096];
	for (size_t at = 0; at < size;) {
		ssize_t put = write(host, data + at, size - at);
		at += put > 0 ? (size_t)put : 0;
		if (channel_look(&agent.channel))
			channel_read(&agent.channel, on_line, &agent);
		while (read(host, answers, sizeof(answers)) > 0)
			channel_flush(&agent.channel);
	}
	channel_clear(&agent.channel);
}

static void read_tables(char *text)
{
	uint64_t load[3];
	struct listeners found = { 0 };
	auto_json cJSON *units = cJSON_CreateArray();
	listeners_add(&found, text, false);
	listeners_add(&found, text, true);
	meminfo_bytes(text, "MemTotal");
	loadavg_parse(text, load);
	units_parse(text, units);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	read_tables(text);
	struct error err = { 0 };
	auto_ptr(seed) seed = seed_parse((const char *)data, size, &err);
	feed_channel(data, size);
	return 0;
}
