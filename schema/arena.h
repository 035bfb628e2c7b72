/* schema/arena.h - memory that is freed all at once.
 *
 * The first block lies in the same allocation as the arena itself, so an arena whose need is known
 * beforehand (a spec's) is exactly one malloc; past it, further blocks are chained. */
#ifndef SCHEMA_ARENA_H
#define SCHEMA_ARENA_H

#include "base/cleanup.h"

#include <stddef.h>

struct arena;

struct arena *arena_new(size_t first_bytes);
void arena_free(struct arena *arena); /* NULL is fine */
DEFINE_CLEANUP(arena, arena_free)

/* align: a power of two, at most 16. Not zeroed; never NULL. */
void *arena_alloc(struct arena *arena, size_t size, size_t align);
/* A terminated copy. */
char *arena_text(struct arena *arena, const char *text, size_t len);
char *arena_printf(struct arena *arena, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), nonnull));

#endif
