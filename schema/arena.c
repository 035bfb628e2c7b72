#include "schema/arena.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_MIN ((size_t)4096)
#define BLOCK_MAX ((size_t)256 << 10)

struct block {
	struct block *next;
	alignas(16) char data[];
};

struct arena {
	struct block *blocks; /* beyond the first, newest first */
	char *at, *end;	      /* free part of the newest */
	size_t next_size;
	alignas(16) char data[];
};

struct arena *arena_new(size_t first_bytes)
{
	struct arena *arena = xmalloc(sizeof(*arena) + first_bytes);
	arena->blocks = NULL;
	arena->at = arena->data;
	arena->end = arena->data + first_bytes;
	arena->next_size = first_bytes < BLOCK_MIN ? BLOCK_MIN : first_bytes;
	return arena;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	for (struct block *block = arena->blocks; block;) {
		struct block *next = block->next;
		free(block);
		block = next;
	}
	free(arena);
}

static size_t padding(const char *at, size_t align)
{
	return (size_t)(-(uintptr_t)at & (align - 1));
}

static void add_block(struct arena *arena, size_t at_least)
{
	size_t size = arena->next_size;
	if (size > BLOCK_MAX)
		size = BLOCK_MAX;
	arena->next_size = size * 2;
	if (size < at_least)
		size = at_least;
	struct block *block = xmalloc(sizeof(*block) + size);
	block->next = arena->blocks;
	arena->blocks = block;
	arena->at = block->data;
	arena->end = block->data + size;
}

void *arena_alloc(struct arena *arena, size_t size, size_t align)
{
	size_t pad = padding(arena->at, align);
	size_t left = (size_t)(arena->end - arena->at);
	if (left < pad || left - pad < size) {
		add_block(arena, size);
		pad = 0;
	}
	char *ret = arena->at + pad;
	arena->at = ret + size;
	return ret;
}

char *arena_text(struct arena *arena, const char *text, size_t len)
{
	char *ret = arena_alloc(arena, len + 1, 1);
	memcpy(ret, text, len);
	ret[len] = '\0';
	return ret;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		BUG("bad format '%s'", fmt);
	char *ret = arena_alloc(arena, (size_t)len + 1, 1);
	vsnprintf(ret, (size_t)len + 1, fmt, again);
	va_end(again);
	return ret;
}
