/* exec/pool.h - threads for what blocks.
 *
 * A work item is handed over whole: run() sees only the item, in a worker; done() gets it back in
 * the loop thread. Nothing else is shared. */
#ifndef EXEC_POOL_H
#define EXEC_POOL_H

#include "sys/loop.h"

struct pool;

struct work {
	void (*run)(struct work *work);	 /* worker thread */
	void (*done)(struct work *work); /* loop thread; may free the work */
	struct pool *pool;		 /* the pool's own */
	struct work *next;
};

struct pool *pool_new(struct loop *loop, unsigned threads);
void pool_submit(struct pool *pool, struct work *work);
/* Waits for running work, drops queued work without running it (done() is not called). */
void pool_free(struct pool *pool);

#endif
