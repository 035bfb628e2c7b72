/* base/mem.h - allocation that cannot fail.
 *
 * banger is crash-only: out of memory aborts, and the next start rediscovers the VMs. In exchange
 * every size that comes from outside is bounded before it gets here. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xreallocarray(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
/* NULL gives NULL, so that optional strings copy as themselves. */
char *xstrdup(const char *text) __attribute__((malloc));
char *xstrndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull));
/* Heap string by format; the caller frees. */
char *xasprintf(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), malloc, returns_nonnull));

/* A broken invariant of ours: say where, abort. Never for bad input. */
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
void bug_at(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

/* Copies text into a fixed array; false when it did not fit (then nothing is copied but ""). */
_Bool str_copy(char *to, size_t size, const char *text);

#endif
