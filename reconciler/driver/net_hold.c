#include "driver/net_hold.h"
#include "driver/net_user.h"
#include "base/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool fits(const struct net_hold *hold, const char *id, const struct port_spec *port)
{
	return !strcmp(hold->id, id) && hold->host == port->host && hold->proto == port->proto &&
	       !strcmp(hold->address, port->address);
}

static bool is_held(const struct net_hold_vec *holds, const char *id, const struct port_spec *port)
{
	for (size_t i = 0; i < holds->count; i++)
		if (fits(&holds->at[i], id, port))
			return true;
	return false;
}

static bool is_among(const struct net_hold *hold, const struct port_list *ports)
{
	for (size_t i = 0; ports && i < ports->count; i++)
		if (fits(hold, hold->id, &ports->at[i]))
			return true;
	return false;
}

/* reuse: where a connection of the one before is in TIME_WAIT. Not otherwise: two that both say so
 * may be bound to one port as long as neither listens. */
static int bind_port(const struct port_spec *port, bool reuse)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port->host) };
	bool tcp = port->proto == PORT_TCP;
	int on = 1;
	if (inet_pton(AF_INET, port->address, &to.sin_addr) != 1)
		return -1;
	int fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	if (fd >= 0 && (!reuse || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0) &&
	    bind(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int hold(struct net_hold_vec *holds, const char *id, const struct port_spec *port,
		struct error *err)
{
	struct net_hold made = { .host = port->host, .proto = port->proto };
	/* Says who has it. */
	if (net_port_free(port, err) < 0)
		return -1;
	made.fd = bind_port(port, false);
	if (made.fd < 0 && port->proto == PORT_TCP)
		made.fd = bind_port(port, true);
	if (made.fd < 0) {
		char text[NET_PORT_TEXT];
		return error_sys(err, "cannot hold port %s", net_port_text(port, text));
	}
	str_copy(made.id, sizeof(made.id), id);
	str_copy(made.address, sizeof(made.address), port->address);
	net_hold_vec_push(holds, made);
	return 0;
}

int net_hold_ports(struct net_hold_vec *holds, const char *id, const struct port_list *ports,
		   struct error *err)
{
	for (size_t i = 0; ports && i < ports->count; i++)
		if (!is_held(holds, id, &ports->at[i]) && hold(holds, id, &ports->at[i], err) < 0)
			return -1;
	return 0;
}

void net_hold_only(struct net_hold_vec *holds, const char *id, const struct port_list *ports)
{
	size_t left = 0;
	for (size_t i = 0; i < holds->count; i++) {
		if (strcmp(holds->at[i].id, id) != 0 || is_among(&holds->at[i], ports))
			holds->at[left++] = holds->at[i];
		else
			close(holds->at[i].fd);
	}
	holds->count = left;
}

void net_hold_clear(struct net_hold_vec *holds)
{
	for (size_t i = 0; i < holds->count; i++)
		close(holds->at[i].fd);
	net_hold_vec_clear(holds);
}
