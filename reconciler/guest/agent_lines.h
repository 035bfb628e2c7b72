/* guest/agent_lines.h - a guest's bytes as lines, bounded; and its texts made fit to print. */
#ifndef GUEST_AGENT_LINES_H
#define GUEST_AGENT_LINES_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

#define AGENT_LINE_MAX ((size_t)65536)
/* Begins with a line break: what an earlier connection left half said ends there. */
#define AGENT_HELLO "\n{\"id\":1,\"method\":\"hello\",\"params\":{\"version\":1}}\n"

/* { .in = BUF_INIT } */
struct agent_lines {
	struct buf in;
	size_t at; /* what lies before is done */
};

/* False: more unread bytes than two lines may have, or what is there is no line. */
bool agent_lines_push(struct agent_lines *lines, const char *data, size_t len);
/* 1: *ret is the next line, without its newline, NUL-terminated, maybe empty, borrowed until the
 * next push; 0: none yet; -1: longer than AGENT_LINE_MAX. */
int agent_lines_next(struct agent_lines *lines, char **ret, size_t *ret_len);
void agent_lines_clear(struct agent_lines *lines);

/* The line of a request, with its newline; ERROR_INVALID when it is too long. */
int agent_request_add(struct buf *to, int64_t id, const char *method, const cJSON *params,
		      struct error *err);
/* What the "error" of a reply says; returns -1. */
int agent_error_read(const cJSON *body, struct error *err);

/* Copies at most size-1 bytes of text, everything but printable ASCII as '?'. */
void agent_text_copy(char *to, size_t size, const char *text);

#endif
