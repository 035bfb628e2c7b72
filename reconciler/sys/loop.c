/* Theory of operation
 *
 * One epoll instance. Each watch is a heap object whose address is the event's cookie. A callback
 * may unwatch any watch, and its event may already be in the batch that epoll_wait() returned, so
 * loop_unwatch() only takes the descriptor out of epoll, marks the watch dead and moves it to a
 * list that is freed when the batch is through. A paused watch is taken out of epoll as well: with
 * an event mask of 0 epoll would still report a hang-up, over and over.
 *
 * Timers are a binary heap ordered by (deadline, order of setting); its top becomes the timeout of
 * epoll_wait(), and without timers there is none: an idle loop never wakes. A timer leaves the heap
 * before it is called, so it may free or set itself; those set during a round wait for the next
 * one, so that a timer of 0 ms cannot starve the descriptors.
 *
 * loop_post() is the one door for other threads: a queue under a mutex, and an eventfd that is
 * written when the queue was empty. Work posted while the queue is being run waits for the next
 * round. The eventfd and the signalfd are ordinary watches. */
#include "sys/loop.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/vec.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>

#define NS_PER_MS UINT64_C(1000000)
#define BATCH	  64

struct loop_watch {
	struct loop *loop;
	struct loop_watch *prev, *next;
	int fd;
	uint32_t events; /* 0: not in epoll */
	bool dead;
	loop_fd_fn fn;
	void *data;
};

struct loop_timer {
	struct loop *loop;
	struct loop_timer *prev, *next;
	uint64_t deadline_ns, order;
	size_t heap_at; /* 1-based; 0: not set */
	loop_fn fn;
	void *data;
};

struct posted {
	loop_fn fn;
	void *data;
};
DEFINE_VEC(posted_vec, struct posted)
DEFINE_VEC(timer_heap, struct loop_timer *)

struct loop {
	int epoll_fd, post_fd, signal_fd;
	bool quit, running;
	struct loop_watch *watches, *dead;
	struct loop_timer *timers;
	struct timer_heap heap;
	uint64_t timer_order;
	pthread_mutex_t post_lock; /* guards posts */
	struct posted_vec posts;
	struct loop_watch *post_watch, *signal_watch;
	loop_fn before_sleep;
	void *before_sleep_data;
	void (*signal_fn)(void *data, int signal);
	void *signal_data;
};

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

uint64_t clock_monotonic_ms(void)
{
	return now_ns() / NS_PER_MS;
}

int64_t clock_wall_ms(void)
{
	struct timespec ts;
	int64_t jump = 0;
	clock_gettime(CLOCK_REALTIME, &ts);
	(void)FAULT("clock", &jump); /* stays 0 without one */
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / (long)NS_PER_MS + jump;
}

/* --- watches --- */

struct loop_watch *loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *data,
			      struct error *err)
{
	struct loop_watch *watch = xcalloc(1, sizeof(*watch));
	*watch = (struct loop_watch){
		.loop = loop, .fd = fd, .events = events, .fn = fn, .data = data
	};
	struct epoll_event event = { .events = events, .data.ptr = watch };
	if (events && epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		error_sys(err, "cannot watch descriptor %d", fd);
		free(watch);
		return NULL;
	}
	watch->next = loop->watches;
	if (watch->next)
		watch->next->prev = watch;
	loop->watches = watch;
	return watch;
}

void loop_watch_set(struct loop_watch *watch, uint32_t events)
{
	if (watch->dead)
		BUG("watch of descriptor %d is used after loop_unwatch()", watch->fd);
	if (watch->events == events)
		return;
	int op = !watch->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
	struct epoll_event event = { .events = events, .data.ptr = watch };
	if (epoll_ctl(watch->loop->epoll_fd, op, watch->fd, &event) < 0)
		BUG("cannot change the watch of descriptor %d: %s", watch->fd, strerror(errno));
	watch->events = events;
}

/* Closing a descriptor first leaves epoll with a cookie to freed memory whenever a copy of it is
 * open elsewhere: caught here rather than there. */
void loop_unwatch(struct loop_watch *watch)
{
	if (!watch)
		return;
	loop_watch_set(watch, 0);
	struct loop *loop = watch->loop;
	if (watch->prev)
		watch->prev->next = watch->next;
	else
		loop->watches = watch->next;
	if (watch->next)
		watch->next->prev = watch->prev;
	watch->dead = true;
	watch->next = loop->dead;
	loop->dead = watch;
}

static void watches_free(struct loop_watch **list)
{
	while (*list) {
		struct loop_watch *watch = *list;
		*list = watch->next;
		free(watch);
	}
}

/* --- timers --- */

static bool timer_is_before(const struct loop_timer *a, const struct loop_timer *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns;
	return a->order < b->order;
}

static void heap_place(struct timer_heap *heap, size_t at, struct loop_timer *timer)
{
	heap->at[at] = timer;
	timer->heap_at = at + 1;
}

static void heap_sift(struct timer_heap *heap, size_t at, struct loop_timer *timer)
{
	for (; at > 0 && timer_is_before(timer, heap->at[(at - 1) / 2]); at = (at - 1) / 2)
		heap_place(heap, at, heap->at[(at - 1) / 2]);
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= heap->count)
			break;
		if (child + 1 < heap->count &&
		    timer_is_before(heap->at[child + 1], heap->at[child]))
			child++;
		if (!timer_is_before(heap->at[child], timer))
			break;
		heap_place(heap, at, heap->at[child]);
		at = child;
	}
	heap_place(heap, at, timer);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *data)
{
	struct loop_timer *timer = xcalloc(1, sizeof(*timer));
	*timer = (struct loop_timer){ .loop = loop, .fn = fn, .data = data, .next = loop->timers };
	if (timer->next)
		timer->next->prev = timer;
	loop->timers = timer;
	return timer;
}

void loop_timer_set(struct loop_timer *timer, uint64_t in_ms)
{
	struct timer_heap *heap = &timer->loop->heap;
	uint64_t in_ns;
	if (__builtin_mul_overflow(in_ms, NS_PER_MS, &in_ns) ||
	    __builtin_add_overflow(now_ns(), in_ns, &timer->deadline_ns))
		timer->deadline_ns = UINT64_MAX;
	timer->order = timer->loop->timer_order++;
	if (!timer->heap_at) {
		timer_heap_push(heap, timer);
		timer->heap_at = heap->count;
	}
	heap_sift(heap, timer->heap_at - 1, timer);
}

void loop_timer_stop(struct loop_timer *timer)
{
	if (!timer->heap_at)
		return;
	struct timer_heap *heap = &timer->loop->heap;
	size_t hole = timer->heap_at - 1;
	timer->heap_at = 0;
	struct loop_timer *last = heap->at[--heap->count];
	if (last != timer)
		heap_sift(heap, hole, last);
}

bool loop_timer_is_set(const struct loop_timer *timer)
{
	return timer->heap_at != 0;
}

void loop_timer_free(struct loop_timer *timer)
{
	if (!timer)
		return;
	loop_timer_stop(timer);
	if (timer->prev)
		timer->prev->next = timer->next;
	else
		timer->loop->timers = timer->next;
	if (timer->next)
		timer->next->prev = timer->prev;
	free(timer);
}

static void run_timers(struct loop *loop)
{
	uint64_t now = now_ns();
	while (loop->heap.count && !loop->quit) {
		struct loop_timer *timer = loop->heap.at[0];
		if (timer->deadline_ns > now)
			return;
		loop_timer_stop(timer);
		timer->fn(timer->data);
	}
}

/* Rounded up: a timer never fires early, and never spins through its last millisecond. */
static int sleep_ms(const struct loop *loop)
{
	if (!loop->heap.count)
		return -1;
	uint64_t now = now_ns(), deadline = loop->heap.at[0]->deadline_ns;
	if (deadline <= now)
		return 0;
	uint64_t ms = (deadline - now - 1) / NS_PER_MS + 1;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* --- posted work and signals --- */

static void run_posts(void *data, uint32_t events)
{
	(void)events;
	struct loop *loop = data;
	uint64_t count;
	while (read(loop->post_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&loop->post_lock);
	struct posted_vec posts = loop->posts;
	loop->posts = (struct posted_vec){ 0 };
	pthread_mutex_unlock(&loop->post_lock);
	for (size_t i = 0; i < posts.count; i++)
		posts.at[i].fn(posts.at[i].data);
	posted_vec_clear(&posts);
}

void loop_post(struct loop *loop, loop_fn fn, void *data)
{
	pthread_mutex_lock(&loop->post_lock);
	bool wake = !loop->posts.count;
	posted_vec_push(&loop->posts, (struct posted){ fn, data });
	/* Under the lock: afterwards the loop may be gone, its last job done. */
	static const uint64_t one = 1;
	while (wake && write(loop->post_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_mutex_unlock(&loop->post_lock);
}

void loop_before_sleep(struct loop *loop, loop_fn fn, void *data)
{
	loop->before_sleep = fn;
	loop->before_sleep_data = data;
}

static void run_signals(void *data, uint32_t events)
{
	(void)events;
	struct loop *loop = data;
	struct signalfd_siginfo info;
	while (loop->signal_fd >= 0 && read(loop->signal_fd, &info, sizeof(info)) == sizeof(info))
		loop->signal_fn(loop->signal_data, (int)info.ssi_signo);
}

int loop_signals(struct loop *loop, const int *signals, unsigned count,
		 void (*fn)(void *data, int signal), void *data, struct error *err)
{
	if (loop->signal_watch)
		BUG("loop_signals() is called once");
	sigset_t set;
	sigemptyset(&set);
	for (unsigned i = 0; i < count; i++)
		sigaddset(&set, signals[i]);
	auto_close int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return error_sys(err, "cannot receive signals");
	loop->signal_fn = fn;
	loop->signal_data = data;
	loop->signal_watch = loop_watch(loop, fd, EPOLLIN, run_signals, loop, err);
	if (!loop->signal_watch)
		return -1;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	loop->signal_fd = take_fd(&fd);
	return 0;
}

/* --- the loop --- */

struct loop *loop_new(struct error *err)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));
	pthread_mutex_init(&loop->post_lock, NULL);
	loop->signal_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->post_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->post_fd < 0)
		error_sys(err, "cannot make an event loop");
	else
		loop->post_watch = loop_watch(loop, loop->post_fd, EPOLLIN, run_posts, loop, err);
	if (loop->post_watch)
		return loop;
	loop_free(loop);
	return NULL;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->timers)
		loop_timer_free(loop->timers);
	watches_free(&loop->watches);
	watches_free(&loop->dead);
	timer_heap_clear(&loop->heap);
	posted_vec_clear(&loop->posts);
	pthread_mutex_destroy(&loop->post_lock);
	cleanup_close(&loop->epoll_fd);
	cleanup_close(&loop->post_fd);
	cleanup_close(&loop->signal_fd);
	free(loop);
}

static void run_watches(const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		struct loop_watch *watch = events[i].data.ptr;
		/* A callback before this one may have ended, paused or narrowed the watch. */
		uint32_t ready = events[i].events & (watch->events | EPOLLERR | EPOLLHUP);
		if (!watch->dead && watch->events && ready)
			watch->fn(watch->data, ready);
	}
}

void loop_run(struct loop *loop)
{
	if (loop->running)
		BUG("loop_run() within loop_run()");
	loop->running = true;
	while (!loop->quit) {
		if (loop->before_sleep)
			loop->before_sleep(loop->before_sleep_data);
		if (loop->quit)
			break;
		struct epoll_event events[BATCH];
		int count = epoll_wait(loop->epoll_fd, events, BATCH, sleep_ms(loop));
		if (count < 0 && errno != EINTR)
			BUG("epoll_wait: %s", strerror(errno));
		run_watches(events, count);
		run_timers(loop);
		watches_free(&loop->dead);
	}
	watches_free(&loop->dead);
	loop->running = false;
	loop->quit = false;
}

void loop_quit(struct loop *loop)
{
	loop->quit = true;
}
