#include "exec/pool.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct pool {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct work *first, **last;
	bool closing;
	unsigned threads;
	pthread_t thread[];
};

static void finished(void *data)
{
	struct work *work = data;
	work->done(work);
}

static struct work *next_work(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	while (!pool->first && !pool->closing)
		pthread_cond_wait(&pool->wake, &pool->lock);
	struct work *work = pool->closing ? NULL : pool->first;
	if (work) {
		pool->first = work->next;
		if (!pool->first)
			pool->last = &pool->first;
	}
	pthread_mutex_unlock(&pool->lock);
	return work;
}

static void *worker(void *data)
{
	struct pool *pool = data;
	for (struct work *work; (work = next_work(pool));) {
		work->run(work);
		loop_post(pool->loop, finished, work);
	}
	return NULL;
}

struct pool *pool_new(struct loop *loop, unsigned threads)
{
	struct pool *pool = xcalloc(1, sizeof(*pool) + threads * sizeof(pthread_t));
	pool->loop = loop;
	pool->last = &pool->first;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);

	/* Small stacks: sixteen idle workers must not cost the daemon its memory budget. */
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)512 * 1024);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; pool->threads < threads; pool->threads++)
		if (pthread_create(&pool->thread[pool->threads], &attr, worker, pool))
			BUG("cannot start a worker thread");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return pool;
}

void pool_submit(struct pool *pool, struct work *work)
{
	work->pool = pool;
	work->next = NULL;
	pthread_mutex_lock(&pool->lock);
	*pool->last = work;
	pool->last = &work->next;
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads; i++)
		pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
