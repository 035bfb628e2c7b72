/* sys/loop.h - the one epoll loop: descriptors, timers, signals, posted work.
 *
 * Single-threaded; only loop_post() may be called from other threads. Sleeps without a wake-up when
 * no timer is set. Callbacks may unwatch and free anything, themselves included. */
#ifndef SYS_LOOP_H
#define SYS_LOOP_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch;
struct loop_timer;
typedef void (*loop_fd_fn)(void *data, uint32_t epoll_events);
typedef void (*loop_fn)(void *data);

struct loop *loop_new(struct error *err);
void loop_free(struct loop *loop); /* watches and timers with it; descriptors stay the owners' */

/* events: EPOLLIN|EPOLLOUT…, level-triggered. The descriptor stays the caller's, who unwatches
 * before closing it. NULL on failure. */
struct loop_watch *loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *data,
			      struct error *err);
void loop_watch_set(struct loop_watch *watch, uint32_t events); /* 0: paused */
void loop_unwatch(struct loop_watch *watch);			/* NULL is fine */

/* One-shot timers on CLOCK_MONOTONIC; made unset. Setting again replaces. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *data);
void loop_timer_set(struct loop_timer *timer, uint64_t in_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_is_set(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); /* NULL is fine */

/* Runs fn(data) in the loop thread; from any thread. What has not run when the loop is freed never
 * does. */
void loop_post(struct loop *loop, loop_fn fn, void *data);
/* Before each sleep: the place for "whatever is dirty now". One function. */
void loop_before_sleep(struct loop *loop, loop_fn fn, void *data);
/* Signals arrive as calls (signalfd; blocks them in this and later threads). Once per loop. */
int loop_signals(struct loop *loop, const int *signals, unsigned count,
		 void (*fn)(void *data, int signal), void *data, struct error *err);

void loop_run(struct loop *loop); /* until loop_quit(), which may come before it too */
void loop_quit(struct loop *loop);

uint64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void); /* since the epoch */

#endif
