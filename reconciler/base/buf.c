#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char buf_empty[1];

char *buf_grow(struct buf *b, size_t len)
{
	size_t need;
	if (__builtin_add_overflow(b->len, len, &need) || need > ((size_t)1 << 40))
		BUG("buffer of %zu bytes", b->len);
	need++;
	if (need > b->room) {
		size_t room = b->room ? b->room : 64;
		while (room < need)
			room *= 2;
		char *data = xreallocarray(b->room ? b->data : NULL, room, 1);
		if (!b->room)
			data[0] = '\0';
		b->data = data;
		b->room = room;
	}
	return b->data + b->len;
}

void buf_grown(struct buf *b, size_t len)
{
	if (!len)
		return;
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_add_bytes(struct buf *b, const void *bytes, size_t len)
{
	if (!len)
		return;
	memcpy(buf_grow(b, len), bytes, len);
	buf_grown(b, len);
}

void buf_add(struct buf *b, const char *text)
{
	buf_add_bytes(b, text, strlen(text));
}

void buf_add_char(struct buf *b, char c)
{
	buf_add_bytes(b, &c, 1);
}

void buf_addv(struct buf *b, const char *fmt, va_list args)
{
	va_list copy;
	va_copy(copy, args);
	int len = vsnprintf(NULL, 0, fmt, copy);
	va_end(copy);
	if (len < 0)
		BUG("bad format '%s'", fmt);
	char *to = buf_grow(b, (size_t)len);
	vsnprintf(to, (size_t)len + 1, fmt, args);
	buf_grown(b, (size_t)len);
}

void buf_add_printable(struct buf *b, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf_add_char(b, isprint((unsigned char)text[i]) ? text[i] : ' ');
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	buf_addv(b, fmt, args);
	va_end(args);
}

void buf_drop(struct buf *b, size_t len)
{
	if (!len)
		return;
	if (len > b->len)
		BUG("drop of %zu from %zu bytes", len, b->len);
	memmove(b->data, b->data + len, b->len - len + 1);
	b->len -= len;
}

char *buf_take(struct buf *b)
{
	char *data = b->room ? b->data : xstrdup("");
	*b = BUF_INIT;
	return data;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->room)
		b->data[0] = '\0';
}

void buf_clear(struct buf *b)
{
	if (b->room)
		free(b->data);
	*b = BUF_INIT;
}
