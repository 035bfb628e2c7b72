/* sys/loop: order, lifetime, sleep. */
#include "sys/loop.h"
#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

static struct loop *loop;
static struct error err;
static char trace[64];

static void note(char c)
{
	size_t len = strlen(trace);
	assert_true(len + 1 < sizeof(trace));
	trace[len] = c;
	trace[len + 1] = '\0';
}

static int setup(void **state)
{
	(void)state;
	trace[0] = '\0';
	loop = loop_new(&err);
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void quit(void *data)
{
	(void)data;
	loop_quit(loop);
}

static void note_char(void *data)
{
	note(*(char *)data);
}

static void timers_fire_in_order_of_deadline_then_of_setting(void **state)
{
	(void)state;
	static char names[] = "abcde";
	static const uint64_t in_ms[] = { 12, 4, 0, 4, 8 };
	struct loop_timer *timers[5];
	for (size_t i = 0; i < 5; i++) {
		timers[i] = loop_timer_new(loop, note_char, &names[i]);
		assert_false(loop_timer_is_set(timers[i]));
		loop_timer_set(timers[i], in_ms[i]);
		assert_true(loop_timer_is_set(timers[i]));
	}
	loop_timer_stop(timers[4]);
	loop_timer_set(loop_timer_new(loop, quit, NULL), 20);
	uint64_t start = clock_monotonic_ms();
	loop_run(loop);
	assert_true(clock_monotonic_ms() - start >= 19);
	assert_string_equal(trace, "cbda");
	assert_false(loop_timer_is_set(timers[0]));
}

static uint64_t last_fired;
static size_t fired;
static void check_sorted(void *data)
{
	uint64_t mine = *(uint64_t *)data;
	assert_true(mine >= last_fired);
	last_fired = mine;
	fired++;
}

static void many_timers_stay_sorted_when_some_are_moved_and_freed(void **state)
{
	(void)state;
	static uint64_t delays[400];
	struct loop_timer *timers[400];
	unsigned seed = 7;
	last_fired = fired = 0;
	for (size_t i = 0; i < 400; i++) {
		timers[i] = loop_timer_new(loop, check_sorted, &delays[i]);
		loop_timer_set(timers[i], (seed = seed * 1103515245 + 12345) % 5000);
	}
	for (size_t i = 0; i < 400; i++) {
		delays[i] = (seed = seed * 1103515245 + 12345) / 65536 % 8 * 5;
		loop_timer_set(timers[i], delays[i]);
	}
	for (size_t i = 0; i < 400; i += 4)
		loop_timer_free(timers[i]);
	loop_timer_set(loop_timer_new(loop, quit, NULL), 60);
	loop_run(loop);
	assert_int_equal(fired, 300);
}

static struct loop_timer *again;
static int rounds;
static void set_again(void *data)
{
	(void)data;
	if (++rounds == 1000)
		loop_quit(loop);
	loop_timer_set(again, 0);
}

static int fd_calls;
static void count_fd(void *data, uint32_t events)
{
	(void)data;
	assert_true(events & EPOLLIN);
	fd_calls++;
}

static void a_timer_of_zero_does_not_starve_descriptors(void **state)
{
	(void)state;
	auto_close int fd = eventfd(1, EFD_CLOEXEC);
	rounds = fd_calls = 0;
	assert_non_null(loop_watch(loop, fd, EPOLLIN, count_fd, NULL, &err));
	again = loop_timer_new(loop, set_again, NULL);
	loop_timer_set(again, 0);
	loop_run(loop);
	assert_int_equal(rounds, 1000);
	assert_true(fd_calls >= 999);
}

static void free_me(void *data)
{
	struct loop_timer **self = data;
	loop_timer_free(*self);
	note('f');
}

static void a_timer_may_free_itself(void **state)
{
	(void)state;
	struct loop_timer *self = loop_timer_new(loop, free_me, &self);
	loop_timer_set(self, 0);
	loop_timer_set(loop_timer_new(loop, quit, NULL), 1);
	loop_run(loop);
	assert_string_equal(trace, "f");
}

struct pair {
	struct loop_watch *mine, *other;
	struct pair *other_pair;
};

static void end_both(void *data, uint32_t events)
{
	(void)events;
	struct pair *pair = data;
	note('x');
	loop_unwatch(pair->mine);
	loop_unwatch(pair->other);
	memset(pair->other_pair, 0xa5, sizeof(*pair->other_pair)); /* what free() would do */
	loop_timer_set(loop_timer_new(loop, quit, NULL), 5);
}

static void a_watch_freed_in_a_batch_is_not_called(void **state)
{
	(void)state;
	/* Hung up, which epoll tells whatever the mask is. */
	int a_ends[2], b_ends[2];
	assert_int_equal(pipe(a_ends) | pipe(b_ends), 0);
	close(a_ends[1]);
	close(b_ends[1]);
	auto_close int a = a_ends[0], b = b_ends[0];
	struct pair one, two;
	one.mine = two.other = loop_watch(loop, a, EPOLLIN, end_both, &one, &err);
	two.mine = one.other = loop_watch(loop, b, EPOLLIN, end_both, &two, &err);
	one.other_pair = &two;
	two.other_pair = &one;
	loop_run(loop);
	assert_string_equal(trace, "x");
}

static int wakes;
static void count_wake(void *data)
{
	(void)data;
	wakes++;
}

static void pause_after_two(void *data, uint32_t events)
{
	struct loop_watch **watch = data;
	assert_true(events & EPOLLHUP);
	if (++fd_calls == 2)
		loop_watch_set(*watch, 0);
}

static void a_paused_watch_is_silent_even_when_hung_up(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	close(ends[1]);
	fd_calls = wakes = 0;
	struct loop_watch *watch =
		loop_watch(loop, ends[0], EPOLLIN, pause_after_two, &watch, &err);
	loop_before_sleep(loop, count_wake, NULL);
	loop_timer_set(loop_timer_new(loop, quit, NULL), 20);
	loop_run(loop);
	assert_int_equal(fd_calls, 2);
	assert_int_equal(wakes, 3);
	loop_watch_set(watch, EPOLLIN);
	fd_calls = 0;
	loop_timer_set(loop_timer_new(loop, quit, NULL), 5);
	loop_run(loop);
	assert_int_equal(fd_calls, 2);
	close(ends[0]); /* paused: not in epoll */
}

static void an_idle_loop_sleeps_once(void **state)
{
	(void)state;
	wakes = 0;
	loop_before_sleep(loop, count_wake, NULL);
	loop_timer_set(loop_timer_new(loop, quit, NULL), 30);
	struct timespec before, after;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	loop_run(loop);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	assert_int_equal(wakes, 1);
	assert_true(after.tv_sec == before.tv_sec && after.tv_nsec - before.tv_nsec < 10000000);
}

static int posts_run;
static void count_post(void *data)
{
	(void)data;
	if (++posts_run == 4 * 500)
		loop_quit(loop);
}

static void *post_many(void *data)
{
	(void)data;
	for (int i = 0; i < 500; i++)
		loop_post(loop, count_post, NULL);
	return NULL;
}

static void posts_of_other_threads_all_arrive(void **state)
{
	(void)state;
	pthread_t threads[4];
	posts_run = 0;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, NULL), 0);
	loop_run(loop);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(posts_run, 4 * 500);
}

static void post_again(void *data)
{
	(void)data;
	if (++posts_run == 100)
		loop_quit(loop);
	loop_post(loop, post_again, NULL);
}

static void work_posted_by_work_waits_a_round(void **state)
{
	(void)state;
	posts_run = wakes = 0;
	loop_before_sleep(loop, count_wake, NULL);
	loop_post(loop, post_again, NULL);
	loop_run(loop);
	assert_int_equal(wakes, 100);
}

static void got_signal(void *data, int signal)
{
	(void)data;
	note(signal == SIGUSR1 ? 'u' : '?');
	loop_quit(loop);
}

static void signals_arrive_as_calls(void **state)
{
	(void)state;
	static const int signals[] = { SIGUSR1, SIGHUP };
	assert_int_equal(loop_signals(loop, signals, 2, got_signal, NULL, &err), 0);
	kill(getpid(), SIGUSR1);
	loop_run(loop);
	assert_string_equal(trace, "u");
}

static void a_bad_descriptor_is_an_error(void **state)
{
	(void)state;
	assert_null(loop_watch(loop, 9999, EPOLLIN, count_fd, NULL, &err));
	assert_int_equal(err.sys, EBADF);
}

static void quit_before_run_returns_at_once(void **state)
{
	(void)state;
	loop_quit(loop);
	loop_run(loop);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(timers_fire_in_order_of_deadline_then_of_setting),
		CASE(many_timers_stay_sorted_when_some_are_moved_and_freed),
		CASE(a_timer_of_zero_does_not_starve_descriptors),
		CASE(a_timer_may_free_itself),
		CASE(a_watch_freed_in_a_batch_is_not_called),
		CASE(a_paused_watch_is_silent_even_when_hung_up),
		CASE(an_idle_loop_sleeps_once),
		CASE(posts_of_other_threads_all_arrive),
		CASE(work_posted_by_work_waits_a_round),
		CASE(signals_arrive_as_calls),
		CASE(a_bad_descriptor_is_an_error),
		CASE(quit_before_run_returns_at_once),
	};
	return cmocka_run_group_tests_name("sys/loop", tests, NULL, NULL);
}
