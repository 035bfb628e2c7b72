/* driver: the monitor's protocol, against scripted ends. */
#include "driver/qmp.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"
#include "sys/proc.h"
#include "sys/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define GREETING                                                                                   \
	"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7}}, \"capabilities\": [\"oob\"]}}\r\n"
#define DONE "{\"return\": {}}\r\n"
#define EVENT(name, data)                                                                          \
	"{\"timestamp\": {\"seconds\": 1}, \"event\": \"" name "\", \"data\": {" data "}}\r\n"

/* --- the loop's parser --- */

struct feed {
	struct hv_monitor *monitor;
	int ours, theirs;
};

static int feed_new(void **state)
{
	struct feed *f = xcalloc(1, sizeof(*f));
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	f->monitor = hv_qemu.monitor_new();
	f->ours = ends[0];
	f->theirs = ends[1];
	*state = f;
	return 0;
}

static int feed_free(void **state)
{
	struct feed *f = *state;
	hv_qemu.monitor_free(f->monitor);
	close(f->ours);
	close(f->theirs);
	free(f);
	return 0;
}

static enum monitor_event push(struct feed *f, const char *text)
{
	return hv_qemu.monitor_feed(f->monitor, f->ours, text, strlen(text));
}

static enum monitor_event more(struct feed *f)
{
	return hv_qemu.monitor_feed(f->monitor, f->ours, NULL, 0);
}

static void make_ready(struct feed *f)
{
	assert_int_equal(push(f, GREETING), MONITOR_NOTHING);
	assert_int_equal(push(f, DONE), MONITOR_READY);
	assert_int_equal(more(f), MONITOR_NOTHING);
}

static void the_handshake_is_answered(void **state)
{
	struct feed *f = *state;
	char sent[256];
	assert_int_equal(push(f, GREETING), MONITOR_NOTHING);
	ssize_t len = recv(f->theirs, sent, sizeof(sent), MSG_DONTWAIT);
	assert_int_equal(len,
			 strlen("{\"execute\":\"qmp_capabilities\",\"id\":\"monitor\"}\n"
				"{\"execute\":\"query-status\",\"id\":\"monitor\"}\n"
				"{\"execute\":\"query-memory-devices\",\"id\":\"monitor\"}\n"));
	assert_int_equal(push(f, EVENT("RTC_CHANGE", "")), MONITOR_NOTHING);
	assert_int_equal(push(f, DONE), MONITOR_READY);
}

static void plugged_memory_is_told(void **state)
{
	struct feed *f = *state;
	make_ready(f);
	assert_int_equal(
		push(f,
		     "{\"return\": [{\"type\": \"dimm\", \"data\": {\"id\": \"x\", \"size\": 7}}, "
		     "{\"type\": \"virtio-mem\", \"data\": {\"id\": \"memory1\", \"size\": 8388608, "
		     "\"requested-size\": 16777216}}], \"id\": \"monitor\"}\n"),
		MONITOR_MEMORY);
	assert_int_equal(hv_qemu.monitor_plugged(f->monitor), 8388608);
	assert_int_equal(more(f), MONITOR_NOTHING);
	assert_int_equal(push(f, EVENT("MEMORY_DEVICE_SIZE_CHANGE",
				       "\"id\": \"memory1\", \"size\": 16777216")),
			 MONITOR_MEMORY);
	assert_int_equal(hv_qemu.monitor_plugged(f->monitor), 16777216);
	assert_int_equal(push(f, "{\"return\": [], \"id\": \"monitor\"}\n"), MONITOR_MEMORY);
	assert_int_equal(hv_qemu.monitor_plugged(f->monitor), 0);
}

static void answers_meant_for_the_last_client_are_skipped(void **state)
{
	struct feed *f = *state;
	assert_int_equal(push(f, GREETING), MONITOR_NOTHING);
	assert_int_equal(push(f, "{\"return\": {}, \"id\": \"12-3\"}\n"), MONITOR_NOTHING);
	assert_int_equal(push(f, DONE), MONITOR_READY);
}

static void events_are_told_one_by_one(void **state)
{
	struct feed *f = *state;
	make_ready(f);
	assert_int_equal(
		push(f,
		     EVENT("RESET", "\"guest\": true, \"reason\": \"guest-reset\"") EVENT(
			     "RESET", "\"guest\": false, \"reason\": \"host-qmp-system-reset\"")
			     EVENT("NIC_RX_FILTER_CHANGED",
				   "\"path\": \"/x\"") "{\"event\": \"POWERDOWN\"}\n" EVENT("GUEST_"
											    "PANICK"
											    "ED",
											    "\"acti"
											    "on\": "
											    "\"powe"
											    "roff"
											    "\"")
				     EVENT("SHUTDOWN",
					   "\"guest\": true, \"reason\": "
					   "\"guest-panic\"") EVENT("SHUTDOWN",
								    "\"guest\": true, \"reason\": "
								    "\"guest-shutdown\"")
					     EVENT("SHUTDOWN",
						   "\"guest\": false, \"reason\": \"host-signal\"")
						     EVENT("SHUTDOWN",
							   "\"guest\": false, \"reason\": "
							   "\"host-qmp-quit\"")
							     EVENT("SHUTDOWN",
								   "\"guest\": false, \"reason\": "
								   "\"of-tomorrow\"")
								     EVENT("SHUTDOWN",
									   "\"guest\": true")),
		MONITOR_GUEST_RESET);
	assert_int_equal(more(f), MONITOR_GUEST_PANIC);
	assert_int_equal(more(f), MONITOR_GUEST_PANIC);
	assert_int_equal(more(f), MONITOR_GUEST_POWEROFF);
	assert_int_equal(more(f), MONITOR_HOST_QUIT);
	assert_int_equal(more(f), MONITOR_HOST_QUIT);
	assert_int_equal(more(f), MONITOR_HOST_QUIT);
	assert_int_equal(more(f), MONITOR_GUEST_POWEROFF);
	assert_int_equal(more(f), MONITOR_NOTHING);
}

static void a_guest_that_stands_still_is_told(void **state)
{
	struct feed *f = *state;
	make_ready(f);
	assert_int_equal(push(f, "{\"return\": {\"status\": \"running\", \"running\": true}}\n"),
			 MONITOR_NOTHING);
	assert_int_equal(push(f, EVENT("BLOCK_IO_ERROR", "\"nospace\": true") EVENT("STOP", "")
					 EVENT("RESUME", "")),
			 MONITOR_PAUSED);
	assert_int_equal(more(f), MONITOR_RESUMED);
	/* Since before we came. */
	assert_int_equal(push(f, "{\"return\": {\"status\": \"io-error\", \"running\": false}}\n"),
			 MONITOR_PAUSED);
}

#define RESET_AT(s, us)                                                                            \
	"{\"timestamp\": {\"seconds\": " #s ", \"microseconds\": " #us                             \
	"}, \"event\": \"RESET\", \"data\": {\"guest\": true}}\n"

/* SeaBIOS resets the machine several times more. */
static void one_reboot_is_told_once(void **state)
{
	struct feed *f = *state;
	make_ready(f);
	assert_int_equal(push(f, RESET_AT(100, 844961)), MONITOR_GUEST_RESET);
	assert_int_equal(push(f, RESET_AT(100, 889491)), MONITOR_NOTHING);
	assert_int_equal(push(f, RESET_AT(101, 129611)), MONITOR_NOTHING);
	assert_int_equal(push(f, RESET_AT(103, 0)), MONITOR_GUEST_RESET);
	assert_int_equal(push(f, RESET_AT(50, 0)), MONITOR_GUEST_RESET); /* the clock was set */
	assert_int_equal(push(f, RESET_AT(-1, -1)), MONITOR_GUEST_RESET);
	assert_int_equal(push(f, RESET_AT(9007199254740992, 0)), MONITOR_GUEST_RESET);
}

static void any_split_gives_the_same(void **state)
{
	(void)state;
	static const char stream[] = GREETING DONE EVENT("RESET", "\"guest\": true")
		EVENT("SHUTDOWN", "\"guest\": true, \"reason\": \"guest-shutdown\"");
	for (size_t piece = 1; piece < sizeof(stream); piece++) {
		struct feed *f;
		feed_new((void **)&f);
		enum monitor_event seen[8];
		size_t count = 0;
		for (size_t at = 0; at < sizeof(stream) - 1; at += piece) {
			size_t len = sizeof(stream) - 1 - at;
			enum monitor_event event = hv_qemu.monitor_feed(
				f->monitor, f->ours, stream + at, len < piece ? len : piece);
			for (; event != MONITOR_NOTHING && count < 8; event = more(f))
				seen[count++] = event;
		}
		assert_int_equal(count, 3);
		assert_int_equal(seen[0], MONITOR_READY);
		assert_int_equal(seen[1], MONITOR_GUEST_RESET);
		assert_int_equal(seen[2], MONITOR_GUEST_POWEROFF);
		feed_free((void **)&f);
	}
}

static void garbage_breaks_it_for_good(void **state)
{
	(void)state;
	static const char *const garbage[] = {
		"hello\n",
		"\n",
		"[]\n",
		"1\n",
		"{\"QMP\": \n",
		"{\"return\": {}}\n",
		"\xff\xfe\n",
		"{\"event\": \"RESET\"}\n",
		"{\"error\": {\"desc\": \"no\"}}\n",
	};
	for (size_t i = 0; i < ARRAY_COUNT(garbage); i++) {
		struct feed *f;
		feed_new((void **)&f);
		assert_int_equal(push(f, garbage[i]), MONITOR_BROKEN);
		assert_int_equal(more(f), MONITOR_NOTHING);
		assert_int_equal(push(f, GREETING), MONITOR_BROKEN);
		feed_free((void **)&f);
	}
}

static void odd_shapes_are_not_trusted(void **state)
{
	struct feed *f = *state;
	make_ready(f);
	assert_int_equal(push(f, "{\"event\": 7}\n{\"event\": \"SHUTDOWN\", \"data\": []}\n"),
			 MONITOR_HOST_QUIT);
	assert_int_equal(push(f, "{\"event\": \"RESET\", \"data\": \"guest\"}\n{}\n"),
			 MONITOR_NOTHING);
}

static void lines_are_bounded(void **state)
{
	struct feed *f = *state;
	make_ready(f);
	char part[4096];
	memset(part, ' ', sizeof(part));
	enum monitor_event event = MONITOR_NOTHING;
	size_t fed = 0;
	for (; event == MONITOR_NOTHING && fed < 1 << 20; fed += sizeof(part))
		event = hv_qemu.monitor_feed(f->monitor, f->ours, part, sizeof(part));
	assert_int_equal(event, MONITOR_BROKEN);
	assert_true(fed <= (64 << 10) + 2 * sizeof(part));
}

static void deep_nesting_is_refused(void **state)
{
	struct feed *f = *state;
	make_ready(f);
	auto_buf struct buf line = BUF_INIT;
	for (int i = 0; i < 30000; i++)
		buf_add_char(&line, '[');
	buf_add_char(&line, '\n');
	assert_int_equal(push(f, line.data), MONITOR_BROKEN);
}

/* --- the client --- */

struct script {
	char root[64];
	int dirfd, listener;
	const char *greeting; /* NULL: says nothing */
	const char *answers;  /* sent when a command arrives, one line a command; '~' closes */
	bool byte_by_byte;
	pthread_t thread;
};

static void send_text(int fd, const char *text, size_t len, bool byte_by_byte)
{
	for (size_t step = byte_by_byte ? 1 : len; len; text += step, len -= step)
		if (send(fd, text, step, MSG_NOSIGNAL) < 0)
			return;
}

static void *serve(void *data)
{
	struct script *s = data;
	struct pollfd wait = { .fd = s->listener, .events = POLLIN };
	poll(&wait, 1, 5000);
	auto_close int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (s->greeting)
		send_text(fd, s->greeting, strlen(s->greeting), s->byte_by_byte);
	const char *answer = s->answers;
	char command[4096];
	while (recv(fd, command, sizeof(command), 0) > 0) {
		if (!answer || !*answer)
			continue;
		if (*answer == '~')
			break;
		const char *end = strchr(answer, '\n') + 1;
		while (!strncmp(answer, "{\"event\"", 8)) { /* the event, then its answer */
			send_text(fd, answer, (size_t)(end - answer), s->byte_by_byte);
			answer = end;
			end = strchr(answer, '\n') + 1;
		}
		send_text(fd, answer, (size_t)(end - answer), s->byte_by_byte);
		answer = end;
	}
	return NULL;
}

static void script_start(struct script *s, const char *greeting, const char *answers)
{
	struct error err;
	memcpy(s->root, "/tmp/banger-test-XXXXXX", 24);
	assert_non_null(mkdtemp(s->root));
	s->dirfd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s->listener = unix_listen(s->dirfd, VM_FILE_MONITOR, &err);
	assert_true(s->listener >= 0);
	s->greeting = greeting;
	s->answers = answers;
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void script_end(struct script *s)
{
	struct error err;
	pthread_join(s->thread, NULL);
	close(s->listener);
	close(s->dirfd);
	fs_remove_tree(AT_FDCWD, s->root, &err);
}

static void commands_are_answered_past_events(void **state)
{
	(void)state;
	struct script s = { .byte_by_byte = true };
	struct error err = { 0 };
	script_start(&s, GREETING,
		     DONE "{\"event\": \"RESET\"}\n{\"return\": \"two\\r\\nlines\"}\n"
			  "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}}\n"
			  "{\"return\": 7}\n~");
	{
		auto_qmp struct qmp qmp = QMP_INIT;
		auto_buf struct buf text = BUF_INIT;
		if (qmp_open(s.dirfd, -1, 5000, &qmp, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(qmp_human(&qmp, "info x", &text, &err), 0);
		assert_string_equal(text.data, "two\r\nlines");
		assert_int_equal(qmp_command(&qmp, "stop", NULL, NULL, &err), -1);
		assert_string_equal(err.text, "'stop': not now");
		assert_int_equal(qmp_human(&qmp, "info x", &text, &err), -1);
		assert_int_equal(qmp_command(&qmp, "quit", NULL, NULL, &err), -1);
		assert_int_equal(err.code, ERROR_CANCELLED);
	}
	script_end(&s);
}

static void expect_open_fails(const char *greeting, const char *answers, enum error_code code)
{
	struct script s = { 0 };
	struct error err = { 0 };
	script_start(&s, greeting, answers);
	{
		auto_qmp struct qmp qmp = QMP_INIT;
		uint64_t before = clock_monotonic_ms();
		assert_int_equal(qmp_open(s.dirfd, -1, 200, &qmp, &err), -1);
		assert_int_equal(err.code, code);
		assert_int_equal(qmp.fd, -1);
		assert_true(clock_monotonic_ms() - before < 2000);
	}
	script_end(&s);
}

static void bad_monitors_do_not_hold_a_worker(void **state)
{
	(void)state;
	expect_open_fails(NULL, NULL, ERROR_TIMEOUT); /* another client has it */
	expect_open_fails(GREETING, NULL, ERROR_TIMEOUT);
	expect_open_fails(GREETING, "~", ERROR_CANCELLED);
	expect_open_fails("rubbish\n", NULL, ERROR_SYSTEM);
	expect_open_fails("{}\n", NULL, ERROR_SYSTEM);
	auto_buf struct buf endless = BUF_INIT;
	for (int i = 0; i < (1 << 20) + 4096; i++)
		buf_add_char(&endless, ' ');
	expect_open_fails(endless.data, NULL, ERROR_SYSTEM);
}

static void nobody_there_is_told_apart(void **state)
{
	(void)state;
	struct error err;
	char root[] = "/tmp/banger-test-XXXXXX";
	assert_non_null(mkdtemp(root));
	auto_close int dirfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct qmp qmp = QMP_INIT;
	assert_int_equal(qmp_open(dirfd, -1, 1000, &qmp, &err), -1);
	assert_int_equal(err.sys, ENOENT);
	close(unix_listen(dirfd, VM_FILE_MONITOR, &err));
	assert_int_equal(qmp_open(dirfd, -1, 1000, &qmp, &err), -1);
	assert_int_equal(err.sys, ECONNREFUSED);
	assert_int_equal(hv_qemu.quit(dirfd, 1000, &err), 0);
	/* A process that is starting is waited for, but not beyond its end. */
	pid_t pid = fork();
	if (pid == 0) {
		usleep(100000);
		_exit(0);
	}
	auto_close int pidfd = proc_pidfd(pid);
	uint64_t before = clock_monotonic_ms();
	assert_int_equal(qmp_open(dirfd, pidfd, 10000, &qmp, &err), -1);
	assert_int_equal(err.code, ERROR_CANCELLED);
	assert_true(clock_monotonic_ms() - before < 5000);
	waitpid(pid, NULL, 0);
	fs_remove_tree(AT_FDCWD, root, &err);
}

#define FED(test) cmocka_unit_test_setup_teardown(test, feed_new, feed_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FED(the_handshake_is_answered),
		FED(plugged_memory_is_told),
		FED(answers_meant_for_the_last_client_are_skipped),
		FED(events_are_told_one_by_one),
		FED(a_guest_that_stands_still_is_told),
		FED(one_reboot_is_told_once),
		cmocka_unit_test(any_split_gives_the_same),
		cmocka_unit_test(garbage_breaks_it_for_good),
		FED(odd_shapes_are_not_trusted),
		FED(lines_are_bounded),
		FED(deep_nesting_is_refused),
		cmocka_unit_test(commands_are_answered_past_events),
		cmocka_unit_test(bad_monitors_do_not_hold_a_worker),
		cmocka_unit_test(nobody_there_is_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
