/* Theory of operation: whether a port is free is asked of the kernel by binding it exactly as QEMU
 * will: TCP with SO_REUSEADDR (so that a connection in TIME_WAIT is no obstacle and a listener is),
 * UDP without (with it Linux lets two share a port). Nothing listens on the probe, so no client is
 * ever answered by it. Only when it is taken does the slow part run: net_owner.c. */
#include "driver/net_user.h"
#include "driver/id_hash.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* 127.64.0.0/10: away from what people use by hand (127.0.0.1, 127.0.1.1, 127.0.0.53). */
#define ADDRESS_BASE   UINT32_C(0x7f400000)
#define ADDRESS_BITS   22
#define ADDRESS_STRIDE UINT32_C(0x9e3779) /* odd: visits every address once */
#define ADDRESS_TRIES  4096

const char *net_port_text(const struct port_spec *port, char text[NET_PORT_TEXT])
{
	snprintf(text, NET_PORT_TEXT, "%s:%u/%s", port->address, port->host,
		 port->proto == PORT_UDP ? "udp" : "tcp");
	return text;
}

static int bind_probe(const struct port_spec *port, struct error *err)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port->host) };
	if (inet_pton(AF_INET, port->address, &to.sin_addr) != 1) {
		error_set(err, ERROR_INVALID, "'%s' is no IPv4 address", port->address);
		return -1;
	}
	bool tcp = port->proto == PORT_TCP;
	auto_close int fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	int on = 1;
	if (fd < 0 || (tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0))
		return error_sys(err, "cannot make a socket");
	if (bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return error_sys(err, "cannot bind");
	return 0;
}

static int for_root(const char *port, struct error *err)
{
	return error_set(err, ERROR_INVALID,
			 "port %s may only be opened by root (ports below "
			 "net.ipv4.ip_unprivileged_port_start, usually 1024): use a higher one",
			 port);
}

int net_user_ports_allowed(const struct port_list *ports, struct error *err)
{
	struct error ignored;
	char text[NET_PORT_TEXT];
	auto_buf struct buf first = BUF_INIT;
	unsigned long start = 1024;
	if (fs_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", 16, &first,
		    &ignored) == 0)
		start = strtoul(first.data, NULL, 10);
	for (size_t i = 0; i < ports->count; i++)
		if (ports->at[i].host < start) {
			for_root(net_port_text(&ports->at[i], text), err);
			return error_append(err, ", or 'network: bridge'");
		}
	return 0;
}

int net_port_free(const struct port_spec *port, struct error *err)
{
	char text[NET_PORT_TEXT];
	net_port_text(port, text);
	if (bind_probe(port, err) == 0)
		return 0;
	if (err->sys == EADDRINUSE)
		return net_port_busy(port, err);
	if (err->sys == EACCES)
		return for_root(text, err);
	if (err->sys == EADDRNOTAVAIL)
		return error_set(err, ERROR_INVALID, "port %s: this host has no address %s", text,
				 port->address);
	return error_wrap(err, "port %s", text);
}

int net_port_busy(const struct port_spec *port, struct error *err)
{
	char text[NET_PORT_TEXT];
	auto_close int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int net = open("/proc/net", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_free char *owner = net_port_owner(proc, net, port);
	error_set(err, ERROR_BUSY, "port %s is taken by %s", net_port_text(port, text),
		  owner ? owner : "a process that cannot be seen from here");
	err->sys = EADDRINUSE;
	return -1;
}

static bool is_taken(const char *address, const char *const *taken, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(address, taken[i]))
			return true;
	return false;
}

/* false: looks like a network's own or broadcast address, which confuses people and tools. */
static bool address_at(uint32_t offset, char ret[16])
{
	struct in_addr in = { .s_addr = htonl(ADDRESS_BASE + offset) };
	inet_ntop(AF_INET, &in, ret, 16);
	return (offset & 0xff) != 0 && (offset & 0xff) != 0xff;
}

int net_user_address(const char *id, const char *const *taken, size_t count, char ret[16],
		     struct error *err)
{
	const uint32_t mask = (UINT32_C(1) << ADDRESS_BITS) - 1;
	uint32_t at = (uint32_t)id_hash(id, 3) & mask;
	for (unsigned i = 0; i < ADDRESS_TRIES; i++, at = (at + ADDRESS_STRIDE) & mask) {
		if (!address_at(at, ret) || is_taken(ret, taken, count))
			continue;
		struct port_spec ssh = { .address = ret, .host = USER_SSH_PORT, .proto = PORT_TCP };
		if (bind_probe(&ssh, err) == 0)
			return 0;
		if (err->sys != EADDRINUSE)
			return error_wrap(err, "cannot use the loopback address %s", ret);
	}
	/* Every one of them: somebody listens on 0.0.0.0. */
	struct port_spec any = { .address = ret, .host = USER_SSH_PORT, .proto = PORT_TCP };
	return net_port_busy(&any, err);
}

static bool overlap(const struct port_spec *a, const struct port_spec *b)
{
	return a->proto == b->proto && a->host == b->host &&
	       (!strcmp(a->address, b->address) || !strcmp(a->address, "0.0.0.0") ||
		!strcmp(b->address, "0.0.0.0"));
}

static int check_port(const struct port_list *ports, size_t index, const struct port_spec *ssh,
		      struct error *err)
{
	char one[NET_PORT_TEXT], other[NET_PORT_TEXT];
	const struct port_spec *port = &ports->at[index];
	if (ssh && overlap(port, ssh))
		return error_set(err, ERROR_INVALID,
				 "port %s overlaps %s, which is the VM's own for SSH",
				 net_port_text(port, one), net_port_text(ssh, other));
	for (size_t i = 0; i < index; i++)
		if (overlap(port, &ports->at[i]))
			return error_set(err, ERROR_INVALID, "port %s overlaps port %s",
					 net_port_text(port, one),
					 net_port_text(&ports->at[i], other));
	return net_port_free(port, err);
}

int net_user_ports_free(const char *address, const struct port_list *ports, struct error *err)
{
	struct port_spec ssh = { .address = address, .host = USER_SSH_PORT, .proto = PORT_TCP };
	if (address && net_port_free(&ssh, err) < 0)
		return -1;
	for (size_t i = 0; ports && i < ports->count; i++)
		if (check_port(ports, i, address ? &ssh : NULL, err) < 0)
			return -1;
	return 0;
}

void net_mac(const char *id, char ret[18])
{
	uint64_t hash = id_hash(id, 4);
	snprintf(ret, 18, "52:54:00:%02x:%02x:%02x", (unsigned)(hash >> 16 & 0xff),
		 (unsigned)(hash >> 8 & 0xff), (unsigned)(hash & 0xff));
}
