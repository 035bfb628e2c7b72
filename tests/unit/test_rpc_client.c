/* rpc: the client against daemons good, slow and broken. Ids are known (1, 2, …), so most replies
 * are written before the call. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "rpc/rpc.h"
#include "sys/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

static struct error err;
static int daemon_fd;
static struct rpc_client *client;

static int setup(void **state)
{
	(void)state;
	int ends[2];
	err = (struct error){ 0 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	daemon_fd = ends[0];
	client = rpc_client_new(ends[1]);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rpc_client_free(client);
	cleanup_close(&daemon_fd);
	return 0;
}

static void say(const char *json)
{
	auto_buf struct buf out = BUF_INIT;
	auto_json cJSON *message = cJSON_Parse(json);
	rpc_frame_add(&out, message);
	assert_int_equal(write(daemon_fd, out.data, out.len), out.len);
}

static int call(cJSON **ret, uint64_t timeout_ms)
{
	return rpc_call(client, "ping", NULL, NULL, 0, timeout_ms, ret, &err);
}

static void the_reply_with_the_id_is_the_result(void **state)
{
	(void)state;
	auto_json cJSON *first = NULL;
	say("{\"id\":1,\"result\":{\"pid\":5}}");
	assert_int_equal(call(&first, 1000), 0);
	assert_int_equal(json_int(first, "pid", 0), 5);
	auto_json cJSON *second = NULL;
	say("{\"id\":2,\"result\":{}}");
	assert_int_equal(call(&second, 0), 0);
	assert_non_null(second);
}

static void the_request_and_its_descriptors_arrive(void **state)
{
	(void)state;
	auto_json cJSON *result = NULL, *params = cJSON_CreateObject();
	json_add_str(params, "name", "vm1");
	int fds[2] = { open("/dev/null", O_RDONLY | O_CLOEXEC),
		       open("/dev/zero", O_RDONLY | O_CLOEXEC) };
	say("{\"id\":1,\"result\":{}}");
	assert_int_equal(rpc_call(client, "vm.stop", params, fds, 2, 1000, &result, &err), 0);
	assert_true(fcntl(fds[0], F_GETFD) >= 0);
	struct rpc_frames frames = { BUF_INIT };
	int got[RPC_FDS_MAX];
	size_t count = 0;
	assert_int_equal(rpc_receive(daemon_fd, &frames, got, &count, &err), 0);
	assert_int_equal(count, 2);
	char byte = 1;
	assert_int_equal(read(got[1], &byte, 1), 1);
	assert_int_equal(byte, 0);
	cJSON *message = NULL;
	assert_int_equal(rpc_frames_next(&frames, &message, &err), 1);
	auto_json cJSON *request = message;
	assert_string_equal(json_str(request, "method", ""), "vm.stop");
	assert_string_equal(json_str(json_get(request, "params"), "name", ""), "vm1");
	buf_clear(&frames.in);
	for (size_t i = 0; i < 2; i++) {
		close(got[i]);
		close(fds[i]);
	}
}

static void an_error_reply_becomes_the_error(void **state)
{
	(void)state;
	cJSON *result = NULL;
	auto_buf struct buf out = BUF_INIT;
	struct error refused;
	error_set(&refused, ERROR_CONFLICT, "'vm1' is %s", "owned");
	rpc_reply_error(&out, 1, &refused);
	assert_int_equal(write(daemon_fd, out.data, out.len), out.len);
	assert_int_equal(call(&result, 1000), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_string_equal(err.text, "'vm1' is owned");
	say("{\"id\":2,\"error\":{\"code\":\"none\"}}");
	assert_int_equal(call(&result, 1000), -1);
	assert_int_equal(err.code, ERROR_SYSTEM);
	assert_null(result);
}

static void a_late_reply_of_an_earlier_call_is_skipped(void **state)
{
	(void)state;
	cJSON *result = NULL;
	uint64_t start = clock_monotonic_ms();
	assert_int_equal(call(&result, 30), -1);
	assert_int_equal(err.code, ERROR_TIMEOUT);
	assert_true(clock_monotonic_ms() - start >= 30);
	say("{\"id\":1,\"result\":{\"late\":true}}");
	say("{\"id\":2,\"result\":{\"late\":false}}");
	assert_int_equal(call(&result, 1000), 0);
	assert_false(json_bool(result, "late", true));
	cJSON_Delete(result);
}

static void assert_broken(void)
{
	cJSON *result = NULL;
	assert_int_equal(call(&result, 1000), -1);
	assert_int_equal(err.code, ERROR_UNAVAILABLE);
	say("{\"id\":2,\"result\":{}}");
	assert_int_equal(call(&result, 1000), -1);
	assert_int_equal(err.code, ERROR_UNAVAILABLE);
	assert_null(result);
}

static void replies_that_make_no_sense_break_the_connection(void **state)
{
	static const char *const bad[] = {
		"{\"id\":2,\"result\":{}}",	"{\"result\":{}}",
		"{\"id\":\"1\",\"result\":{}}", "{\"id\":1}",
		"{\"id\":1,\"result\":5}",	"{\"id\":-1,\"result\":{}}"
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		say(bad[i]);
		assert_broken();
	}
}

static void garbage_breaks_the_connection(void **state)
{
	(void)state;
	assert_int_equal(write(daemon_fd, "\xff\xff\xff\xff", 4), 4);
	assert_broken();
}

static void a_daemon_that_goes_away_is_unavailable(void **state)
{
	(void)state;
	cJSON *result = NULL;
	shutdown(daemon_fd, SHUT_WR);
	assert_int_equal(call(&result, 1000), -1);
	assert_int_equal(err.code, ERROR_UNAVAILABLE);
}

static void a_daemon_that_is_gone_does_not_kill_us(void **state)
{
	(void)state;
	cJSON *result = NULL;
	close(take_fd(&daemon_fd));
	assert_int_equal(call(&result, 1000), -1); /* no SIGPIPE */
	assert_int_equal(err.code, ERROR_UNAVAILABLE);
}

static void a_request_that_went_out_in_part_breaks_the_connection(void **state)
{
	(void)state;
	auto_json cJSON *params = cJSON_CreateObject();
	auto_free char *text = xmalloc(900000);
	memset(text, 'x', 900000);
	text[899999] = '\0';
	json_add_str(params, "set", text);
	cJSON *result = NULL;
	assert_int_equal(rpc_call(client, "vm.set", params, NULL, 0, 30, &result, &err), -1);
	assert_int_equal(err.code, ERROR_TIMEOUT);
	assert_int_equal(call(&result, 30), -1);
	assert_int_equal(err.code, ERROR_UNAVAILABLE);
}

static void *answer_slowly(void *data)
{
	(void)data;
	auto_buf struct buf out = BUF_INIT;
	rpc_reply(&out, 1, NULL);
	for (size_t i = 0; i < out.len; i++) {
		usleep(500);
		if (write(daemon_fd, out.data + i, 1) != 1)
			break;
	}
	return NULL;
}

static void slow_bytes_are_collected(void **state)
{
	(void)state;
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, answer_slowly, NULL), 0);
	auto_json cJSON *result = NULL;
	int failed = call(&result, 5000);
	pthread_join(thread, NULL);
	assert_int_equal(failed, 0);
}

static void a_request_too_long_is_refused_here(void **state)
{
	(void)state;
	auto_json cJSON *params = cJSON_CreateObject(), *result = NULL;
	auto_free char *text = xmalloc(RPC_FRAME_MAX + 1);
	memset(text, 'x', RPC_FRAME_MAX);
	text[RPC_FRAME_MAX] = '\0';
	json_add_str(params, "set", text);
	assert_int_equal(rpc_call(client, "vm.set", params, NULL, 0, 30, &result, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	say("{\"id\":1,\"result\":{}}");
	assert_int_equal(call(&result, 1000), 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(the_reply_with_the_id_is_the_result),
		CASE(the_request_and_its_descriptors_arrive),
		CASE(an_error_reply_becomes_the_error),
		CASE(a_late_reply_of_an_earlier_call_is_skipped),
		CASE(replies_that_make_no_sense_break_the_connection),
		CASE(garbage_breaks_the_connection),
		CASE(a_daemon_that_goes_away_is_unavailable),
		CASE(a_daemon_that_is_gone_does_not_kill_us),
		CASE(a_request_that_went_out_in_part_breaks_the_connection),
		CASE(slow_bytes_are_collected),
		CASE(a_request_too_long_is_refused_here),
	};
	return cmocka_run_group_tests_name("rpc/client", tests, NULL, NULL);
}
