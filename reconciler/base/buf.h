/* base/buf.h - a growing string.
 *
 * data is never NULL and always NUL-terminated; len does not count the NUL.
 *
 *	auto_buf struct buf b = BUF_INIT;
 *	buf_addf(&b, "%u", n);
 *	char *text = buf_take(&b); */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len, room; /* room 0: data is the shared empty string */
};

extern char buf_empty[1];
#define BUF_INIT                                                                                   \
	(struct buf)                                                                               \
	{                                                                                          \
		.data = buf_empty                                                                  \
	}

void buf_add(struct buf *b, const char *text);
void buf_add_bytes(struct buf *b, const void *bytes, size_t len);
void buf_add_char(struct buf *b, char c);
/* What a program said, for a message of one line: a blank for each byte that is not printable. */
void buf_add_printable(struct buf *b, const char *text, size_t len);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_addv(struct buf *b, const char *fmt, va_list args);
/* Makes room for len more bytes and returns where they go; buf_grown() then counts them in. */
char *buf_grow(struct buf *b, size_t len);
void buf_grown(struct buf *b, size_t len);
/* Drops the first len bytes (a frame that was handled). */
void buf_drop(struct buf *b, size_t len);
/* The string for the caller to free; b is empty again. */
char *buf_take(struct buf *b);
void buf_reset(struct buf *b); /* length 0, room kept */
void buf_clear(struct buf *b); /* frees */

#define auto_buf __attribute__((cleanup(buf_clear)))

#endif
