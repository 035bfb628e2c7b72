/* Theory of operation: a byte at a time through the states of ECMA-48. ESC [ opens a control
 * sequence that ends with a byte in @…~; ESC followed by ] P X ^ _ opens a string that ends with
 * BEL or ESC \; any other ESC takes intermediates and one final byte. A newline ends whatever is
 * open: a string that nobody closes must not swallow the rest of a log. Bytes from 0x80 on are
 * collected into characters; C1 controls and bidirectional overrides are dropped as characters. */
#include "cli/term.h"

#include <string.h>

enum mode { MODE_TEXT, MODE_ESCAPE, MODE_SEQUENCE, MODE_STRING, MODE_STRING_ESCAPE };

static bool is_unwanted(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) ||				       /* C1 */
	       (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || /* direction */
	       c == 0x2028 || c == 0x2029 || c == 0x200e || c == 0x200f || c == 0x61c;
}

static uint32_t decode(const unsigned char *bytes, unsigned count)
{
	static const unsigned char mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t c = bytes[0] & mask[count];
	for (unsigned i = 1; i < count; i++)
		c = c << 6 | (bytes[i] & 0x3f);
	return c;
}

static bool is_overlong(uint32_t c, unsigned count)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	return c < least[count] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff);
}

/* A byte from 0x80 on. */
static void add_high(struct term_filter *f, struct buf *out, unsigned char byte)
{
	if (byte >= 0xc0) {
		if (f->have)
			buf_add_char(out, '?');
		f->need = byte >= 0xf8 ? 0 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
		f->have = 0;
		if (!f->need) {
			buf_add_char(out, '?');
			return;
		}
	} else if (!f->have) {
		buf_add_char(out, '?');
		return;
	}
	f->bytes[f->have++] = byte;
	if (f->have < f->need)
		return;
	uint32_t c = decode(f->bytes, f->need);
	if (is_overlong(c, f->need))
		buf_add_char(out, '?');
	else if (!is_unwanted(c))
		buf_add_bytes(out, f->bytes, f->need);
	f->have = 0;
}

static void add_text(struct term_filter *f, struct buf *out, unsigned char byte)
{
	if (byte >= 0x80) {
		add_high(f, out, byte);
		return;
	}
	if (f->have) {
		buf_add_char(out, '?');
		f->have = 0;
	}
	if (byte == 0x1b)
		f->mode = MODE_ESCAPE;
	else if (byte == '\t' || (byte >= 0x20 && byte != 0x7f))
		buf_add_char(out, (char)byte);
}

static enum mode after_escape(unsigned char byte)
{
	if (byte == '[')
		return MODE_SEQUENCE;
	if (strchr("]PX^_", byte) && byte)
		return MODE_STRING;
	return byte >= 0x20 && byte <= 0x2f ? MODE_ESCAPE : MODE_TEXT;
}

void term_filter_add(struct term_filter *f, struct buf *out, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)data[i];
		if (byte == '\n') {
			if (f->have)
				buf_add_char(out, '?');
			f->have = 0;
			f->mode = MODE_TEXT;
			buf_add_char(out, '\n');
			continue;
		}
		switch ((enum mode)f->mode) {
		case MODE_TEXT:
			add_text(f, out, byte);
			break;
		case MODE_ESCAPE:
			f->mode = byte == 0x1b ? MODE_ESCAPE : (int)after_escape(byte);
			break;
		case MODE_SEQUENCE:
			if (byte == 0x1b)
				f->mode = MODE_ESCAPE;
			else if (byte >= 0x40 && byte <= 0x7e)
				f->mode = MODE_TEXT;
			break;
		case MODE_STRING:
			f->mode = byte == 0x07	 ? MODE_TEXT
				  : byte == 0x1b ? MODE_STRING_ESCAPE
						 : MODE_STRING;
			break;
		case MODE_STRING_ESCAPE:
			f->mode = byte == '\\' ? MODE_TEXT : (int)after_escape(byte);
			break;
		}
	}
}

void term_clean_lines(struct buf *out, const char *text)
{
	struct term_filter filter = { 0 };
	term_filter_add(&filter, out, text, strlen(text));
	if (filter.have)
		buf_add_char(out, '?');
}

void term_clean(struct buf *out, const char *text)
{
	size_t start = out->len;
	term_clean_lines(out, text);
	for (size_t i = start; i < out->len; i++)
		if (out->data[i] == '\n' || out->data[i] == '\t')
			out->data[i] = ' ';
}

size_t term_width(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void term_cut(struct buf *out, const char *text, size_t width)
{
	if (term_width(text) <= width) {
		buf_add(out, text);
		return;
	}
	size_t keep = width > 3 ? width - 3 : 0, bytes = 0;
	for (size_t seen = 0; text[bytes]; bytes++) {
		bool starts = ((unsigned char)text[bytes] & 0xc0) != 0x80;
		if (starts && seen++ == keep)
			break;
	}
	buf_add_bytes(out, text, bytes);
	buf_add_bytes(out, "...", width - keep);
}
