/* guest agent: questions over the feed, and what is let through of their answers. */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(agent_feed, agent_feed_free)

#define UP                                                                                         \
	"{\"id\":1,\"result\":{\"version\":1,\"boot_id\":\"0f1e2d3c-4b5a\",\"phase\":\"ready\","   \
	"\"ready\":true,\"phases\":{\"kernel\":1200,\"init\":1500,\"ready\":2345}}}\n"

static enum agent_event say(struct agent_feed *feed, const char *text)
{
	return agent_feed_push(feed, text, strlen(text));
}

static int64_t ask(struct agent_feed *feed, const char *method)
{
	struct error err;
	auto_buf struct buf line = BUF_INIT;
	int64_t id = agent_feed_ask(feed, method, NULL, &line, &err);
	if (id > 0) {
		auto_free char *want =
			xasprintf("{\"id\":%d,\"method\":\"%s\"}\n", (int)id, method);
		assert_string_equal(line.data, want);
	}
	return id;
}

static void answers_come_in_any_order(void **state)
{
	(void)state;
	struct error err = { 0 };
	cJSON *result;
	auto_ptr(agent_feed) feed = agent_feed_new();
	assert_int_equal(ask(feed, "ping"), -1); /* before hello */
	assert_int_equal(say(feed, UP), AGENT_READY);
	int64_t first = ask(feed, "ping"), second = ask(feed, "stats");
	assert_true(first > 1 && second > first);
	auto_free char *text =
		xasprintf("{\"id\":%d,\"result\":{\"cpus\":2}}\n"
			  "{\"id\":%d,\"error\":{\"code\":\"busy\",\"text\":\"later\\u001b\"}}\n",
			  (int)second, (int)first);
	assert_int_equal(say(feed, text), AGENT_REPLY);
	assert_int_equal(agent_feed_take_reply(feed, &result, &err), second);
	assert_int_equal(json_int(result, "cpus", 0), 2);
	cJSON_Delete(result);
	assert_int_equal(agent_feed_push(feed, NULL, 0), AGENT_REPLY);
	assert_int_equal(agent_feed_take_reply(feed, &result, &err), first);
	assert_null(result);
	assert_int_equal(err.code, ERROR_BUSY);
	assert_string_equal(err.text, "the agent says: later?");
	/* A second time it is nobody's. */
	assert_int_equal(say(feed, text), AGENT_NOTHING);
}

static void open_questions_are_bounded(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	assert_int_equal(say(feed, UP), AGENT_READY);
	int64_t id = 0;
	for (int i = 0; i < AGENT_ASKS_MAX; i++)
		assert_true((id = ask(feed, "ping")) > 0);
	assert_int_equal(ask(feed, "ping"), -1);
	agent_feed_forget(feed, id);
	auto_free char *late = xasprintf("{\"id\":%d,\"result\":{}}\n", (int)id);
	assert_int_equal(say(feed, late), AGENT_NOTHING);
	assert_true(ask(feed, "ping") > id);
	agent_feed_forget(feed, 0);
	assert_int_equal(ask(feed, "ping"), -1);
}

/* Answers that were asked for never break the connection, unasked ones do in the end. */
static void only_unasked_answers_are_a_flood(void **state)
{
	(void)state;
	struct error err;
	auto_ptr(agent_feed) feed = agent_feed_new();
	assert_int_equal(say(feed, UP), AGENT_READY);
	for (int i = 0; i < 3000; i++) {
		cJSON *result;
		auto_free char *text =
			xasprintf("{\"id\":%d,\"result\":[]}\n", (int)ask(feed, "ping"));
		assert_int_equal(say(feed, text), AGENT_REPLY);
		agent_feed_take_reply(feed, &result, &err);
		assert_null(result);
	}
	enum agent_event event = AGENT_NOTHING;
	for (int i = 0; i < 1001 && event == AGENT_NOTHING; i++)
		event = say(feed, "{\"id\":7,\"result\":{}}\n");
	assert_int_equal(event, AGENT_BROKEN);
	assert_int_equal(ask(feed, "ping"), -1);
}

static void boot_times_are_kept_by_phase(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	const struct agent_state *known = agent_feed_state(feed);
	assert_int_equal(say(feed, UP), AGENT_READY);
	assert_string_equal(agent_phase_names[0], "kernel");
	assert_int_equal(known->phase_ms[0], 1200);
	assert_int_equal(known->phase_ms[1], 0);
	assert_int_equal(say(feed, "{\"event\":\"phase\",\"params\":{\"phase\":\"ssh\","
				   "\"uptime_ms\":2500}}\n"),
			 AGENT_CHANGED);
	assert_int_equal(known->phase_ms[4], 2500);
	/* Another boot has none of them. */
	assert_int_equal(say(feed, "{\"event\":\"phase\",\"params\":{\"phase\":\"ssh\","
				   "\"uptime_ms\":9,\"boot_id\":\"11111111-2222\"}}\n"),
			 AGENT_CHANGED);
	assert_int_equal(known->phase_ms[0], 0);
	assert_int_equal(known->phase_ms[4], 9);
	assert_false(known->ready);
}

static char *cleaned(const char *method, const char *text)
{
	struct error err;
	auto_json cJSON *result = json_parse(text, strlen(text), &err);
	auto_json cJSON *clean = agent_answer_clean(method, result);
	return json_print(clean);
}

static void only_promised_members_of_their_kind_come_through(void **state)
{
	(void)state;
	static const struct {
		const char *method, *said, *kept;
	} cases[] = {
		{ "ping", "{\"uptime_ms\":5,\"x\":1}", "{\"uptime_ms\":5}" },
		{ "ping", "{\"uptime_ms\":-5}", "{}" },
		{ "ping", "[1]", "{}" },
		{ "nosuch", "{\"a\":1}", "{}" },
		{ "stats", "{\"cpus\":\"2\",\"boot_id\":\"a\\u001b[2J\",\"load_1\":1.5}",
		  "{\"boot_id\":\"a?[2J\"}" },
		{ "health", "{\"ok\":true,\"ready\":1,\"problems\":[\"a\",2,{}]}",
		  "{\"ok\":true,\"problems\":[\"a\"]}" },
		{ "ports", "{\"ports\":[{\"port\":22,\"evil\":[]},7,{\"process\":\"\\u202e\"}]}",
		  "{\"ports\":[{\"port\":22},{\"process\":\"???\"}]}" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_free char *text = cleaned(cases[i].method, cases[i].said);
		assert_string_equal(text, cases[i].kept);
	}
}

static void long_answers_are_cut(void **state)
{
	(void)state;
	auto_buf struct buf said = BUF_INIT;
	buf_add(&said, "{\"problems\":[");
	for (int i = 0; i < 2000; i++)
		buf_addf(&said, "%s\"%*d\"", i ? "," : "", 20, i);
	buf_add(&said, "]}");
	struct error err;
	auto_json cJSON *result = json_parse(said.data, said.len, &err);
	auto_json cJSON *clean = agent_answer_clean("health", result);
	assert_int_equal(cJSON_GetArraySize(json_get(clean, "problems")), 128);
	auto_free char *word = xcalloc(1, 5001);
	memset(word, 'x', 5000);
	auto_free char *line = xasprintf("{\"phase\":\"%s\"}", word);
	auto_free char *text = cleaned("health", line);
	assert_true(strlen(text) < 250);
}

/* What was asked for is no flood, however long a connection lasts. */
static void years_of_long_answers_are_no_flood(void **state)
{
	(void)state;
	struct error err = { 0 };
	auto_ptr(agent_feed) feed = agent_feed_new();
	assert_int_equal(say(feed, UP), AGENT_READY);
	for (int i = 0; i < 500; i++) {
		cJSON *result;
		int64_t id = ask(feed, "ports");
		auto_free char *line =
			xasprintf("{\"id\":%d,\"result\":{\"ports\":[%*s]}}\n", (int)id, 8000, "");
		assert_int_equal(say(feed, line), AGENT_REPLY);
		assert_int_equal(agent_feed_take_reply(feed, &result, &err), id);
		cJSON_Delete(result);
	}
	assert_int_equal(say(feed, "\n"), AGENT_NOTHING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_come_in_any_order),
		cmocka_unit_test(open_questions_are_bounded),
		cmocka_unit_test(only_unasked_answers_are_a_flood),
		cmocka_unit_test(boot_times_are_kept_by_phase),
		cmocka_unit_test(only_promised_members_of_their_kind_come_through),
		cmocka_unit_test(long_answers_are_cut),
		cmocka_unit_test(years_of_long_answers_are_no_flood),
	};
	return cmocka_run_group_tests_name("guest/ask", tests, NULL, NULL);
}
