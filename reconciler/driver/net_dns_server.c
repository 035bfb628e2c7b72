/* Theory of operation: every question is answered out of memory, at once, so one socket and one
 * buffer do for UDP. TCP is for those who insist: few connections, each for a few seconds, and a
 * sender that does not take its answer loses it. Nobody can make the loop spin: a burst is served a
 * piece at a time, and when connections cannot be had, accepting pauses. */
#include "driver/net_dns.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST	    64
#define STREAMS_MAX 16
#define STREAM_MS   10000
#define PAUSE_MS    1000

struct stream {
	struct net_dns *dns;
	int fd; /* -1: free */
	struct loop_watch *watch;
	struct loop_timer *deadline;
	uint8_t in[NS_INT16SZ + NET_DNS_QUERY_MAX];
	size_t len;
};

struct net_dns {
	struct loop *loop;
	const struct net_dns_zone *zone;
	struct in_addr address;
	int udp, tcp;
	struct loop_watch *udp_watch, *tcp_watch;
	struct loop_timer *again;
	struct stream streams[STREAMS_MAX];
};

/* Whoever sends from our own address, or over loopback, is on this host. */
static bool is_local(const struct net_dns *dns, const struct sockaddr_in *from)
{
	return from->sin_family == AF_INET && (from->sin_addr.s_addr == dns->address.s_addr ||
					       ntohl(from->sin_addr.s_addr) >> 24 == 127);
}

/* --- UDP --- */

static void answer_datagrams(void *data, uint32_t events)
{
	struct net_dns *dns = data;
	uint8_t query[NET_DNS_QUERY_MAX], reply[NET_DNS_REPLY_MAX];
	(void)events;
	for (int i = 0; i < BURST; i++) {
		struct sockaddr_in from = { 0 };
		socklen_t size = sizeof(from);
		ssize_t len = recvfrom(dns->udp, query, sizeof(query), MSG_TRUNC,
				       (struct sockaddr *)&from, &size);
		if (len < 0)
			return;
		if ((size_t)len > sizeof(query) || !is_local(dns, &from))
			continue;
		size_t answer = net_dns_answer(dns->zone, query, (size_t)len, reply);
		if (answer)
			(void)sendto(dns->udp, reply, answer, 0, (struct sockaddr *)&from, size);
	}
}

/* --- TCP --- */

static void stream_close(struct stream *stream)
{
	loop_unwatch(stream->watch);
	loop_timer_free(stream->deadline);
	cleanup_close(&stream->fd);
	*stream = (struct stream){ .dns = stream->dns, .fd = -1 };
	if (!loop_timer_is_set(stream->dns->again))
		loop_watch_set(stream->dns->tcp_watch, EPOLLIN);
}

static void stream_expired(void *data)
{
	stream_close(data);
}

static bool stream_send(struct stream *stream, const uint8_t *reply, size_t len)
{
	uint8_t out[NS_INT16SZ + NET_DNS_REPLY_MAX];
	ns_put16((unsigned)len, out);
	memcpy(out + NS_INT16SZ, reply, len);
	len += NS_INT16SZ;
	return send(stream->fd, out, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* One whole question at the front; false: there is nothing more to say to this one. */
static bool stream_answer(struct stream *stream, size_t len)
{
	uint8_t reply[NET_DNS_REPLY_MAX];
	size_t answer = net_dns_answer(stream->dns->zone, stream->in + NS_INT16SZ, len, reply);
	if (!answer || !stream_send(stream, reply, answer))
		return false;
	len += NS_INT16SZ;
	stream->len -= len;
	memmove(stream->in, stream->in + len, stream->len);
	return true;
}

static void stream_readable(void *data, uint32_t events)
{
	struct stream *stream = data;
	(void)events;
	ssize_t got = read(stream->fd, stream->in + stream->len, sizeof(stream->in) - stream->len);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		stream_close(stream);
		return;
	}
	stream->len += (size_t)got;
	while (stream->len >= NS_INT16SZ) {
		size_t len = ns_get16(stream->in);
		if (len > NET_DNS_QUERY_MAX) {
			stream_close(stream);
			return;
		}
		if (stream->len < NS_INT16SZ + len)
			return;
		if (!stream_answer(stream, len)) {
			stream_close(stream);
			return;
		}
	}
}

static struct stream *stream_free(struct net_dns *dns)
{
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (dns->streams[i].fd < 0)
			return &dns->streams[i];
	return NULL;
}

static void accept_again(void *data)
{
	const struct net_dns *dns = data;
	loop_watch_set(dns->tcp_watch, EPOLLIN);
}

static void pause_accepting(struct net_dns *dns)
{
	loop_watch_set(dns->tcp_watch, 0);
	loop_timer_set(dns->again, PAUSE_MS);
}

static void stream_open(struct net_dns *dns, struct stream *stream, int fd)
{
	struct error ignored;
	stream->fd = fd;
	stream->watch = loop_watch(dns->loop, fd, EPOLLIN, stream_readable, stream, &ignored);
	stream->deadline = loop_timer_new(dns->loop, stream_expired, stream);
	loop_timer_set(stream->deadline, STREAM_MS);
	if (!stream->watch)
		stream_close(stream);
}

static void accept_stream(void *data, uint32_t events)
{
	struct net_dns *dns = data;
	struct sockaddr_in from = { 0 };
	socklen_t size = sizeof(from);
	struct stream *stream = stream_free(dns);
	(void)events;
	if (!stream) { /* until one ends */
		loop_watch_set(dns->tcp_watch, 0);
		return;
	}
	auto_close int fd =
		accept4(dns->tcp, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			pause_accepting(dns);
		return;
	}
	if (is_local(dns, &from))
		stream_open(dns, stream, take_fd(&fd));
}

/* --- both --- */

static int bound_socket(int type, const struct sockaddr_in *at, struct error *err)
{
	const int on = 1;
	auto_close int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_sys(err, "cannot make a socket");
	/* Connections of a daemon before us may be in TIME_WAIT. For UDP it would mean to share. */
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, STREAMS_MAX) < 0)) {
		char text[INET_ADDRSTRLEN];
		return error_sys(err, "cannot answer for names in ." NET_DNS_ZONE " at %s:%u",
				 inet_ntop(AF_INET, &at->sin_addr, text, sizeof(text)),
				 ntohs(at->sin_port));
	}
	return take_fd(&fd);
}

static int open_both(struct net_dns *dns, const struct sockaddr_in *at, struct error *err)
{
	dns->udp = bound_socket(SOCK_DGRAM, at, err);
	if (dns->udp < 0)
		return -1;
	dns->tcp = bound_socket(SOCK_STREAM, at, err);
	if (dns->tcp < 0)
		return -1;
	dns->udp_watch = loop_watch(dns->loop, dns->udp, EPOLLIN, answer_datagrams, dns, err);
	if (!dns->udp_watch)
		return -1;
	dns->tcp_watch = loop_watch(dns->loop, dns->tcp, EPOLLIN, accept_stream, dns, err);
	return dns->tcp_watch ? 0 : -1;
}

struct net_dns *net_dns_open(struct loop *loop, const char *address, uint16_t port,
			     const struct net_dns_zone *zone, struct error *err)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	if (inet_pton(AF_INET, address, &at.sin_addr) != 1) {
		error_set(err, ERROR_INVALID, "'%s' is no address", address);
		return NULL;
	}
	struct net_dns *dns = xcalloc(1, sizeof(*dns));
	*dns = (struct net_dns){ .loop = loop, .zone = zone, .udp = -1, .tcp = -1 };
	dns->address = at.sin_addr;
	dns->again = loop_timer_new(loop, accept_again, dns);
	for (size_t i = 0; i < STREAMS_MAX; i++)
		dns->streams[i] = (struct stream){ .dns = dns, .fd = -1 };
	if (open_both(dns, &at, err) == 0)
		return dns;
	net_dns_close(dns);
	return NULL;
}

void net_dns_close(struct net_dns *dns)
{
	if (!dns)
		return;
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (dns->streams[i].fd >= 0)
			stream_close(&dns->streams[i]);
	loop_unwatch(dns->udp_watch);
	loop_unwatch(dns->tcp_watch);
	loop_timer_free(dns->again);
	cleanup_close(&dns->udp);
	cleanup_close(&dns->tcp);
	free(dns);
}
