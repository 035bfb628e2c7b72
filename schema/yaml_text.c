/* What a text must be before it may reach the YAML parser.
 *
 * libyaml would refuse most of this itself, but it names a byte offset where people look for a
 * line, and it takes U+0085 and U+2028 for line ends: in a comment those would hide content from
 * everyone who reads the file in an editor. */
#include "schema/text.h"
#include "schema/yaml_tree.h"

#include "base/units.h"

#include <inttypes.h>
#include <string.h>

struct cursor {
	size_t at;
	int line, column;
	bool indentation; /* only blanks since the line began */
};

static bool char_is_refused(const struct cursor *c, uint32_t code, struct fault_sink *faults)
{
	if (code == '\t' && c->indentation) {
		fault_add(faults, c->line, c->column, NULL,
			  "a tab in the indentation, YAML is indented with spaces");
		return true;
	}
	if (code == '\t' || code == '\n' || code == '\r' || utf8_is_clean(code))
		return false;
	if (!code)
		fault_add(faults, c->line, c->column, NULL,
			  "a NUL byte, the file must be text in UTF-8");
	else
		fault_add(faults, c->line, c->column, NULL,
			  "the control character U+%04" PRIX32 " is not allowed", code);
	return true;
}

static void step(const char *text, struct cursor *c, size_t bytes)
{
	char first = text[c->at];
	/* The LF of a CR LF counts no line of its own. */
	bool second_half = first == '\n' && c->at && text[c->at - 1] == '\r';
	c->at += bytes;
	if (second_half)
		return;
	if (first == '\n' || first == '\r') {
		c->line++;
		c->column = 1;
		c->indentation = true;
		return;
	}
	c->column++;
	c->indentation = c->indentation && (first == ' ' || first == '\t');
}

/* Nearly all of every file: printable ASCII needs no decoding. */
static void skip_printable(const char *text, size_t len, struct cursor *c)
{
	size_t at = c->at;
	while (c->indentation && at < len && text[at] == ' ')
		at++;
	size_t blanks = at;
	while (at < len && text[at] >= ' ' && text[at] <= '~')
		at++;
	c->indentation = c->indentation && at == blanks;
	c->column += (int)(at - c->at);
	c->at = at;
}

const char *yaml_text_check(const char *text, size_t *len, struct fault_sink *faults)
{
	if (*len > SPEC_FILE_MAX) {
		char most[UNITS_TEXT_MAX];
		fault_add(faults, 0, 0, NULL, "the file is larger than %s",
			  units_format_size(SPEC_FILE_MAX, most));
		return NULL;
	}
	if (*len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3;
		*len -= 3;
	}
	struct cursor c = { .line = 1, .column = 1, .indentation = true };
	for (;;) {
		uint32_t code;
		skip_printable(text, *len, &c);
		if (c.at >= *len)
			return text;
		size_t bytes = utf8_decode(text + c.at, *len - c.at, &code);
		if (!bytes) {
			fault_add(faults, c.line, c.column, NULL,
				  "the byte 0x%02x is not valid UTF-8",
				  (unsigned)(unsigned char)text[c.at]);
			return NULL;
		}
		if (char_is_refused(&c, code, faults))
			return NULL;
		step(text, &c, bytes);
	}
}
