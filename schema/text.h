/* schema/text.h - judging strings that people wrote. */
#ifndef SCHEMA_TEXT_H
#define SCHEMA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool text_equal(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* One code point of valid UTF-8; returns its bytes, 0 when there is none (overlong, surrogate, cut
 * off, beyond U+10FFFF). */
size_t utf8_decode(const char *text, size_t len, uint32_t *ret);
/* Valid UTF-8 on one line: no control characters, no line or paragraph separators, no byte order
 * marks. What passes survives JSON, YAML and a terminal unchanged. */
bool text_is_clean(const char *text, size_t len);
bool utf8_is_clean(uint32_t code);
/* Makes a message fit for a terminal and for JSON: what is not clean becomes '?'. */
void text_scrub(char *text);
/* Every character is one of set; "a-z" like ranges are not understood. */
bool text_only(const char *text, const char *set);

#define SET_LOWER "abcdefghijklmnopqrstuvwxyz"
#define SET_UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define SET_DIGIT "0123456789"
#define SET_ALNUM SET_LOWER SET_UPPER SET_DIGIT

/* Damerau-Levenshtein (neighbours swapped count 1), computed up to 3; 3 means "3 or more". */
unsigned text_distance(const char *a, const char *b);
/* Near enough to be a slip of the finger: distance 2, or 1 for words of three letters or less. */
bool text_is_near(const char *typed, const char *meant);

#endif
