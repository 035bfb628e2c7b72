/* rpc: frames and descriptors, from friends and from others. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "rpc/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct error err;

static void add_frame(struct buf *to, const char *json)
{
	size_t len = strlen(json);
	char header[4] = { (char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len };
	buf_add_bytes(to, header, 4);
	buf_add_bytes(to, json, len);
}

static void frames_come_whole_whatever_the_cuts(void **state)
{
	(void)state;
	auto_buf struct buf bytes = BUF_INIT;
	add_frame(&bytes, "{\"id\":1}");
	add_frame(&bytes, "{\"id\":2,\"x\":\"\\u00e4\"}");
	add_frame(&bytes, "{}");
	for (size_t step = 1; step <= bytes.len; step++) {
		struct rpc_frames frames = { BUF_INIT };
		int seen = 0;
		for (size_t at = 0; at < bytes.len; at += step) {
			size_t len = bytes.len - at < step ? bytes.len - at : step;
			buf_add_bytes(&frames.in, bytes.data + at, len);
			cJSON *message;
			while (rpc_frames_next(&frames, &message, &err) == 1) {
				seen++;
				assert_int_equal(json_int(message, "id", 3), seen);
				cJSON_Delete(message);
			}
		}
		assert_int_equal(seen, 3);
		assert_int_equal(frames.in.len, 0);
		buf_clear(&frames.in);
	}
}

static int next_of(const void *bytes, size_t len)
{
	struct rpc_frames frames = { BUF_INIT };
	buf_add_bytes(&frames.in, bytes, len);
	cJSON *message = NULL;
	int got = rpc_frames_next(&frames, &message, &err);
	cJSON_Delete(message);
	buf_clear(&frames.in);
	return got;
}

static void hostile_frames_end_the_connection(void **state)
{
	(void)state;
	assert_int_equal(next_of("\xff\xff\xff\xff", 4), -1);
	assert_int_equal(next_of("\x00\x10\x00\x01", 4), -1); /* one above the limit */
	assert_int_equal(next_of("\x00\x10\x00\x00", 4), 0);
	assert_int_equal(next_of("\0\0\0\0", 4), -1);
	assert_int_equal(next_of("\0\0\0\1{", 5), -1);
	assert_int_equal(next_of("\0\0\0\2[]", 6), -1);
	assert_int_equal(next_of("\0\0\0\3{}x", 7), -1);
	assert_int_equal(next_of("\0\0\0\2{", 5), 0);
	assert_int_equal(next_of("", 0), 0);
	auto_buf struct buf deep = BUF_INIT;
	buf_add_bytes(&deep, "\x00\x10\x00\x00", 4);
	for (unsigned i = 0; i < RPC_FRAME_MAX; i++)
		buf_add_char(&deep, '[');
	assert_int_equal(next_of(deep.data, deep.len), -1);
}

static void a_message_of_the_limit_goes_one_above_does_not(void **state)
{
	(void)state;
	auto_free char *text = xmalloc(RPC_FRAME_MAX);
	memset(text, 'x', RPC_FRAME_MAX);
	text[RPC_FRAME_MAX - sizeof("{\"k\":\"\"}") + 1] = '\0';
	auto_json cJSON *message = cJSON_CreateObject();
	json_add_str(message, "k", text);
	auto_buf struct buf out = BUF_INIT;
	assert_int_equal(rpc_frame_try(&out, message, &err), 0);
	assert_int_equal(out.len, RPC_FRAME_MAX + 4);
	assert_int_equal(next_of(out.data, out.len), 1);
	json_add_bool(message, "y", true);
	assert_int_equal(rpc_frame_try(&out, message, &err), -1);
	assert_int_equal(out.len, RPC_FRAME_MAX + 4);
}

static cJSON *only_frame(struct buf *out)
{
	struct rpc_frames frames = { *out };
	cJSON *message = NULL;
	assert_int_equal(rpc_frames_next(&frames, &message, &err), 1);
	assert_int_equal(frames.in.len, 0);
	*out = frames.in;
	return message;
}

static void a_reply_too_long_becomes_an_error_reply(void **state)
{
	(void)state;
	auto_free char *text = xmalloc(RPC_FRAME_MAX);
	memset(text, 1, RPC_FRAME_MAX); /* each byte becomes six: \u0001 */
	text[RPC_FRAME_MAX / 4] = '\0';
	auto_buf struct buf out = BUF_INIT;
	cJSON *result = cJSON_CreateObject();
	json_add_str(result, "data", text);
	rpc_reply(&out, 7, result);
	auto_json cJSON *reply = only_frame(&out);
	assert_int_equal(json_int(reply, "id", 0), 7);
	assert_string_equal(json_str(json_get(reply, "error"), "code", ""), "invalid");
	rpc_reply(&out, 8, NULL);
	auto_json cJSON *empty = only_frame(&out);
	assert_true(cJSON_IsObject(json_get(empty, "result")));
}

static void send_with_fds(int socket, const char *text, const int *fds, size_t count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(200 * sizeof(int))] = { 0 };
	char copy[64];
	assert_true(str_copy(copy, sizeof(copy), text));
	struct iovec bytes = { copy, strlen(text) };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	assert_int_equal(sendmsg(socket, &message, 0), strlen(text));
}

static int open_count(void)
{
	int count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void descriptors_arrive_and_those_too_many_are_closed(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	int fds[100], got[RPC_FDS_MAX];
	size_t count = 0;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < 100; i++)
		fds[i] = null;
	send_with_fds(ends[0], "ab", fds, 60);
	send_with_fds(ends[0], "c", fds, 100);
	int before = open_count();
	struct rpc_frames frames = { BUF_INIT };
	assert_int_equal(rpc_receive(ends[1], &frames, got, &count, &err), 0);
	assert_int_equal(count, 60);
	assert_int_equal(rpc_receive(ends[1], &frames, got, &count, &err), 0);
	assert_int_equal(count, RPC_FDS_MAX);
	assert_string_equal(frames.in.data, "abc");
	for (size_t i = 0; i < count; i++) {
		assert_true(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
		close(got[i]);
	}
	assert_int_equal(open_count(), before);
	close(ends[0]);
	assert_int_equal(rpc_receive(ends[1], &frames, got, &count, &err), 1);
	close(ends[1]);
	close(null);
	buf_clear(&frames.in);
}

static void nothing_is_read_behind_a_whole_frame(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	struct rpc_frames frames = { BUF_INIT };
	size_t count = 0;
	int fds[RPC_FDS_MAX];
	assert_int_equal(rpc_receive(ends[1], &frames, fds, &count, &err), 0);
	static char junk[65536];
	for (int i = 0; i < 100; i++) {
		assert_true(write(ends[0], junk, sizeof(junk)) > 0);
		assert_int_equal(rpc_receive(ends[1], &frames, fds, &count, &err), 0);
		while (read(ends[1], junk, sizeof(junk)) > 0)
			;
	}
	assert_true(frames.in.len <= RPC_FRAME_MAX + 4 + sizeof(junk));
	buf_clear(&frames.in);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_whole_whatever_the_cuts),
		cmocka_unit_test(hostile_frames_end_the_connection),
		cmocka_unit_test(a_message_of_the_limit_goes_one_above_does_not),
		cmocka_unit_test(a_reply_too_long_becomes_an_error_reply),
		cmocka_unit_test(descriptors_arrive_and_those_too_many_are_closed),
		cmocka_unit_test(nothing_is_read_behind_a_whole_frame),
	};
	return cmocka_run_group_tests_name("rpc/frame", tests, NULL, NULL);
}
