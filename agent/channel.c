#include "agent/channel.h"
#include "agent/vsock.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define READ_CHUNK   16384
#define PORTS_FOLDER "/sys/class/virtio-ports"

void channel_init(struct channel *channel, int fd)
{
	*channel = (struct channel){ .fd = fd, .listener = -1, .in = BUF_INIT, .out = BUF_INIT };
}

void channel_init_listener(struct channel *channel, int listener)
{
	channel_init(channel, -1);
	channel->listener = listener;
}

void channel_clear(struct channel *channel)
{
	cleanup_close(&channel->fd);
	cleanup_close(&channel->listener);
	buf_clear(&channel->in);
	buf_clear(&channel->out);
	channel_init(channel, -1);
}

static bool port_has_name(const char *port, const char *name)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT;
	auto_free char *path = xasprintf(PORTS_FOLDER "/%s/name", port);
	if (fs_read(AT_FDCWD, path, 256, &text, &ignored) < 0)
		return false;
	size_t len = strcspn(text.data, "\n");
	return len == strlen(name) && !memcmp(text.data, name, len);
}

/* Opens the device; SIGIO is asked for before anything is missed. */
static int open_device(const char *port, struct error *err)
{
	auto_free char *path = xasprintf("/dev/%s", port);
	auto_close int fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, "cannot open '%s'", path);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETOWN, getpid()) < 0 ||
	    fcntl(fd, F_SETFL, flags | O_ASYNC) < 0)
		return error_sys(err, "cannot ask '%s' for signals", path);
	return take_fd(&fd);
}

int channel_open_port(const char *name, struct error *err)
{
	auto_dir DIR *dir = opendir(PORTS_FOLDER);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (entry->d_name[0] != '.' && port_has_name(entry->d_name, name))
			return open_device(entry->d_name, err);
	return error_set(err, ERROR_NOT_FOUND, "no virtio port is named '%s'", name);
}

static void lose_host(struct channel *channel)
{
	channel->connected = false;
	channel->skipping = false;
	channel->stale = true;
	buf_clear(&channel->in);
	buf_clear(&channel->out);
	if (channel->listener >= 0 && channel->fd >= 0)
		close(take_fd(&channel->fd));
}

/* A connection of its own carries nothing of the one before. */
static void take_next(struct channel *channel)
{
	channel->fd = vsock_accept(channel->listener);
	channel->stale = channel->used = false;
}

bool channel_look(struct channel *channel)
{
	if (channel->fd < 0 && channel->listener >= 0)
		take_next(channel);
	if (channel->fd < 0)
		return false;
	struct pollfd look = { .fd = channel->fd, .events = POLLIN };
	if (poll(&look, 1, 0) < 0)
		return channel->connected;
	/* What a connection still holds when its other end is gone is read first. */
	int over = channel->listener >= 0 && (look.revents & POLLIN) ? 0 : POLLHUP;
	bool gone = look.revents & (over | POLLERR | POLLNVAL);
	if (gone && (channel->connected || channel->listener >= 0))
		lose_host(channel);
	channel->connected = !gone;
	return channel->connected;
}

int channel_descriptor(const struct channel *channel)
{
	return channel->fd < 0 ? channel->listener : channel->fd;
}

short channel_events(const struct channel *channel)
{
	if (channel->fd < 0 && channel->listener >= 0)
		return POLLIN;
	if (channel->fd < 0 || !channel->connected)
		return 0;
	int events = channel->out.len < CHANNEL_OUT_HIGH ? POLLIN : 0;
	return (short)(events | (channel->out.len ? POLLOUT : 0));
}

/* One whole line, or the end of one that was too long. */
static void hand_out(struct channel *channel, const char *line, size_t len,
		     void (*on_line)(void *arg, const char *line, size_t len), void *arg)
{
	if (channel->skipping)
		channel->skipping = false;
	else if (len > CHANNEL_LINE_MAX)
		on_line(arg, NULL, 0);
	else if (len)
		on_line(arg, line, len);
}

/* Hands out the whole lines of channel->in and keeps the rest, which is all of them from the
 * moment that too many replies wait. */
static void split_lines(struct channel *channel,
			void (*on_line)(void *arg, const char *line, size_t len), void *arg)
{
	/* A reply may find that the host has gone, which empties channel->in. */
	auto_buf struct buf in = channel->in;
	channel->in = BUF_INIT;
	size_t start = 0;
	char *newline;
	while (channel->out.len < CHANNEL_OUT_HIGH &&
	       (newline = memchr(in.data + start, '\n', in.len - start))) {
		char *line = in.data + start;
		*newline = '\0';
		start += (size_t)(newline - line) + 1;
		hand_out(channel, line, (size_t)(newline - line), on_line, arg);
		if (!channel->connected)
			return;
	}
	buf_drop(&in, start);
	if (in.len > CHANNEL_LINE_MAX && !memchr(in.data, '\n', in.len)) {
		if (!channel->skipping)
			on_line(arg, NULL, 0);
		if (!channel->connected)
			return;
		channel->skipping = true;
		buf_reset(&in);
	}
	channel->in = in;
	in = BUF_INIT;
}

void channel_read(struct channel *channel, void (*on_line)(void *arg, const char *line, size_t len),
		  void *arg)
{
	while (channel->fd >= 0 && channel->connected) {
		split_lines(channel, on_line, arg);
		if (!channel->connected || channel->out.len >= CHANNEL_OUT_HIGH)
			return;
		char *to = buf_grow(&channel->in, READ_CHUNK);
		ssize_t got = read(channel->fd, to, READ_CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			lose_host(channel);
			return;
		}
		buf_grown(&channel->in, (size_t)got);
	}
}

void channel_begin(struct channel *channel)
{
	channel->stale = false;
	buf_reset(&channel->out);
	/* Ends what may be left of a line that a host before has not read. */
	if (channel->used)
		buf_add_char(&channel->out, '\n');
}

bool channel_send(struct channel *channel, const cJSON *value)
{
	if (channel->fd < 0 || !channel->connected)
		return false;
	auto_free char *text = json_print(value);
	if (channel->out.len + strlen(text) + 1 > CHANNEL_OUT_MAX)
		return false;
	buf_add(&channel->out, text);
	buf_add_char(&channel->out, '\n');
	channel_flush(channel);
	return true;
}

void channel_flush(struct channel *channel)
{
	while (channel->fd >= 0 && channel->connected && channel->out.len) {
		ssize_t put = write(channel->fd, channel->out.data, channel->out.len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return;
		if (put <= 0) {
			lose_host(channel);
			return;
		}
		channel->used = true;
		buf_drop(&channel->out, (size_t)put);
	}
}
