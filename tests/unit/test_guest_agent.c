/* guest agent, the host's ends: what an honest guest says, and what a lying one tries. */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "driver/driver.h"
#include "sys/loop.h"
#include "sys/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

DEFINE_CLEANUP(agent_feed, agent_feed_free)

#define BOOT	"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
#define HELLO	"{\"id\":1,\"result\":{\"version\":1,\"agent\":\"0.1\",\"boot_id\":\"" BOOT "\","
#define UP	HELLO "\"phase\":\"ready\",\"ready\":true,\"phases\":{\"ready\":2345}}}\n"
#define BOOTING HELLO "\"phase\":\"mounted\",\"ready\":false,\"phases\":{\"mounted\":900}}}\n"

static enum agent_event say(struct agent_feed *feed, const char *text)
{
	return agent_feed_push(feed, text, strlen(text));
}

static void a_boot_is_told_step_by_step(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	const struct agent_state *known = agent_feed_state(feed);
	assert_non_null(strstr(agent_feed_hello(feed), "\"hello\""));
	assert_int_equal(say(feed, BOOTING), AGENT_CHANGED);
	assert_string_equal(known->boot_id, BOOT);
	assert_string_equal(known->phase, "mounted");
	assert_false(known->ready);
	assert_int_equal(agent_feed_push(feed, NULL, 0), AGENT_NOTHING);
	assert_int_equal(say(feed, "{\"event\":\"phase\",\"params\":{\"phase\":\"network\"}}\n"
				   "{\"event\":\"later\",\"params\":{}}\n"
				   "{\"event\":\"phase\",\"params\":{\"phase\":\"ready\","
				   "\"uptime_ms\":2345}}\n"),
			 AGENT_CHANGED);
	assert_string_equal(known->phase, "network");
	assert_int_equal(agent_feed_push(feed, NULL, 0), AGENT_READY);
	assert_int_equal(known->ready_ms, 2345);
	assert_int_equal(agent_feed_push(feed, NULL, 0), AGENT_NOTHING);
}

static void a_guest_that_is_up_is_ready_at_once(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	enum agent_event event = AGENT_NOTHING;
	for (const char *at = UP; *at; at++) { /* byte by byte */
		assert_int_equal(event, AGENT_NOTHING);
		event = agent_feed_push(feed, at, 1);
	}
	assert_int_equal(event, AGENT_READY);
	assert_int_equal(agent_feed_state(feed)->ready_ms, 2345);
}

static void a_failure_is_told_in_printable_words(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	assert_int_equal(say(feed, "{\"event\":\"failed\",\"params\":{\"step\":\"mount\",\"text\":"
				   "\"\\u001b[2J\\u009b\\nno root\"}}\n"),
			 AGENT_FAILED);
	assert_string_equal(agent_feed_state(feed)->failed, "mount: ?[2J???no root");
	auto_free char *text = xcalloc(1, 5001);
	memset(text, 'x', 5000);
	auto_free char *line =
		xasprintf("{\"event\":\"failed\",\"params\":{\"text\":\"%s\"}}\n", text);
	assert_int_equal(say(feed, line), AGENT_FAILED);
	assert_int_equal(strlen(agent_feed_state(feed)->failed), 255);
	assert_int_equal(say(feed, "{\"event\":\"failed\",\"params\":[3]}\n"), AGENT_FAILED);
	assert_string_equal(agent_feed_state(feed)->failed, "no reason given");
}

static void another_boot_forgets_the_last_one(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	const struct agent_state *known = agent_feed_state(feed);
	assert_int_equal(say(feed, UP), AGENT_READY);
	assert_int_equal(say(feed, "{\"event\":\"phase\",\"params\":{\"phase\":\"mounted\","
				   "\"boot_id\":\"11111111-2222\"}}\n"),
			 AGENT_CHANGED);
	assert_string_equal(known->boot_id, "11111111-2222");
	assert_false(known->ready);
	assert_int_equal(known->ready_ms, 0);
}

/* What an earlier connection left half said is no fault of the guest; once. */
static void the_tail_of_an_old_line_is_passed_over(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	assert_int_equal(say(feed, "\":\"ssh\"}}\n{\"id\":null,\"error\":{\"text\":\"x\"}}\n" UP),
			 AGENT_READY);
	auto_ptr(agent_feed) twice = agent_feed_new();
	assert_int_equal(say(twice, "\":\"ssh\"}}\nmore\n" UP), AGENT_BROKEN);
	assert_int_equal(say(twice, UP), AGENT_BROKEN);
}

static void lies_break_the_connection(void **state)
{
	(void)state;
	static const char *const after_hello[] = {
		"garbage\n",
		"[1,2]\n",
		"{\"id\":1,\"result\":{}}\n",
		UP, /* a second time */
		"{\"id\":1,\"error\":{\"text\":\"no\"}}\n",
		"{\"event\":\"phase\"}\n",
		"{\"event\":\"phase\",\"params\":{\"phase\":\"UP\\u0007\"}}\n",
		"{\"event\":\"phase\",\"params\":{\"phase\":\"muchtoolongforaphase\"}}\n",
	};
	static const char *const hellos[] = {
		"{\"id\":1,\"result\":7}\n",
		"{\"id\":1,\"result\":{\"boot_id\":\"" BOOT "\"}}\n",
		"{\"id\":1,\"result\":{\"boot_id\":\"../../x\",\"phase\":\"boot\"}}\n",
		"{\"id\":1,\"result\":{\"boot_id\":\"" BOOT BOOT "\",\"phase\":\"boot\"}}\n",
	};
	for (size_t i = 0; i < ARRAY_COUNT(after_hello); i++) {
		auto_ptr(agent_feed) feed = agent_feed_new();
		assert_int_equal(say(feed, UP), AGENT_READY);
		if (say(feed, after_hello[i]) != AGENT_BROKEN)
			fail_msg("not broken by %s", after_hello[i]);
		assert_int_equal(agent_feed_push(feed, NULL, 0), AGENT_BROKEN);
	}
	for (size_t i = 0; i < ARRAY_COUNT(hellos); i++) {
		auto_ptr(agent_feed) feed = agent_feed_new();
		if (say(feed, hellos[i]) != AGENT_BROKEN)
			fail_msg("not broken by %s", hellos[i]);
	}
}

static void numbers_out_of_range_are_none(void **state)
{
	(void)state;
	static const char *const values[] = { "-1", "1e300", "0.5", "\"9\"", "null", "[]" };
	for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
		auto_ptr(agent_feed) feed = agent_feed_new();
		auto_free char *line = xasprintf(
			HELLO "\"phase\":\"ready\",\"ready\":true,\"phases\":{\"ready\":%s}}}\n",
			values[i]);
		assert_int_equal(say(feed, line), AGENT_READY);
		assert_int_equal(agent_feed_state(feed)->ready_ms, 0);
	}
}

static void an_endless_line_is_given_up(void **state)
{
	(void)state;
	auto_ptr(agent_feed) feed = agent_feed_new();
	char chunk[4096];
	memset(chunk, ' ', sizeof(chunk));
	unsigned pushed = 0;
	while (agent_feed_push(feed, chunk, sizeof(chunk)) == AGENT_NOTHING)
		assert_true(++pushed < 100);
	assert_int_equal(pushed, 16); /* 64 KiB are allowed */
	auto_ptr(agent_feed) large = agent_feed_new();
	auto_free char *much = xcalloc(1, 1u << 20);
	assert_int_equal(agent_feed_push(large, much, 1u << 20), AGENT_BROKEN);
}

static void a_flood_is_given_up(void **state)
{
	(void)state;
	static const char *const floods[] = {
		"\n",
		"{}\n",
		"{\"event\":\"x\"}\n",
		"{\"event\":\"phase\",\"params\":{\"phase\":\"ready\"}}\n",
	};
	for (size_t i = 0; i < ARRAY_COUNT(floods); i++) {
		auto_ptr(agent_feed) feed = agent_feed_new();
		assert_int_equal(say(feed, UP), AGENT_READY);
		unsigned said = 0;
		while (say(feed, floods[i]) != AGENT_BROKEN)
			assert_true(++said < 1100);
		assert_true(said > 900);
	}
}

/* --- agent_call against a scripted server --- */

struct script {
	const char *hello; /* said when a line with "hello" came; NULL: silence */
	const char *reply; /* said when the next line came; NULL: silence */
	unsigned slow_ms;  /* between the bytes of reply */
	unsigned drops;	   /* connections closed at once, as QEMU does while one is open */
	bool flood;	   /* push without an end instead of a reply */
};

struct server {
	char path[64];
	int dirfd, fd;
	struct script script;
	pthread_t thread;
	char asked[4096]; /* what came after hello */
	unsigned served;
};

static bool read_line(int fd, char *line, size_t size)
{
	size_t len = 0;
	while (len + 1 < size) {
		if (read(fd, line + len, 1) != 1)
			return false;
		if (line[len] == '\n' && len == 0)
			continue;
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
	return true;
}

static void send_slowly(int fd, const char *text, unsigned pause_ms)
{
	size_t step = pause_ms ? 1 : strlen(text);
	for (; *text; text += step) {
		if (send(fd, text, step, MSG_NOSIGNAL) < 0)
			return;
		poll(NULL, 0, (int)pause_ms);
	}
}

static void serve_one(struct server *server, int fd)
{
	char line[4096];
	static const char push[] = "{\"event\":\"noise\",\"params\":{}}\n";
	if (server->served++ < server->script.drops || !read_line(fd, line, sizeof(line)))
		return;
	if (server->script.hello)
		send_slowly(fd, server->script.hello, 0);
	if (!read_line(fd, line, sizeof(line)))
		return;
	memcpy(server->asked, line, sizeof(line));
	while (server->script.flood)
		if (send(fd, push, sizeof(push) - 1, MSG_NOSIGNAL) < 0)
			return;
	if (server->script.reply) {
		send_slowly(fd, server->script.reply, server->script.slow_ms);
		return;
	}
	read_line(fd, line, sizeof(line)); /* until the other side goes */
}

static void *serve(void *data)
{
	struct server *server = data;
	for (;;) {
		struct pollfd p = { .fd = server->fd, .events = POLLIN };
		poll(&p, 1, -1);
		int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return NULL;
		serve_one(server, fd);
		close(fd);
	}
}

static void start(struct server *server, struct script script)
{
	struct error err;
	*server = (struct server){ .script = script, .path = "/tmp/banger-test-XXXXXX" };
	assert_non_null(mkdtemp(server->path));
	server->dirfd = open(server->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	server->fd = unix_listen(server->dirfd, VM_FILE_AGENT, &err);
	assert_true(server->fd >= 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server)
{
	struct error err;
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
	close(server->dirfd);
	assert_int_equal(fs_remove_tree(AT_FDCWD, server->path, &err), 0);
}

static void a_call_is_answered(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	start(&server, (struct script){
			       .hello = "ail\"}}\n" BOOTING,
			       .reply = "{\"event\":\"phase\",\"params\":{\"phase\":\"ssh\"}}\n"
					"{\"id\":1,\"result\":{}}\n"
					"{\"id\":2,\"result\":{\"bytes\":17}}\n",
			       .slow_ms = 1,
		       });
	auto_json cJSON *params = cJSON_CreateObject();
	json_add_str(params, "target", "work");
	auto_json cJSON *result = NULL;
	assert_int_equal(agent_call(server.dirfd, "grow", params, 5000, &result, &err), 0);
	assert_int_equal(json_int(result, "bytes", 0), 17);
	assert_int_equal(agent_call(server.dirfd, "ping", NULL, 5000, NULL, &err), 0);
	stop(&server);
	assert_string_equal(server.asked, "{\"id\":2,\"method\":\"ping\"}");
	assert_string_equal(json_str(params, "target", ""), "work");
}

static void a_refusal_is_the_agents(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	start(&server, (struct script){
			       .hello = UP,
			       .reply = "{\"id\":2,\"error\":{\"code\":\"not-found\","
					"\"text\":\"no work\\u0007 disk\"}}\n",
		       });
	assert_int_equal(agent_call(server.dirfd, "grow", NULL, 5000, NULL, &err), -1);
	stop(&server);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_string_equal(err.text, "agent 'grow': the agent says: no work? disk");
}

/* The loop's connection was there a moment ago. */
static void a_busy_port_is_tried_again(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	start(&server,
	      (struct script){ .hello = UP, .reply = "{\"id\":2,\"result\":{}}\n", .drops = 3 });
	assert_int_equal(agent_call(server.dirfd, "sync", NULL, 5000, NULL, &err), 0);
	stop(&server);
	assert_int_equal(server.served, 4);
}

static void bad_call(struct script script, uint64_t timeout_ms, enum error_code code)
{
	struct server server;
	struct error err = { 0 };
	start(&server, script);
	uint64_t before = clock_monotonic_ms();
	assert_int_equal(agent_call(server.dirfd, "ping", NULL, timeout_ms, NULL, &err), -1);
	uint64_t took = clock_monotonic_ms() - before;
	stop(&server);
	if (err.code != code)
		fail_msg("%s instead of %s: %s", error_code_name(err.code), error_code_name(code),
			 err.text);
	assert_true(took < timeout_ms + 500);
}

static void a_bad_guest_cannot_hold_a_worker(void **state)
{
	(void)state;
	auto_free char *long_line = xcalloc(1, 70001);
	memset(long_line, 'x', 70000);
	bad_call((struct script){ 0 }, 200, ERROR_TIMEOUT);
	bad_call((struct script){ .hello = UP }, 200, ERROR_TIMEOUT);
	bad_call((struct script){ .hello = UP, .reply = UP UP UP UP UP, .slow_ms = 5 }, 200,
		 ERROR_TIMEOUT);
	bad_call((struct script){ .hello = UP, .reply = "junk\nmore junk\n" }, 5000, ERROR_SYSTEM);
	bad_call((struct script){ .hello = UP, .reply = "{\"id\":3,\"result\":{}}\n" }, 5000,
		 ERROR_UNAVAILABLE);
	bad_call((struct script){ .hello = UP, .reply = long_line }, 5000, ERROR_SYSTEM);
	bad_call((struct script){ .hello = UP, .flood = true }, 5000, ERROR_SYSTEM);
}

static void a_missing_socket_is_an_error(void **state)
{
	(void)state;
	struct error err;
	auto_close int dirfd = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(agent_call(dirfd, "ping", NULL, 1000, NULL, &err), -1);
	assert_int_equal(err.sys, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_boot_is_told_step_by_step),
		cmocka_unit_test(a_guest_that_is_up_is_ready_at_once),
		cmocka_unit_test(a_failure_is_told_in_printable_words),
		cmocka_unit_test(another_boot_forgets_the_last_one),
		cmocka_unit_test(the_tail_of_an_old_line_is_passed_over),
		cmocka_unit_test(lies_break_the_connection),
		cmocka_unit_test(numbers_out_of_range_are_none),
		cmocka_unit_test(an_endless_line_is_given_up),
		cmocka_unit_test(a_flood_is_given_up),
		cmocka_unit_test(a_call_is_answered),
		cmocka_unit_test(a_refusal_is_the_agents),
		cmocka_unit_test(a_busy_port_is_tried_again),
		cmocka_unit_test(a_bad_guest_cannot_hold_a_worker),
		cmocka_unit_test(a_missing_socket_is_an_error),
	};
	return cmocka_run_group_tests_name("guest_agent", tests, NULL, NULL);
}
