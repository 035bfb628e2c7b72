/* agent/channel.h - the agent's line to the host: newline-delimited JSON over a virtio-serial port,
 * or over the connections of a listening socket, one at a time (agent/vsock.h).
 *
 * Theory of operation. The port is a character device without accept(): the host comes and goes,
 * and all that shows is POLLHUP while it is away, for ever, with reads that return 0. So the port
 * is polled only while the host is there; while it is away the driver's SIGIO (sent when the host
 * opens or closes) and a slow timer make us look again: an idle guest spends nothing.
 *
 * Nothing here blocks and nothing grows: a line longer than LINE_MAX is dropped up to its newline
 * and answered with an error; while CHANNEL_OUT_HIGH bytes wait for the host no more requests are
 * read; pushed events beyond CHANNEL_OUT_MAX are dropped (the state in `hello` has them all);
 * what waits for a host that has gone is dropped with it.
 *
 * Half a request of a host that has gone, and half a reply to it, may still be under way when the
 * next one comes. So every connection begins with `hello`: what comes before it is passed over,
 * and its reply starts on a line of its own. */
#ifndef AGENT_CHANNEL_H
#define AGENT_CHANNEL_H

#include "base/buf.h"
#include "base/json.h"

#include <stdbool.h>

#define CHANNEL_PORT_NAME "org.banger.agent.0"
#define CHANNEL_LINE_MAX  ((size_t)65536)
#define CHANNEL_OUT_HIGH  ((size_t)65536)
#define CHANNEL_OUT_MAX	  ((size_t)262144)

struct channel {
	int fd;	      /* owned; -1: no port, or nobody has connected */
	int listener; /* owned; -1: fd is a port, which stays when the host goes */
	bool connected;
	bool skipping; /* inside of a line that is too long */
	bool stale;    /* a host has gone and the next has not said hello: not its requests */
	bool used;     /* something has been written already */
	struct buf in, out;
};

/* Takes the descriptor, which must not block; -1 is a channel that drops everything. */
void channel_init(struct channel *channel, int fd);
/* The same for a listener, which must not block either. */
void channel_init_listener(struct channel *channel, int listener);
void channel_clear(struct channel *channel);

/* Opens the port with that name: /sys/class/virtio-ports, then /dev. SIGIO goes to this process.
 * Fails with ERROR_NOT_FOUND while there is none. */
int channel_open_port(const char *name, struct error *err);

/* Looks whether the host is there; drops what was under way when it has gone. */
bool channel_look(struct channel *channel);
/* What to poll for now; 0 while the host is away (do not poll then). */
short channel_events(const struct channel *channel);
/* The descriptor to poll: the listener's while nobody has connected. */
int channel_descriptor(const struct channel *channel);

/* Reads what is there and calls on_line for each whole line, without its newline, NUL-terminated,
 * never an empty one. line is NULL for one that was too long. */
void channel_read(struct channel *channel, void (*on_line)(void *arg, const char *line, size_t len),
		  void *arg);

/* The host has said hello: forgets what was for the one before. */
void channel_begin(struct channel *channel);

/* Queues one JSON value as a line and writes what the host takes now. False: dropped. */
bool channel_send(struct channel *channel, const cJSON *value);
void channel_flush(struct channel *channel);

#endif
