/* sys/notify: what a service manager is told. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct error err;

/* A manager that listens at this name, as NOTIFY_SOCKET has it. */
static int manager(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	memcpy(at.sun_path, name, strlen(name));
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void assert_told(int fd, const char *text)
{
	char got[64] = "";
	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), strlen(text));
	assert_string_equal(got, text);
}

static void a_manager_is_told_by_path_and_by_abstract_name(void **state)
{
	(void)state;
	char path[] = "/tmp/banger-notify-XXXXXX";
	assert_non_null(mkdtemp(path));
	auto_free char *name = xasprintf("%s/notify", path);
	auto_close int file = manager(name);
	assert_int_equal(notify_manager("READY=1", &err), 1);
	assert_told(file, "READY=1");
	unlink(name);
	rmdir(path);

	auto_free char *hidden = xasprintf("@banger-test-%d", (int)getpid());
	auto_close int abstract = manager(hidden);
	assert_int_equal(notify_manager("STOPPING=1", &err), 1);
	assert_told(abstract, "STOPPING=1");
}

static void without_a_manager_nothing_happens(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_manager("READY=1", &err), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_manager("READY=1", &err), 0);
}

static void what_is_no_socket_is_an_error(void **state)
{
	(void)state;
	char longer[200];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	const char *const names[] = { "relative", longer, "/nonexistent/notify" };
	for (size_t i = 0; i < 3; i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		assert_int_equal(notify_manager("READY=1", &err), -1);
		assert_non_null(strstr(err.text, names[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manager_is_told_by_path_and_by_abstract_name),
		cmocka_unit_test(without_a_manager_nothing_happens),
		cmocka_unit_test(what_is_no_socket_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
