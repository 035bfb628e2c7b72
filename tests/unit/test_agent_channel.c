#include "agent/methods.h"
#include "base/mem.h"
#include "base/vec.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

/* An agent whose port is one end of a socket pair; the test is the host at the other. */
struct world {
	struct agent agent;
	struct seed seed;
	int host;
};

static enum method_answer answer_hello(struct agent *agent, const struct request *request,
				       cJSON *result, struct error *err)
{
	(void)agent, (void)request, (void)err;
	json_add_int(result, "version", 1);
	return METHOD_DONE;
}

static enum method_answer answer_big(struct agent *agent, const struct request *request,
				     cJSON *result, struct error *err)
{
	(void)agent, (void)request, (void)err;
	auto_free char *text = xcalloc(1, 2001);
	memset(text, 'b', 2000);
	json_add_str(result, "text", text);
	return METHOD_DONE;
}

static int job_echo(const void *arg, cJSON *result, struct error *err)
{
	if (!strcmp(arg, "bad"))
		return error_set(err, ERROR_BUSY, "no");
	if (!strcmp(arg, "die"))
		_exit(1);
	json_add_str(result, "text", arg);
	return 0;
}

static enum method_answer answer_job(struct agent *agent, const struct request *request,
				     cJSON *result, struct error *err)
{
	(void)result;
	const char *word = json_str(request->params, "word", "");
	if (jobs_start(&agent->jobs, request->id, job_echo, word, err) < 0)
		return METHOD_FAILED;
	return METHOD_LATER;
}

static const struct method table[] = {
	{ "hello", answer_hello }, { "big", answer_big }, { "job", answer_job }, { NULL, NULL }
};

static void on_line(void *arg, const char *line, size_t len)
{
	methods_answer(table, arg, line, len);
}

static void connect_host(struct world *world)
{
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	if (world->agent.channel.fd >= 0)
		close(world->agent.channel.fd);
	world->agent.channel.fd = ends[0];
	world->host = ends[1];
}

static int setup(void **state)
{
	struct world *world = xcalloc(1, sizeof(*world));
	world->agent.seed = &world->seed;
	channel_init(&world->agent.channel, -1);
	connect_host(world);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	close(world->host);
	channel_clear(&world->agent.channel);
	jobs_clear(&world->agent.jobs);
	free(world);
	return 0;
}

static void turn(struct world *world)
{
	jobs_read(&world->agent.jobs, &world->agent.channel);
	if (!channel_look(&world->agent.channel))
		return;
	channel_flush(&world->agent.channel);
	channel_read(&world->agent.channel, on_line, &world->agent);
}

static void say(struct world *world, const char *text)
{
	size_t len = strlen(text);
	while (len) {
		ssize_t put = write(world->host, text, len);
		if (put < 0)
			assert_int_equal(errno, EAGAIN);
		else {
			text += put;
			len -= (size_t)put;
		}
		turn(world);
	}
	turn(world);
}

static void hear(struct world *world, struct buf *text)
{
	turn(world);
	for (;;) {
		char *to = buf_grow(text, 65536);
		ssize_t got = read(world->host, to, 65536);
		if (got <= 0)
			return;
		buf_grown(text, (size_t)got);
		turn(world);
	}
}

static void expect(struct world *world, const char *said, const char *heard)
{
	auto_buf struct buf text = BUF_INIT;
	say(world, said);
	hear(world, &text);
	assert_string_equal(text.data, heard);
}

#define ERROR_NULL(text) "{\"id\":null,\"error\":{\"code\":\"invalid\",\"text\":\"" text "\"}}\n"
#define HELLO		 "{\"id\":1,\"method\":\"hello\",\"params\":{\"version\":1}}\n"
#define HELLO_REPLY	 "{\"id\":1,\"result\":{\"version\":1}}\n"

static void garbage_is_answered_with_an_error(void **state)
{
	expect(*state, "\n\n", "");
	expect(*state, "rubbish\n", ERROR_NULL("request: not valid JSON at byte 0"));
	expect(*state, "[]\n", ERROR_NULL("request: not an object"));
	expect(*state, "{\"method\":\"hello\"}\n",
	       ERROR_NULL("request: 'id' is not a whole number"));
	expect(*state, "{\"id\":-4,\"method\":\"hello\"}\n",
	       ERROR_NULL("request: 'id' is not a whole number"));
	expect(*state, "{\"id\":1e300,\"method\":\"hello\"}\n",
	       ERROR_NULL("request: 'id' is not a whole number"));
	expect(*state, "{\"id\":3}\n",
	       "{\"id\":3,\"error\":{\"code\":\"invalid\",\"text\":\"request: 'method' is not a "
	       "string\"}}\n");
	expect(*state, "{\"id\":3,\"method\":\"hello\",\"params\":[]}\n",
	       "{\"id\":3,\"error\":{\"code\":\"invalid\",\"text\":\"request: 'params' is not an "
	       "object\"}}\n");
	expect(*state, "{\"id\":3,\"method\":\"fly\"}\n",
	       "{\"id\":3,\"error\":{\"code\":\"not-found\",\"text\":\"no method 'fly'\"}}\n");
	expect(*state, HELLO, "\n" HELLO_REPLY);
}

static void a_line_too_long_is_dropped_to_its_end(void **state)
{
	struct world *world = *state;
	auto_buf struct buf text = BUF_INIT;
	for (int i = 0; i < 400000; i++)
		buf_add_char(&text, 'x');
	buf_add(&text, "\n" HELLO);
	expect(world, text.data, ERROR_NULL("request: longer than 65536 bytes") "\n" HELLO_REPLY);
	assert_true(world->agent.channel.in.room < 300000);
}

static void a_line_just_long_enough_is_taken(void **state)
{
	auto_buf struct buf text = BUF_INIT;
	buf_add(&text, HELLO);
	text.len--;
	while (text.len < CHANNEL_LINE_MAX)
		buf_add_char(&text, ' ');
	buf_add_char(&text, '\n');
	expect(*state, text.data, HELLO_REPLY);
}

static void requests_may_come_in_pieces_and_heaps(void **state)
{
	struct world *world = *state;
	auto_buf struct buf text = BUF_INIT;
	for (const char *c = HELLO; *c; c++) {
		const char piece[2] = { *c, '\0' };
		say(world, piece);
	}
	hear(world, &text);
	assert_string_equal(text.data, HELLO_REPLY);
	expect(world, HELLO "{\"id\":2,\"method\":\"hello\"}\n",
	       "\n" HELLO_REPLY "\n{\"id\":2,\"result\":{\"version\":1}}\n");
}

static void a_host_that_does_not_read_costs_a_bounded_amount(void **state)
{
	struct world *world = *state;
	static const char request[] = "{\"id\":5,\"method\":\"big\"}\n";
	/* As much as the pipe takes, and more: the agent stops reading at some point. */
	size_t sent = 0;
	for (int i = 0; i < 20000; i++) {
		ssize_t put = write(world->host, request, strlen(request));
		if (put == (ssize_t)strlen(request))
			sent++;
		else
			assert_true(put < 0);
		turn(world);
		assert_true(world->agent.channel.out.len <= CHANNEL_OUT_MAX);
		assert_true(world->agent.channel.in.len <= CHANNEL_LINE_MAX + 65536);
	}
	assert_true(sent < 20000);
	assert_int_equal(channel_events(&world->agent.channel), POLLOUT);
	/* Pushed events are dropped then, not queued. */
	auto_json cJSON *event = cJSON_CreateObject();
	for (int i = 0; i < 100000; i++)
		channel_send(&world->agent.channel, event);
	assert_true(world->agent.channel.out.len <= CHANNEL_OUT_MAX);
	/* When the host reads at last, every request has its answer. */
	auto_buf struct buf text = BUF_INIT;
	hear(world, &text);
	size_t replies = 0;
	for (const char *at = text.data; (at = strstr(at, "\"result\"")); at++)
		replies++;
	assert_int_equal(replies, sent);
}

static void the_next_host_hears_nothing_of_the_last(void **state)
{
	struct world *world = *state;
	say(world, "{\"id\":5,\"method\":\"big\"}\n{\"id\":6,\"meth");
	close(world->host);
	turn(world);
	assert_false(world->agent.channel.connected);
	assert_int_equal(channel_events(&world->agent.channel), 0);
	assert_int_equal(world->agent.channel.in.len + world->agent.channel.out.len, 0);
	connect_host(world);
	/* The rest of the old request, then the new host's beginning. */
	expect(world, "od\":\"big\"}\n{\"id\":7,\"method\":\"big\"}\n\n" HELLO, "\n" HELLO_REPLY);
	expect(world, "x\n", ERROR_NULL("request: not valid JSON at byte 0"));
}

/* As under Firecracker: a listener in place of the port. */
static int listen_somewhere(struct sockaddr_un *ret, socklen_t *ret_len)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_len = sizeof(*ret);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, ret_len), 0);
	return fd;
}

static int connect_to(const struct sockaddr_un *at, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)at, len), 0);
	return fd;
}

static void a_listener_serves_one_host_after_the_other(void **state)
{
	struct world *world = *state;
	struct channel *channel = &world->agent.channel;
	struct sockaddr_un at;
	socklen_t len;
	close(world->host);
	channel_clear(channel);
	int listener = listen_somewhere(&at, &len);
	channel_init_listener(channel, listener);
	assert_false(channel_look(channel));
	assert_int_equal(channel_descriptor(channel), listener);
	assert_int_equal(channel_events(channel), POLLIN);

	world->host = connect_to(&at, len);
	int next = connect_to(&at, len);
	expect(world, HELLO, HELLO_REPLY);
	assert_int_not_equal(channel_descriptor(channel), listener);
	/* The first has asked for more than it reads when it goes; the second hears none of it. */
	say(world, "{\"id\":5,\"method\":\"big\"}\n{\"id\":6,\"meth");
	close(world->host);
	turn(world);
	turn(world);
	world->host = next;
	expect(world, HELLO, HELLO_REPLY);

	/* What was said by one that has gone at once is answered to nobody, and is no harm. */
	close(world->host);
	turn(world);
	world->host = connect_to(&at, len);
	assert_true(write(world->host, HELLO, strlen(HELLO)) > 0);
	close(world->host);
	turn(world);
	turn(world);
	assert_int_equal(channel_descriptor(channel), listener);
	world->host = connect_to(&at, len);
	expect(world, HELLO, HELLO_REPLY);
}

static void hello_drops_what_an_unseen_change_of_host_left(void **state)
{
	struct world *world = *state;
	auto_buf struct buf text = BUF_INIT;
	say(world, "{\"id\":5,\"method\":\"big\"}\n");
	buf_add(&world->agent.channel.out, "half of a repl");
	say(world, HELLO);
	hear(world, &text);
	assert_non_null(strstr(text.data, "\n" HELLO_REPLY));
}

static void wait_for_jobs(struct world *world)
{
	struct pollfd fds[JOBS_MAX];
	size_t count;
	while ((count = jobs_poll(&world->agent.jobs, fds))) {
		assert_true(poll(fds, count, 5000) > 0);
		turn(world);
	}
}

static void jobs_answer_when_they_are_done(void **state)
{
	struct world *world = *state;
	static const struct {
		const char *said, *heard;
	} cases[] = {
		{ "{\"id\":8,\"method\":\"job\",\"params\":{\"word\":\"w\"}}\n",
		  "{\"id\":8,\"result\":{\"text\":\"w\"}}\n" },
		{ "{\"id\":8,\"method\":\"job\",\"params\":{\"word\":\"bad\"}}\n",
		  "{\"id\":8,\"error\":{\"code\":\"busy\",\"text\":\"no\"}}\n" },
		{ "{\"id\":8,\"method\":\"job\",\"params\":{\"word\":\"die\"}}\n",
		  "{\"id\":8,\"error\":{\"code\":\"system\",\"text\":\"the work ended without an "
		  "answer\"}}\n" },
	};
	for (size_t i = 0; i < 3; i++) {
		auto_buf struct buf text = BUF_INIT;
		say(world, cases[i].said);
		wait_for_jobs(world);
		hear(world, &text);
		assert_string_equal(text.data, cases[i].heard);
	}
}

static void jobs_are_limited(void **state)
{
	struct world *world = *state;
	struct error err = { 0 };
	for (int i = 0; i < JOBS_MAX; i++)
		assert_int_equal(jobs_start(&world->agent.jobs, i, job_echo, "x", &err), 0);
	assert_int_equal(jobs_start(&world->agent.jobs, 99, job_echo, "x", &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	wait_for_jobs(world);
	assert_int_equal(jobs_start(&world->agent.jobs, 99, job_echo, "x", &err), 0);
}

static void the_real_table_answers(void **state)
{
	struct world *world = *state;
	static const char *const requests[] = {
		"{\"id\":1,\"method\":\"hello\",\"params\":{\"version\":1}}",
		"{\"id\":1,\"method\":\"ping\"}",
		"{\"id\":1,\"method\":\"ready\",\"params\":{\"ready\":{\"kind\":\"tcp\",\"port\":81}}}",
		"{\"id\":1,\"method\":\"poweroff\"}",
	};
	channel_look(&world->agent.channel);
	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		auto_buf struct buf text = BUF_INIT;
		methods_answer(methods, &world->agent, requests[i], strlen(requests[i]));
		hear(world, &text);
		assert_non_null(strstr(text.data, "\"result\""));
	}
	assert_int_equal(world->agent.seed->ready_kind, SEED_READY_TCP);
	assert_int_equal(world->agent.seed->ready_port, 81);
	assert_int_not_equal(world->agent.watch.next_ms, 0);
	/* Noted only: done after the reply, by the loop. */
	assert_int_equal(world->agent.power.state, POWER_ASKED);
	static const char *const refused[] = {
		"{\"id\":1,\"method\":\"hello\",\"params\":{\"version\":2}}",
		"{\"id\":1,\"method\":\"grow\",\"params\":{\"target\":\"moon\"}}",
		"{\"id\":1,\"method\":\"grow\",\"params\":{\"target\":\"work\"}}",
		"{\"id\":1,\"method\":\"authorized_keys\"}",
		"{\"id\":1,\"method\":\"ready\",\"params\":{\"ready\":{\"kind\":\"tcp\"}}}",
		"{\"id\":1,\"method\":\"ready\",\"params\":{\"ready\":{\"kind\":\"tea\",\"port\":1}}}",
		"{\"id\":1,\"method\":\"authorized_keys\",\"params\":{\"keys\":[\"a\\nb\"]}}",
		"{\"id\":1,\"method\":\"authorized_keys\",\"params\":{\"keys\":[7]}}",
	};
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
		auto_buf struct buf text = BUF_INIT;
		methods_answer(methods, &world->agent, refused[i], strlen(refused[i]));
		hear(world, &text);
		assert_non_null(strstr(text.data, "\"error\""));
	}
}

static void phases_are_pushed_once(void **state)
{
	struct world *world = *state;
	auto_buf struct buf text = BUF_INIT;
	channel_look(&world->agent.channel);
	agent_reach(&world->agent, PHASE_SSH);
	agent_reach(&world->agent, PHASE_SSH);
	hear(world, &text);
	assert_non_null(strstr(text.data, "\"phase\":\"ssh\""));
	assert_ptr_equal(strchr(text.data, '\n'), text.data + text.len - 1);
	assert_int_equal(phases_furthest(&world->agent.phases), PHASE_SSH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(garbage_is_answered_with_an_error),
		TEST(a_line_too_long_is_dropped_to_its_end),
		TEST(a_line_just_long_enough_is_taken),
		TEST(requests_may_come_in_pieces_and_heaps),
		TEST(a_host_that_does_not_read_costs_a_bounded_amount),
		TEST(the_next_host_hears_nothing_of_the_last),
		TEST(a_listener_serves_one_host_after_the_other),
		TEST(hello_drops_what_an_unseen_change_of_host_left),
		TEST(jobs_answer_when_they_are_done),
		TEST(jobs_are_limited),
		TEST(the_real_table_answers),
		TEST(phases_are_pushed_once),
	};
	signal(SIGPIPE, SIG_IGN); /* as the agent does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
