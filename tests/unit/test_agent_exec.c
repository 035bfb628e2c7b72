/* agent exec: commands over a socket pair in place of the port; the test is the host. */
#include "base/exec_frames.h"
#include "agent/exec_port.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

struct world {
	struct exec_session session;
	int host;
	struct buf in;
};

static int setup(void **state)
{
	struct world *world = xcalloc(1, sizeof(*world));
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	exec_session_init(&world->session, ends[0]);
	world->host = ends[1];
	world->in = BUF_INIT;
	signal(SIGPIPE, SIG_IGN);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	exec_session_clear(&world->session);
	if (world->host >= 0)
		close(world->host);
	buf_clear(&world->in);
	free(world);
	return 0;
}

static void hail(struct buf *to)
{
	buf_add_bytes(to, EXEC_MAGIC, EXEC_MAGIC_LEN);
	buf_add(to, "12345678");
}

static void say(struct world *world, const struct buf *text)
{
	size_t at = 0;
	for (int turns = 0; at < text->len && turns < 1000; turns++) {
		ssize_t put = write(world->host, text->data + at, text->len - at);
		at += put > 0 ? (size_t)put : 0;
		exec_session_turn(&world->session, -1, 5);
	}
	assert_int_equal(at, text->len);
}

static void begin(struct world *world, const char *before, const char *json)
{
	auto_buf struct buf text = BUF_INIT;
	buf_add(&text, before);
	hail(&text);
	exec_frame_add(&text, EXEC_START, json, strlen(json));
	say(world, &text);
}

static void hear(struct world *world)
{
	char chunk[4096];
	ssize_t got;
	exec_session_turn(&world->session, -1, 20);
	while ((got = read(world->host, chunk, sizeof(chunk))) > 0)
		buf_add_bytes(&world->in, chunk, (size_t)got);
}

/* Everything up to the exit frame, whose text is returned. */
static char *finish(struct world *world, struct buf *out, struct buf *errors)
{
	unsigned char nonce[EXEC_NONCE_LEN];
	struct exec_frame frame;
	bool greeted = false;
	for (int turns = 0; turns < 1000; turns++) {
		hear(world);
		greeted = greeted || exec_find_magic(&world->in, nonce);
		while (greeted && exec_frame_next(&world->in, &frame) == 1) {
			if (frame.kind == EXEC_EXIT) {
				char *text = xstrndup(frame.data, frame.len);
				exec_frame_drop(&world->in, &frame);
				assert_memory_equal(nonce, "12345678", 8);
				return text;
			}
			buf_add_bytes(frame.kind == EXEC_OUTPUT ? out : errors, frame.data,
				      frame.len);
			exec_frame_drop(&world->in, &frame);
		}
	}
	fail_msg("no exit frame");
	return NULL;
}

static void ends_with(struct world *world, const char *out, const char *errors, const char *exit)
{
	auto_buf struct buf got = BUF_INIT;
	auto_buf struct buf got_errors = BUF_INIT;
	auto_free char *text = finish(world, &got, &got_errors);
	assert_string_equal(got.data, out);
	assert_string_equal(got_errors.data, errors);
	assert_string_equal(text, exit);
}

static void a_command_has_its_output_and_its_status(void **state)
{
	begin(*state, "", "{\"argv\":[\"sh\",\"-c\",\"echo out; echo err >&2; exit 42\"]}");
	ends_with(*state, "out\n", "err\n", "{\"status\":42}");
	begin(*state, "", "{\"argv\":[\"sh\",\"-c\",\"kill -9 $$\"]}");
	ends_with(*state, "", "", "{\"signal\":9}");
}

static void what_cannot_be_run_is_said(void **state)
{
	begin(*state, "", "{\"argv\":[\"/nosuch\"]}");
	ends_with(*state, "", "/nosuch: No such file or directory\n", "{\"status\":127}");
	begin(*state, "", "{\"argv\":[]}");
	ends_with(*state, "", "", "{\"error\":\"'argv' is not a list of words\"}");
	begin(*state, "", "{\"argv\":[\"sh\",7]}");
	ends_with(*state, "", "", "{\"error\":\"'argv' is not a list of words\"}");
	begin(*state, "", "rubbish");
	ends_with(*state, "", "", "{\"error\":\"'argv' is not a list of words\"}");
}

static void input_reaches_it_and_ends(void **state)
{
	struct world *world = *state;
	auto_buf struct buf text = BUF_INIT;
	begin(world, "", "{\"argv\":[\"sh\",\"-c\",\"wc -c | tr -d ' '\"]}");
	auto_free char *block = xcalloc(1, EXEC_PAYLOAD_MAX);
	for (int i = 0; i < 10; i++)
		exec_frame_add(&text, EXEC_INPUT, block, EXEC_PAYLOAD_MAX);
	exec_frame_add(&text, EXEC_INPUT, "", 0);
	say(world, &text);
	ends_with(world, "327680\n", "", "{\"status\":0}");
}

static void what_an_earlier_host_left_is_passed_over(void **state)
{
	begin(*state, "S\x7f half a frame I O {}\n", "{\"argv\":[\"echo\",\"hi\"]}");
	ends_with(*state, "hi\n", "", "{\"status\":0}");
}

static bool is_alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static pid_t start_sleeper(struct world *world)
{
	begin(world, "", "{\"argv\":[\"sleep\",\"100\"]}");
	for (int i = 0; i < 100 && !world->session.pid; i++)
		exec_session_turn(&world->session, -1, 10);
	assert_true(world->session.pid > 0);
	return world->session.pid;
}

static void a_host_that_hangs_up_kills_it(void **state)
{
	struct world *world = *state;
	pid_t pid = start_sleeper(world);
	close(take_fd(&world->host));
	/* The command itself has our end of the connection until its exec. */
	for (int i = 0; i < 500 && world->session.pid; i++)
		exec_session_turn(&world->session, -1, 10);
	assert_int_equal(world->session.pid, 0);
	assert_true(world->session.hung_up);
	assert_false(is_alive(pid));
}

static void rubbish_ends_it_and_the_next_try_works(void **state)
{
	struct world *world = *state;
	auto_buf struct buf text = BUF_INIT;
	pid_t pid = start_sleeper(world);
	buf_add(&text, "rubbish");
	say(world, &text);
	exec_session_turn(&world->session, -1, 10);
	assert_false(is_alive(pid));
	buf_reset(&world->in);
	hear(world);
	buf_reset(&world->in);
	begin(world, "", "{\"argv\":[\"echo\",\"again\"]}");
	ends_with(world, "again\n", "", "{\"status\":0}");
}

static void a_host_that_does_not_read_costs_little(void **state)
{
	struct world *world = *state;
	begin(world, "", "{\"argv\":[\"yes\"]}");
	for (int i = 0; i < 200; i++)
		exec_session_turn(&world->session, -1, 1);
	assert_true(world->session.to_host.len < 2 * 65536);
	assert_true(world->session.pid > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_command_has_its_output_and_its_status, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_run_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(input_reaches_it_and_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(what_an_earlier_host_left_is_passed_over, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_host_that_hangs_up_kills_it, setup, teardown),
		cmocka_unit_test_setup_teardown(rubbish_ends_it_and_the_next_try_works, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_host_that_does_not_read_costs_little, setup,
						teardown),
	};
	return cmocka_run_group_tests_name("agent/exec", tests, NULL, NULL);
}
