/* driver: addresses, and host ports with real sockets. */
#include "driver/net_user.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int socket_on(int family, int type, const char *address, uint16_t port, bool reuse,
		     uint16_t *ret_port)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0), on = 1;
	assert_true(fd >= 0);
	if (reuse)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr *at = family == AF_INET ? (struct sockaddr *)&in : (struct sockaddr *)&in6;
	socklen_t len = family == AF_INET ? sizeof(in) : sizeof(in6);
	inet_pton(family, address, family == AF_INET ? (void *)&in.sin_addr : &in6.sin6_addr);
	if (bind(fd, at, len) < 0) {
		close(fd);
		return -1;
	}
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, at, &len), 0);
	*ret_port = ntohs(family == AF_INET ? in.sin_port : in6.sin6_port);
	return fd;
}

static struct port_spec port_at(const char *address, uint16_t host, enum port_proto proto)
{
	return (struct port_spec){ .address = address, .host = host, .guest = 1, .proto = proto };
}

static void assert_taken_by_us(const struct port_spec *port)
{
	struct error err = { 0 };
	assert_int_equal(net_port_free(port, &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
	auto_free char *us = xasprintf("is taken by test_driver_net (pid %d)", (int)getpid());
	if (!strstr(err.text, us))
		fail_msg("%s", err.text);
}

static void a_listener_is_named(void **state)
{
	(void)state;
	struct error err;
	uint16_t number;
	auto_close int fd = socket_on(AF_INET, SOCK_STREAM, "127.0.0.1", 0, true, &number);
	assert_true(fd >= 0);
	struct port_spec exact = port_at("127.0.0.1", number, PORT_TCP);
	struct port_spec any = port_at("0.0.0.0", number, PORT_TCP);
	struct port_spec other = port_at("127.0.0.2", number, PORT_TCP);
	struct port_spec udp = port_at("127.0.0.1", number, PORT_UDP);
	assert_taken_by_us(&exact);
	assert_taken_by_us(&any);
	assert_int_equal(net_port_free(&other, &err), 0);
	assert_int_equal(net_port_free(&udp, &err), 0);
}

static void a_listener_everywhere_is_in_the_way_of_each_address(void **state)
{
	(void)state;
	uint16_t number;
	auto_close int fd = socket_on(AF_INET, SOCK_STREAM, "0.0.0.0", 0, true, &number);
	assert_true(fd >= 0);
	struct port_spec port = port_at("127.65.4.3", number, PORT_TCP);
	assert_taken_by_us(&port);
}

static void a_dual_stack_listener_is_named(void **state)
{
	(void)state;
	uint16_t number = 0;
	int fd = -1;
	if (access("/proc/net/if_inet6", F_OK) == 0)
		fd = socket_on(AF_INET6, SOCK_STREAM, "::", 0, true, &number);
	if (fd < 0)
		skip();
	struct port_spec port = port_at("127.0.0.1", number, PORT_TCP);
	assert_taken_by_us(&port);
	close(fd);
}

/* With SO_REUSEADDR Linux would share it. */
static void a_udp_socket_is_named(void **state)
{
	(void)state;
	uint16_t number;
	auto_close int fd = socket_on(AF_INET, SOCK_DGRAM, "127.0.0.1", 0, true, &number);
	assert_true(fd >= 0);
	struct port_spec port = port_at("127.0.0.1", number, PORT_UDP);
	assert_taken_by_us(&port);
}

static void a_connection_in_time_wait_is_no_obstacle(void **state)
{
	(void)state;
	struct error err;
	uint16_t number, ignored;
	int listener = socket_on(AF_INET, SOCK_STREAM, "127.0.0.1", 0, true, &number);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(number) };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	int served = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(served); /* the side that closes first waits */
	char end;
	assert_int_equal(recv(client, &end, 1, 0), 0);
	close(client);
	close(listener);
	assert_int_equal(socket_on(AF_INET, SOCK_STREAM, "127.0.0.1", number, false, &ignored), -1);
	struct port_spec port = port_at("127.0.0.1", number, PORT_TCP);
	assert_int_equal(net_port_free(&port, &err), 0);
}

static void what_can_never_be_bound_is_invalid(void **state)
{
	(void)state;
	struct error err;
	struct port_spec foreign = port_at("192.0.2.1", 8080, PORT_TCP);
	assert_int_equal(net_port_free(&foreign, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	assert_non_null(strstr(err.text, "no address 192.0.2.1"));
	struct port_spec nonsense = port_at("localhost", 8080, PORT_TCP);
	assert_int_equal(net_port_free(&nonsense, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
}

static void a_privileged_port_says_so(void **state)
{
	(void)state;
	struct error err;
	auto_buf struct buf first = BUF_INIT;
	if (fs_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", 16, &first, &err) ||
	    strtol(first.data, NULL, 10) <= 81) {
		buf_clear(&first); /* skip() jumps */
		skip();
	}
	pid_t pid = fork();
	if (pid == 0) {
		struct port_spec port = port_at("127.77.66.55", 81, PORT_TCP);
		bool right = (geteuid() || seteuid(65534) == 0) && net_port_free(&port, &err) < 0 &&
			     err.code == ERROR_INVALID &&
			     strstr(err.text, "only be opened by root");
		_exit(right ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void the_list_must_not_overlap_itself(void **state)
{
	(void)state;
	struct error err;
	uint16_t number;
	close(socket_on(AF_INET, SOCK_STREAM, "127.0.0.1", 0, true, &number));
	struct port_spec ports[] = { port_at("127.0.0.1", number, PORT_TCP),
				     port_at("127.0.0.1", number, PORT_UDP),
				     port_at("0.0.0.0", number, PORT_TCP) };
	struct port_list list = { ports, 2 };
	assert_int_equal(net_user_ports_free("127.64.9.9", &list, &err), 0);
	list.count = 3;
	assert_int_equal(net_user_ports_free("127.64.9.9", &list, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID);
	struct port_spec ssh[] = { port_at("0.0.0.0", USER_SSH_PORT, PORT_TCP) };
	list = (struct port_list){ ssh, 1 };
	assert_int_equal(net_user_ports_free("127.64.9.9", &list, &err), -1);
	assert_non_null(strstr(err.text, "for SSH"));
}

static void addresses_are_stable_and_avoid_the_taken(void **state)
{
	(void)state;
	struct error err;
	char first[16], again[16], second[16], third[16];
	assert_int_equal(net_user_address("ab12", NULL, 0, first, &err), 0);
	assert_int_equal(net_user_address("ab12", NULL, 0, again, &err), 0);
	assert_string_equal(first, again);
	struct in_addr in;
	assert_int_equal(inet_pton(AF_INET, first, &in), 1);
	assert_int_equal(ntohl(in.s_addr) >> 22, 0x7f400000u >> 22);
	const char *taken[] = { first };
	assert_int_equal(net_user_address("ab12", taken, 1, second, &err), 0);
	assert_string_not_equal(first, second);
	/* Another user's VM has it. */
	uint16_t number;
	auto_close int fd = socket_on(AF_INET, SOCK_STREAM, first, USER_SSH_PORT, true, &number);
	assert_true(fd >= 0);
	assert_int_equal(net_user_address("ab12", NULL, 0, third, &err), 0);
	assert_string_equal(second, third);
}

static void macs_are_stable_and_ours(void **state)
{
	(void)state;
	char a[18], b[18], c[18];
	net_mac("ab12", a);
	net_mac("ab12", b);
	net_mac("ab13", c);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
	assert_int_equal(strlen(a), 17);
	assert_int_equal(strncmp(a, "52:54:00:", 9), 0);
}

/* --- the owner, from written tables --- */

static void tables_of_others(void **state)
{
	(void)state;
	static const char table[] =
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   "
		"uid\n"
		"garbage\n"
		"   0: 0100007F:1F90 0100007F:0016 01 00000000:00000000 00:00000000 00000000  7 0 "
		"1 1\n"
		"   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  7 0 "
		"2 1\n"
		"12345: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 "
		"4242424 0 99999999999 1\n";
	struct error err;
	char root[] = "/tmp/banger-test-XXXXXX";
	assert_non_null(mkdtemp(root));
	auto_close int net = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct port_spec port = port_at("127.0.0.1", 8080, PORT_TCP);
	assert_null(net_port_owner(proc, net, &port));
	assert_int_equal(fs_write(net, "tcp", table, strlen(table), 0600, &err), 0);
	auto_free char *owner = net_port_owner(proc, net, &port);
	assert_string_equal(owner, "another user's process (uid 4242424)");
	struct port_spec free_one = port_at("127.0.0.1", 8082, PORT_TCP);
	assert_null(net_port_owner(proc, net, &free_one));
	fs_remove_tree(AT_FDCWD, root, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_is_named),
		cmocka_unit_test(a_listener_everywhere_is_in_the_way_of_each_address),
		cmocka_unit_test(a_dual_stack_listener_is_named),
		cmocka_unit_test(a_udp_socket_is_named),
		cmocka_unit_test(a_connection_in_time_wait_is_no_obstacle),
		cmocka_unit_test(what_can_never_be_bound_is_invalid),
		cmocka_unit_test(a_privileged_port_says_so),
		cmocka_unit_test(the_list_must_not_overlap_itself),
		cmocka_unit_test(addresses_are_stable_and_avoid_the_taken),
		cmocka_unit_test(macs_are_stable_and_ours),
		cmocka_unit_test(tables_of_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
