/* cli/term.h - text that is fit for a terminal.
 *
 * A guest decides what its console and its error messages hold. Escape sequences could retitle the
 * window, move the cursor or answer for the user, so they are taken out before a terminal sees
 * them. */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include "base/buf.h"

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/* Keeps its place between pieces, as a sequence may be cut by the end of a reply. */
struct term_filter {
	int mode;		/* inside which kind of sequence */
	unsigned char bytes[4]; /* of the character that is being read */
	unsigned have, need;
};

/* Appends what is printable, newlines and tabs; drops escape sequences, control characters and
 * those that reverse the direction of text; what is no UTF-8 becomes '?'. */
void term_filter_add(struct term_filter *filter, struct buf *out, const char *data, size_t len);

/* A whole text, with newlines and tabs kept, or made spaces for one line or a table cell. */
void term_clean_lines(struct buf *out, const char *text);
void term_clean(struct buf *out, const char *text);

/* Columns that clean text takes; every character counts as one. */
size_t term_width(const char *text);
/* Appends at most width columns of text; cut text ends with "...". */
void term_cut(struct buf *out, const char *text, size_t width);

#define TERM_RED    "\033[31m"
#define TERM_GREEN  "\033[32m"
#define TERM_YELLOW "\033[33m"
#define TERM_DIM    "\033[2m"
#define TERM_RESET  "\033[0m"

#endif
