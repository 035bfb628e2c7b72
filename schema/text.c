#include "schema/text.h"

#include <string.h>

size_t utf8_decode(const char *text, size_t len, uint32_t *ret)
{
	const unsigned char *p = (const unsigned char *)text;
	if (!len)
		return 0;
	*ret = p[0];
	if (p[0] < 0x80)
		return 1;
	size_t need = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || len < need)
		return 0;
	uint32_t code = p[0] & (0xffu >> (need + 1));
	for (size_t i = 1; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	bool overlong = code < (need == 4 ? 0x10000u : need == 3 ? 0x800u : 0x80u);
	if (overlong || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret = code;
	return need;
}

bool utf8_is_clean(uint32_t code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return false;
	return code != 0x2028 && code != 0x2029 && code != 0xfeff && (code & 0xfffe) != 0xfffe;
}

bool text_is_clean(const char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		uint32_t code;
		size_t bytes = utf8_decode(text + at, len - at, &code);
		if (!bytes || !utf8_is_clean(code))
			return false;
		at += bytes;
	}
	return true;
}

void text_scrub(char *text)
{
	size_t len = strlen(text);
	for (size_t at = 0; at < len;) {
		uint32_t code = 0;
		size_t bytes = utf8_decode(text + at, len - at, &code);
		if (bytes && utf8_is_clean(code)) {
			at += bytes;
			continue;
		}
		for (size_t i = 0; i < (bytes ? bytes : 1); i++)
			text[at + i] = '?';
		at += bytes ? bytes : 1;
	}
}

bool text_only(const char *text, const char *set)
{
	return text[strspn(text, set)] == '\0';
}

#define WORD_MAX 32 /* longer words are no slips of our keys */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned text_distance(const char *a, const char *b)
{
	size_t len_a = strnlen(a, WORD_MAX + 1), len_b = strnlen(b, WORD_MAX + 1);
	if (len_a > WORD_MAX || len_b > WORD_MAX)
		return 3;
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];
	for (size_t i = 0; i <= len_a; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= len_b; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= len_a; i++)
		for (size_t j = 1; j <= len_b; j++) {
			unsigned replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			d[i][j] = least(replaced, least(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	return least(d[len_a][len_b], 3);
}

bool text_is_near(const char *typed, const char *meant)
{
	return text_distance(typed, meant) <= (strlen(typed) <= 3 ? 1u : 2u);
}
