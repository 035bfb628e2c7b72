/* driver/scan.h - reading fixed formats from left to right: sscanf() does not say that a number was
 * too large. Each call moves *at past what it took, or returns false. */
#ifndef DRIVER_SCAN_H
#define DRIVER_SCAN_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool scan_text(const char **at, const char *text)
{
	size_t len = strlen(text);
	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

/* Blanks, at least one. */
static inline bool scan_blanks(const char **at)
{
	const char *start = *at;
	*at += strspn(start, " \t");
	return *at != start;
}

/* At least one and at most size - 1 of the accepted characters, copied. */
static inline bool scan_word(const char **at, const char *accepted, char *ret, size_t size)
{
	size_t len = strspn(*at, accepted);
	if (!len || len >= size)
		return false;
	memcpy(ret, *at, len);
	ret[len] = '\0';
	*at += len;
	return true;
}

/* Digits of the base (10 or 16), no sign, no prefix. */
static inline bool scan_number(const char **at, unsigned base, uint64_t max, uint64_t *ret)
{
	const char *start = *at;
	uint64_t value = 0;
	for (; base == 16 ? isxdigit((unsigned char)**at) : isdigit((unsigned char)**at); ++*at) {
		char c = **at;
		uint64_t digit =
			(uint64_t)(isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10);
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value) || value > max)
			return false;
	}
	*ret = value;
	return *at != start;
}

#endif
