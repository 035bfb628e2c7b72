/* RPC connections: peers of our own user, or, on the machine's socket, of its group; bounded in
 * number, in what they may send and in what may wait for them. */
#include "daemon/bangerd.h"
#include "base/log.h"
#include "sys/unix.h"

#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define CONNS_MAX  128
#define OUT_FULL   (1u << 20)  /* so much unread, and nothing more is done for a client */
#define OUT_MAX	   (16u << 20) /* ... who is cut off here, if what it waits for brings more */
#define ACCEPT_MS  200	       /* pause when no more descriptors can be had */
#define PARKED_MAX 64	       /* of one connection */

struct parked {
	struct parked *next;
	int64_t id;
	cJSON *params;
	park_fn answer;
	uint64_t deadline_ms;
};

struct later {
	struct later *next;
	struct conn *conn; /* NULL: the client has gone */
	int64_t id;
};

struct conn {
	struct bangerd *d;
	struct conn *next;
	int fd;
	pid_t pid;
	uid_t uid;
	char user[64]; /* its name */
	struct loop_watch *watch;
	struct loop_timer *timer;
	struct rpc_frames frames;
	struct buf out;
	int fds[RPC_FDS_MAX];
	size_t fd_count;
	struct parked *parked;
	size_t parked_count;
	struct later *laters;
	bool closing; /* set in the middle of its own callback: closed at the end of it */
};

pid_t conn_peer(const struct conn *conn)
{
	return conn->pid;
}

struct actor conn_actor(const struct conn *conn)
{
	return (struct actor){ .uid = conn->uid, .who = conn->user };
}

static bool is_trusted(uid_t uid)
{
	return uid == 0 || uid == getuid();
}

bool conn_is_trusted(const struct conn *conn)
{
	return is_trusted(conn->uid);
}

int conn_check_trusted(const struct conn *conn, const char *what, struct error *err)
{
	if (conn_is_trusted(conn))
		return 0;
	return error_set(err, ERROR_CONFLICT, "%s is for root alone in system mode: use sudo",
			 what);
}

static void parked_free(struct parked *parked)
{
	cJSON_Delete(parked->params);
	free(parked);
}

static void conn_close(struct conn *conn)
{
	struct conn **at = &conn->d->conns;
	while (*at != conn)
		at = &(*at)->next;
	*at = conn->next;
	leases_end(conn->d, conn);
	loop_unwatch(conn->watch);
	loop_timer_free(conn->timer);
	for (size_t i = 0; i < conn->fd_count; i++)
		close(conn->fds[i]);
	while (conn->parked) {
		struct parked *next = conn->parked->next;
		parked_free(conn->parked);
		conn->parked = next;
	}
	for (struct later *later = conn->laters; later; later = later->next)
		later->conn = NULL;
	close(conn->fd);
	buf_clear(&conn->frames.in);
	buf_clear(&conn->out);
	free(conn);
}

/* It asks and does not read the answers: what it asks more stays in its own socket. */
static bool is_full(const struct conn *conn)
{
	return conn->out.len >= OUT_FULL;
}

static void conn_flush(struct conn *conn)
{
	while (conn->out.len) {
		ssize_t sent =
			send(conn->fd, conn->out.data, conn->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN)
			conn->closing = true;
		if (sent <= 0)
			break;
		buf_drop(&conn->out, (size_t)sent);
	}
	if (conn->out.len > OUT_MAX)
		conn->closing = true;
	uint32_t out = conn->out.len ? EPOLLOUT : 0;
	loop_watch_set(conn->watch, is_full(conn) ? out : EPOLLIN | out);
}

/* err NULL: the result, which is taken. */
static void conn_answer(struct conn *conn, int64_t id, cJSON *result, const struct error *err)
{
	if (err)
		rpc_reply_error(&conn->out, id, err);
	else
		rpc_reply(&conn->out, id, result);
	conn_flush(conn);
}

static void parked_due(void *data);

static void park_timer(struct conn *conn)
{
	uint64_t now = clock_monotonic_ms(), first = UINT64_MAX;
	for (struct parked *p = conn->parked; p; p = p->next)
		if (p->deadline_ms < first)
			first = p->deadline_ms;
	if (first == UINT64_MAX) {
		if (conn->timer)
			loop_timer_stop(conn->timer);
		return;
	}
	if (!conn->timer)
		conn->timer = loop_timer_new(conn->d->loop, parked_due, conn);
	loop_timer_set(conn->timer, first > now ? first - now : 0);
}

/* Answers whoever can be answered. */
static void answer_parked(struct conn *conn)
{
	uint64_t now = clock_monotonic_ms();
	for (struct parked **at = &conn->parked; *at;) {
		struct parked *parked = *at;
		cJSON *answer = parked->answer(conn->d, parked->params, parked->deadline_ms <= now);
		if (!answer) {
			at = &parked->next;
			continue;
		}
		*at = parked->next;
		conn->parked_count--;
		conn_answer(conn, parked->id, answer, NULL);
		parked_free(parked);
	}
	park_timer(conn);
}

static void parked_due(void *data)
{
	answer_parked(data);
}

int conn_park(struct request *request, uint64_t timeout_ms, park_fn answer)
{
	struct conn *conn = request->conn;
	if (conn->parked_count >= PARKED_MAX) {
		conn->closing = true;
		return 1;
	}
	struct parked *parked = xcalloc(1, sizeof(*parked));
	parked->id = request->id;
	parked->params = cJSON_Duplicate(request->params, true);
	parked->answer = answer;
	parked->deadline_ms = clock_monotonic_ms() + timeout_ms;
	parked->next = conn->parked;
	conn->parked = parked;
	conn->parked_count++;
	park_timer(conn);
	return 1;
}

struct later *conn_later(struct request *request)
{
	struct conn *conn = request->conn;
	struct later *later = xcalloc(1, sizeof(*later));
	*later = (struct later){ .next = conn->laters, .conn = conn, .id = request->id };
	conn->laters = later;
	if (++conn->parked_count > PARKED_MAX)
		conn->closing = true;
	return later;
}

static void later_end(struct later *later, cJSON *result_taken, const struct error *failure)
{
	struct conn *conn = later->conn;
	if (conn) {
		struct later **at = &conn->laters;
		while (*at != later)
			at = &(*at)->next;
		*at = later->next;
		conn->parked_count--;
		conn_answer(conn, later->id, result_taken, failure);
	} else {
		cJSON_Delete(result_taken);
	}
	free(later);
}

void later_answer(struct later *later, cJSON *result_taken)
{
	later_end(later, result_taken, NULL);
}

void later_refuse(struct later *later, const struct error *err)
{
	later_end(later, NULL, err);
}

static void ops_moved(void *data)
{
	struct bangerd *d = data;
	d->ops_moved = false;
	for (struct conn *conn = d->conns; conn; conn = conn->next)
		if (conn->parked)
			answer_parked(conn);
}

/* Many operations may move in one go: waiters are answered once, after it. */
void conns_op_changed(struct bangerd *d)
{
	if (d->ops_moved)
		return;
	d->ops_moved = true;
	loop_post(d->loop, ops_moved, d);
}

static void handle(struct conn *conn, const cJSON *message)
{
	struct request request = {
		.d = conn->d,
		.conn = conn,
		.id = json_int(message, "id", 0),
		.method = json_str(message, "method", ""),
		.params = json_get(message, "params"),
		.fds = conn->fds,
		.fd_count = conn->fd_count,
	};
	struct error err = { 0 };
	cJSON *result = NULL;
	rpc_handler handler = rpc_handler_find(request.method);
	int outcome;
	if (!handler)
		outcome = error_set(&err, ERROR_INVALID,
				    "no method '%.60s': are banger and bangerd of one version?",
				    request.method);
	else if (rpc_is_for_root(request.method) &&
		 conn_check_trusted(conn, request.method, &err) < 0)
		outcome = -1;
	else
		outcome = handler(&request, &result, &err);
	for (size_t i = 0; i < conn->fd_count; i++)
		close(conn->fds[i]);
	conn->fd_count = 0;
	if (outcome <= 0)
		conn_answer(conn, request.id, result, outcome < 0 ? &err : NULL);
}

/* Whole frames, until there is none or the answers pile up. */
static void handle_frames(struct conn *conn)
{
	struct error err;
	cJSON *message;
	int have = 1;
	while (!conn->closing && !is_full(conn) &&
	       (have = rpc_frames_next(&conn->frames, &message, &err)) == 1) {
		handle(conn, message);
		cJSON_Delete(message);
	}
	if (have >= 0)
		return;
	log_warn(NULL, "a client sent rubbish, hanging up: %s", err.text);
	conn->closing = true;
}

static void conn_ready(void *data, uint32_t events)
{
	struct conn *conn = data;
	struct error err;
	int ended = 0;
	if (events & EPOLLOUT)
		conn_flush(conn);
	/* Gone for good; what it asked before is done, unless it never read. */
	if ((events & (EPOLLHUP | EPOLLERR)) && (is_full(conn) || !(events & EPOLLIN)))
		conn->closing = true;
	if (!conn->closing && !is_full(conn)) {
		if (events & EPOLLIN)
			ended = rpc_receive(conn->fd, &conn->frames, conn->fds, &conn->fd_count,
					    &err);
		handle_frames(conn);
	}
	if (ended || conn->closing)
		conn_close(conn);
}

/* Is there room for one more? The last quarter is kept for those who look after the machine. */
static bool has_room(const struct bangerd *d, uid_t uid)
{
	size_t count = 0;
	for (const struct conn *conn = d->conns; conn; conn = conn->next)
		count++;
	return count < (is_trusted(uid) ? CONNS_MAX : CONNS_MAX * 3 / 4);
}

static void accept_again(void *data)
{
	struct bangerd *d = data;
	loop_watch_set(d->listen_watch, EPOLLIN);
}

/* The client stays in the queue, and without a pause would be reported to us over and over. */
static void accept_failed(struct bangerd *d)
{
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return;
	log_warn(NULL, "cannot take a client: %s", strerror(errno));
	loop_watch_set(d->listen_watch, 0);
	if (!d->accept_again)
		d->accept_again = loop_timer_new(d->loop, accept_again, d);
	loop_timer_set(d->accept_again, ACCEPT_MS);
}

/* Of the machine's users names are asked for as they come: few, and known by then. */
static void learn_name(struct conn *conn)
{
	struct passwd entry, *found = NULL;
	char room[4096];
	if (conn_is_trusted(conn))
		str_copy(conn->user, sizeof(conn->user), conn->uid ? conn->d->user : "root");
	else if (getpwuid_r(conn->uid, &entry, room, sizeof(room), &found) == 0 && found)
		snprintf(conn->user, sizeof(conn->user), "%.63s", found->pw_name);
	else
		snprintf(conn->user, sizeof(conn->user), "uid %u", (unsigned)conn->uid);
}

static void accept_one(void *data, uint32_t events)
{
	struct bangerd *d = data;
	struct error err;
	pid_t pid;
	uid_t uid;
	(void)events;
	auto_close int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		accept_failed(d);
		return;
	}
	if (unix_peer(fd, &pid, &uid, &err) < 0 ||
	    (!is_trusted(uid) && !(d->group && unix_peer_in_group(fd, d->group)))) {
		log_warn(NULL, "refused a client of another user");
		return;
	}
	if (!has_room(d, uid)) {
		log_warn(NULL, "refused a client: too many are connected (at most %d)", CONNS_MAX);
		return;
	}
	struct conn *conn = xcalloc(1, sizeof(*conn));
	conn->d = d;
	conn->pid = pid;
	conn->uid = uid;
	learn_name(conn);
	conn->frames.in = conn->out = BUF_INIT;
	conn->fd = take_fd(&fd);
	conn->next = d->conns;
	d->conns = conn;
	conn->watch = loop_watch(d->loop, conn->fd, EPOLLIN, conn_ready, conn, &err);
	if (!conn->watch)
		conn_close(conn);
}

int conns_listen(struct bangerd *d, struct error *err)
{
	d->listen_fd = unix_listen(d->runtime_fd, RPC_SOCKET, err);
	if (d->listen_fd < 0)
		return -1;
	if (d->group &&
	    (fchownat(d->runtime_fd, RPC_SOCKET, 0, d->group, AT_SYMLINK_NOFOLLOW) < 0 ||
	     fchmodat(d->runtime_fd, RPC_SOCKET, 0660, 0) < 0))
		return error_sys(err,
				 "cannot give '%s/" RPC_SOCKET "' to group '" MACHINE_GROUP "'",
				 d->paths.runtime);
	d->listen_watch = loop_watch(d->loop, d->listen_fd, EPOLLIN, accept_one, d, err);
	return d->listen_watch ? 0 : -1;
}

void conns_free(struct bangerd *d)
{
	while (d->conns)
		conn_close(d->conns);
	loop_timer_free(d->accept_again);
	loop_unwatch(d->listen_watch);
	/* Whoever may not connect to it learns that nobody is there. The next daemon cannot have
	 * made its own yet: we hold the lock. */
	if (d->listen_fd >= 0)
		unlinkat(d->runtime_fd, RPC_SOCKET, 0);
	cleanup_close(&d->listen_fd);
	d->listen_fd = -1;
}
