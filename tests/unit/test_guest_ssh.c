/* guest ssh: against a scripted server (libssh's own, in a thread, on loopback). */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct script {
	bool deny;	      /* refuse the key */
	bool silent;	      /* accept the connection and say nothing */
	bool hang;	      /* run the command for ever */
	bool drop;	      /* hang up instead of a status */
	size_t output, noise; /* bytes of 'o' on stdout, of 'e' on stderr */
	int status;
};

struct server {
	char path[64];
	int dirfd, fd;
	struct script script;
	struct ssh_target target;
	char *identity, *client_line;
	ssh_bind bind;
	ssh_key host_key;
	pthread_t thread;
	bool joined;
	unsigned fds; /* open before the call, and so after it */
	/* of the last connection */
	ssh_channel channel;
	char command[256], user[32];
	bool key_matched;
};

static int on_key(ssh_session session, const char *user, struct ssh_key_struct *key, char state,
		  void *data)
{
	struct server *server = data;
	ssh_key ours = NULL;
	(void)session;
	char *blob = xstrdup(strchr(server->client_line, ' ') + 1);
	blob[strcspn(blob, " ")] = '\0';
	assert_int_equal(ssh_pki_import_pubkey_base64(blob, SSH_KEYTYPE_ED25519, &ours), SSH_OK);
	server->key_matched = !ssh_key_cmp(ours, key, SSH_KEY_CMP_PUBLIC);
	str_copy(server->user, sizeof(server->user), user);
	ssh_key_free(ours);
	free(blob);
	if (server->script.deny || !server->key_matched)
		return SSH_AUTH_DENIED;
	return state == SSH_PUBLICKEY_STATE_NONE || state == SSH_PUBLICKEY_STATE_VALID
		       ? SSH_AUTH_SUCCESS
		       : SSH_AUTH_DENIED;
}

static int on_exec(ssh_session session, ssh_channel channel, const char *command, void *data)
{
	struct server *server = data;
	(void)session, (void)channel;
	str_copy(server->command, sizeof(server->command), command);
	return 0;
}

static struct ssh_channel_callbacks_struct channel_calls;

static ssh_channel on_channel(ssh_session session, void *data)
{
	struct server *server = data;
	server->channel = ssh_channel_new(session);
	channel_calls =
		(struct ssh_channel_callbacks_struct){ .userdata = server,
						       .channel_exec_request_function = on_exec };
	ssh_callbacks_init(&channel_calls);
	ssh_set_channel_callbacks(server->channel, &channel_calls);
	return server->channel;
}

static void pour(ssh_channel channel, size_t len, bool is_stderr)
{
	char chunk[4096];
	memset(chunk, is_stderr ? 'e' : 'o', sizeof(chunk));
	while (len) {
		size_t part = len < sizeof(chunk) ? len : sizeof(chunk);
		int put = is_stderr ? ssh_channel_write_stderr(channel, chunk, (uint32_t)part)
				    : ssh_channel_write(channel, chunk, (uint32_t)part);
		if (put <= 0)
			return;
		len -= (size_t)put;
	}
}

static void answer(struct server *server, ssh_event event, ssh_session session)
{
	for (int i = 0; i < 100 && !server->command[0]; i++)
		if (ssh_event_dopoll(event, 100) == SSH_ERROR)
			return;
	if (!server->command[0])
		return;
	pour(server->channel, server->script.noise, true);
	pour(server->channel, server->script.output, false);
	while (server->script.hang && ssh_is_connected(session))
		if (ssh_event_dopoll(event, 100) == SSH_ERROR)
			return;
	if (server->script.drop || server->script.hang)
		return;
	ssh_channel_request_send_exit_status(server->channel, server->script.status);
	ssh_channel_send_eof(server->channel);
	ssh_channel_close(server->channel);
	for (int i = 0; i < 20 && ssh_is_connected(session); i++)
		if (ssh_event_dopoll(event, 50) == SSH_ERROR)
			return;
}

static void talk(struct server *server, int fd)
{
	ssh_session session = ssh_new();
	struct ssh_server_callbacks_struct calls = {
		.userdata = server,
		.auth_pubkey_function = on_key,
		.channel_open_request_session_function = on_channel,
	};
	ssh_callbacks_init(&calls);
	ssh_set_server_callbacks(session, &calls);
	if (ssh_bind_accept_fd(server->bind, session, fd) == SSH_OK) {
		ssh_set_auth_methods(session, SSH_AUTH_METHOD_PUBLICKEY);
		ssh_event event = ssh_event_new();
		if (ssh_handle_key_exchange(session) == SSH_OK) {
			ssh_event_add_session(event, session);
			answer(server, event, session);
			ssh_event_remove_session(event, session);
		}
		ssh_event_free(event);
	}
	ssh_disconnect(session);
	ssh_free(session);
}

static void *serve(void *data)
{
	struct server *server = data;
	int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (server->script.silent) {
		struct pollfd p = { .fd = fd, .events = POLLRDHUP };
		poll(&p, 1, 10000);
		close(fd);
		return NULL;
	}
	talk(server, fd);
	return NULL;
}

static void listen_on_loopback(struct server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(server->fd, 4), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
	server->target.port = ntohs(address.sin_port);
}

static unsigned open_fds(void)
{
	auto_dir DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	return count;
}

static void start(struct server *server, struct script script)
{
	struct error err;
	*server = (struct server){ .script = script, .path = "/tmp/banger-test-XXXXXX" };
	assert_non_null(mkdtemp(server->path));
	server->dirfd = open(server->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(keys_host(server->dirfd, "web", &err), 0);
	assert_int_equal(keys_client(server->path, &server->client_line, &err), 0);
	server->identity = xasprintf("%s/keys/id_ed25519", server->path);
	server->target = (struct ssh_target){ .address = "127.0.0.1",
					      .identity = server->identity,
					      .vm_dirfd = server->dirfd };
	auto_free char *key = xasprintf("%s/%s", server->path, GUEST_FILE_HOST_KEY);
	server->bind = ssh_bind_new();
	bool no = false;
	ssh_bind_options_set(server->bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	assert_int_equal(ssh_bind_options_set(server->bind, SSH_BIND_OPTIONS_HOSTKEY, key), SSH_OK);
	listen_on_loopback(server);
	server->fds = open_fds();
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server)
{
	struct error err;
	shutdown(server->fd, SHUT_RDWR);
	if (!server->joined)
		pthread_join(server->thread, NULL);
	ssh_bind_free(server->bind);
	close(server->fd);
	close(server->dirfd);
	free(server->identity);
	free(server->client_line);
	assert_int_equal(fs_remove_tree(AT_FDCWD, server->path, &err), 0);
}

static int run(struct server *server, const char *command, uint64_t timeout_ms, int *status,
	       struct buf *out, struct error *err)
{
	*err = (struct error){ 0 };
	*status = -1;
	int result = ssh_run(&server->target, command, timeout_ms, status, out, err);
	pthread_join(server->thread, NULL);
	server->joined = true;
	assert_int_equal(open_fds(), server->fds);
	return result;
}

static void a_command_runs_and_its_status_comes_back(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	int status;
	auto_buf struct buf out = BUF_INIT;
	start(&server, (struct script){ .output = 3, .status = 7 });
	if (run(&server, "uname -r", 10000, &status, &out, &err) < 0)
		fail_msg("%s", err.text);
	stop(&server);
	assert_int_equal(status, 7);
	assert_string_equal(out.data, "ooo");
	assert_string_equal(server.command, "uname -r");
	assert_string_equal(server.user, "root");
	assert_true(server.key_matched);
}

static void output_is_bounded_and_the_command_still_ends(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	int status;
	auto_buf struct buf out = BUF_INIT;
	start(&server, (struct script){ .output = 5u << 20, .noise = 3u << 20 });
	if (run(&server, "yes", 30000, &status, &out, &err) < 0)
		fail_msg("%s", err.text);
	stop(&server);
	assert_int_equal(status, 0);
	assert_int_equal(out.len, 65536);
}

/* Somebody else on the port: nothing is offered to them. */
static void another_host_key_is_refused(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	int status;
	start(&server, (struct script){ 0 });
	unlinkat(server.dirfd, GUEST_FILE_HOST_KEY, 0);
	unlinkat(server.dirfd, GUEST_FILE_HOST_KEY_PUB, 0);
	assert_int_equal(keys_host(server.dirfd, "other", &err), 0);
	assert_int_equal(run(&server, "id", 10000, &status, NULL, &err), -1);
	stop(&server);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.text, "another host key"));
	assert_string_equal(server.user, "");
}

static void a_refused_key_is_said(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	int status;
	start(&server, (struct script){ .deny = true });
	assert_int_equal(run(&server, "id", 10000, &status, NULL, &err), -1);
	stop(&server);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.text, "refuses banger's key"));
}

static void times_out(struct script script)
{
	struct server server;
	struct error err;
	int status;
	start(&server, script);
	uint64_t before = clock_monotonic_ms();
	assert_int_equal(run(&server, "sleep", 700, &status, NULL, &err), -1);
	uint64_t took = clock_monotonic_ms() - before;
	stop(&server);
	if (err.code != ERROR_TIMEOUT)
		fail_msg("%s", err.text);
	assert_true(took >= 600 && took < 2000);
}

static void a_silent_guest_times_out(void **state)
{
	(void)state;
	times_out((struct script){ .silent = true });
	times_out((struct script){ .hang = true });
	times_out((struct script){ .hang = true, .output = 100000 });
}

static void a_hang_up_is_an_error(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	int status;
	auto_buf struct buf out = BUF_INIT;
	start(&server, (struct script){ .drop = true, .output = 2 });
	assert_int_equal(run(&server, "poweroff", 10000, &status, &out, &err), -1);
	stop(&server);
	assert_int_equal(err.code, ERROR_UNAVAILABLE);
	assert_string_equal(out.data, "oo");
}

static void a_closed_port_is_unavailable(void **state)
{
	(void)state;
	struct server server;
	struct error err;
	int status;
	start(&server, (struct script){ 0 });
	shutdown(server.fd, SHUT_RDWR);
	assert_int_equal(run(&server, "id", 5000, &status, NULL, &err), -1);
	stop(&server);
	assert_int_equal(err.code, ERROR_UNAVAILABLE);
	assert_int_equal(err.sys, ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_runs_and_its_status_comes_back),
		cmocka_unit_test(output_is_bounded_and_the_command_still_ends),
		cmocka_unit_test(another_host_key_is_refused),
		cmocka_unit_test(a_refused_key_is_said),
		cmocka_unit_test(a_silent_guest_times_out),
		cmocka_unit_test(a_hang_up_is_an_error),
		cmocka_unit_test(a_closed_port_is_unavailable),
	};
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	ssh_init();
	int failed = cmocka_run_group_tests_name("guest_ssh", tests, NULL, NULL);
	ssh_finalize();
	return failed;
}
