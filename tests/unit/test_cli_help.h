/* A whole `banger` in-process against a daemon that answers what the test wants.
 *
 * The daemon is a thread on the real socket below a private XDG_RUNTIME_DIR. It answers ping itself
 * and asks the test's function for the rest, one request at a time. */
#ifndef TESTS_TEST_CLI_HELP_H
#define TESTS_TEST_CLI_HELP_H

#include "cli/cli.h"
#include "rpc/rpc.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct fake {
	/* NULL with err: an error reply. NULL with err->code NONE: the connection is cut. */
	cJSON *(*answer)(struct fake *fake, const char *method, const cJSON *params, int fd,
			 struct error *err);
	int listener;
	pthread_t thread;
	atomic_bool stop;
	int64_t pid;	   /* what ping says; changing it makes another daemon of it */
	atomic_uint dying; /* so many connections end with their first request unread */
	unsigned calls;	   /* of answer */
	char said[4096];   /* methods, in order, one a line */
	char text[65536];  /* of the last descriptor */
};

struct ran {
	int status;
	char *out, *err;
};

static char cli_home[] = "/tmp/banger-test-cli-XXXXXX";

static inline void cli_home_make(void)
{
	static const char *const names[] = { "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
					     "XDG_RUNTIME_DIR" };
	struct error err;
	assert_non_null(mkdtemp(cli_home));
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		auto_free char *dir = xasprintf("%s/%zu", cli_home, i);
		assert_int_equal(fs_mkdirs(dir, 0700, &err), 0);
		setenv(names[i], dir, 1);
	}
	setenv("BANGER_DAEMON", "/bin/false", 1);
	unsetenv("NO_COLOR");
}

static inline void cli_home_remove(void)
{
	struct error err;
	fs_remove_tree(AT_FDCWD, cli_home, &err);
}

/* The same as fixtures of a group. */
static inline int cli_set_up(void **state)
{
	(void)state;
	cli_home_make();
	return 0;
}

static inline int cli_tear_down(void **state)
{
	(void)state;
	cli_home_remove();
	return 0;
}

static inline cJSON *cli_json(const char *text)
{
	struct error err;
	cJSON *value = json_parse(text, strlen(text), &err);
	if (!value)
		fail_msg("%s: %s", err.text, text);
	return value;
}

static inline cJSON *fake_ping(const struct fake *fake)
{
	cJSON *pong = cJSON_CreateObject();
	json_add_str(pong, "version", cli_version);
	json_add_str(pong, "commit", "unknown");
	json_add_int(pong, "pid", fake->pid);
	json_add_int(pong, "started_ms", 1000 + fake->pid);
	return pong;
}

/* False: the connection ends. */
static inline bool fake_reply(struct fake *fake, int socket, const cJSON *request, int fd)
{
	auto_buf struct buf out = BUF_INIT;
	struct error err = { 0 };
	const char *method = json_str(request, "method", "");
	int64_t id = json_int(request, "id", 0);
	cJSON *result = NULL;
	if (fd >= 0) {
		ssize_t got = pread(fd, fake->text, sizeof(fake->text) - 1, 0);
		fake->text[got > 0 ? got : 0] = '\0';
	}
	if (!strcmp(method, "ping")) {
		result = fake_ping(fake);
	} else {
		size_t used = strlen(fake->said);
		snprintf(fake->said + used, sizeof(fake->said) - used, "%s\n", method);
		fake->calls++;
		result = fake->answer(fake, method, json_get(request, "params"), fd, &err);
	}
	if (!result && err.code == ERROR_NONE)
		return false;
	if (result)
		rpc_reply(&out, id, result);
	else
		rpc_reply_error(&out, id, &err);
	return fs_write_all(socket, out.data, out.len) == 0;
}

static inline void fake_serve(struct fake *fake, int socket)
{
	struct rpc_frames frames = { .in = BUF_INIT };
	int fds[RPC_FDS_MAX];
	size_t fd_count = 0;
	struct error err;
	bool alive = true;
	while (alive && !fake->stop) {
		struct pollfd ready = { .fd = socket, .events = POLLIN };
		if (poll(&ready, 1, 50) == 0)
			continue;
		alive = rpc_receive(socket, &frames, fds, &fd_count, &err) == 0;
		for (cJSON *request; alive && rpc_frames_next(&frames, &request, &err) > 0;) {
			alive = fake_reply(fake, socket, request, fd_count ? fds[0] : -1);
			cJSON_Delete(request);
			while (fd_count)
				close(fds[--fd_count]);
		}
	}
	buf_clear(&frames.in);
}

static inline void *fake_run(void *data)
{
	struct fake *fake = data;
	while (!fake->stop) {
		struct pollfd ready = { .fd = fake->listener, .events = POLLIN };
		if (poll(&ready, 1, 50) <= 0)
			continue;
		auto_close int socket = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
		if (socket >= 0 && fake->dying) {
			struct pollfd asked = { .fd = socket, .events = POLLIN };
			poll(&asked, 1, 5000);
			fake->dying--;
		} else if (socket >= 0) {
			fake_serve(fake, socket);
		}
	}
	return NULL;
}

static inline void fake_start(struct fake *fake)
{
	struct error err;
	auto_free char *dir = xasprintf("%s/banger", getenv("XDG_RUNTIME_DIR"));
	assert_int_equal(fs_mkdirs(dir, 0700, &err), 0);
	auto_close int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fake->pid = fake->pid ? fake->pid : 100;
	fake->listener = unix_listen(dirfd, RPC_SOCKET, &err);
	assert_true(fake->listener >= 0);
	assert_int_equal(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

static inline void fake_end(struct fake *fake)
{
	auto_free char *path = xasprintf("%s/banger/%s", getenv("XDG_RUNTIME_DIR"), RPC_SOCKET);
	fake->stop = true;
	pthread_join(fake->thread, NULL);
	close(fake->listener);
	unlink(path);
}

/* Runs `banger WORD…`; input is its standard input, tty: as if people sat before it. */
static inline struct ran ran_with(const char *input, bool tty, ...)
{
	char *argv[32] = { (char[]){ "banger" } };
	int argc = 1;
	va_list words;
	struct ran ran = { 0 };
	size_t out_len, err_len;
	va_start(words, tty);
	for (char *word; argc < 31 && (word = va_arg(words, char *));)
		argv[argc++] = word;
	va_end(words);
	auto_file FILE *in = tmpfile();
	fputs(input, in);
	rewind(in);
	FILE *out = open_memstream(&ran.out, &out_len), *err = open_memstream(&ran.err, &err_len);
	struct cli_io io = { .in = in, .out = out, .err = err };
	io.in_tty = io.out_tty = io.err_tty = tty;
	ran.status = cli_run(argc, argv, &io);
	fclose(out);
	fclose(err);
	return ran;
}
#define RAN(...)	 ran_with("", false, __VA_ARGS__, (char *)NULL)
#define RAN_TTY(in, ...) ran_with(in, true, __VA_ARGS__, (char *)NULL)

static inline void ran_clear(struct ran *ran)
{
	free(ran->out);
	free(ran->err);
}
#define auto_ran __attribute__((cleanup(ran_clear)))

static inline void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static inline void assert_lacks(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("'%s' is in:\n%s", part, text);
}

#endif
