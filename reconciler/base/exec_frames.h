/* base/exec_frames.h - the frames of the exec channel, for both ends: agent/PROTOCOL.md, "Exec".
 *
 * kind (1 byte), length (4 bytes, big-endian), payload. A connection begins with EXEC_MAGIC, so
 * that what an earlier one has left in the port is passed over. Here, as host and guest share no
 * other layer. */
#ifndef BASE_EXEC_FRAMES_H
#define BASE_EXEC_FRAMES_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define EXEC_PORT_NAME	 "org.banger.exec.0"
#define EXEC_MAGIC	 "\nBANGER-EXEC-1\n\0" /* EXEC_MAGIC_LEN bytes, then the nonce */
#define EXEC_MAGIC_LEN	 16u
#define EXEC_NONCE_LEN	 8u
#define EXEC_HEADER_LEN	 5u
#define EXEC_PAYLOAD_MAX 32768u

enum exec_kind {
	EXEC_START = 'S',  /* to the guest: {"argv": [...]} */
	EXEC_INPUT = 'I',  /* to the guest: standard input; empty: its end */
	EXEC_OUTPUT = 'O', /* from the guest: standard output */
	EXEC_ERROR = 'E',  /* from the guest: standard error */
	EXEC_EXIT =
		'X', /* from the guest, the last: {"status": n}, {"signal": n}, {"error": "…"} */
};

struct exec_frame {
	char kind;
	const char *data; /* borrowed from the buffer */
	size_t len;
};

static inline void exec_frame_add(struct buf *to, char kind, const void *data, size_t len)
{
	const unsigned char head[EXEC_HEADER_LEN] = {
		(unsigned char)kind,	   (unsigned char)(len >> 24), (unsigned char)(len >> 16),
		(unsigned char)(len >> 8), (unsigned char)len,
	};
	buf_add_bytes(to, head, sizeof(head));
	buf_add_bytes(to, data, len);
}

/* 1: *ret is the frame at the buffer's start, to be dropped by exec_frame_drop(); 0: not whole
 * yet; -1: no frame can begin so. */
static inline int exec_frame_next(const struct buf *in, struct exec_frame *ret)
{
	if (in->len < EXEC_HEADER_LEN)
		return 0;
	const unsigned char *head = (const unsigned char *)in->data;
	uint32_t len = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 |
		       head[4];
	static const char kinds[] = { 'S', 'I', 'O', 'E', 'X' };
	if (!memchr(kinds, head[0], sizeof(kinds)) || len > EXEC_PAYLOAD_MAX)
		return -1;
	if (in->len < EXEC_HEADER_LEN + len)
		return 0;
	*ret = (struct exec_frame){ (char)head[0], in->data + EXEC_HEADER_LEN, len };
	return 1;
}

static inline void exec_frame_drop(struct buf *in, const struct exec_frame *frame)
{
	buf_drop(in, EXEC_HEADER_LEN + frame->len);
}

/* Drops everything before and including the magic and its nonce, which is kept in nonce. False:
 * not there yet; what cannot be its beginning is dropped all the same. */
static inline bool exec_find_magic(struct buf *in, unsigned char nonce[EXEC_NONCE_LEN])
{
	char *at = memmem(in->data, in->len, EXEC_MAGIC, EXEC_MAGIC_LEN);
	if (!at) {
		if (in->len >= EXEC_MAGIC_LEN)
			buf_drop(in, in->len - EXEC_MAGIC_LEN + 1);
		return false;
	}
	buf_drop(in, (size_t)(at - in->data));
	if (in->len < EXEC_MAGIC_LEN + EXEC_NONCE_LEN)
		return false;
	memcpy(nonce, in->data + EXEC_MAGIC_LEN, EXEC_NONCE_LEN);
	buf_drop(in, EXEC_MAGIC_LEN + EXEC_NONCE_LEN);
	return true;
}

#endif
