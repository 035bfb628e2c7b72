/* Bytes on the exec channel, as the guest reads them from the host. Nothing is run: a frame that
 * would start a command is only parsed. */
#include "base/exec_frames.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size && data[0] ? data[0] : 1;
	auto_buf struct buf in = BUF_INIT;
	unsigned char nonce[EXEC_NONCE_LEN];
	bool greeted = false;
	for (size_t at = 1; at < size; at += piece) {
		struct exec_frame frame;
		int more = 0;
		buf_add_bytes(&in, data + at, size - at < piece ? size - at : piece);
		greeted = greeted || exec_find_magic(&in, nonce);
		while (greeted && (more = exec_frame_next(&in, &frame)) == 1) {
			if (frame.len > EXEC_PAYLOAD_MAX)
				abort();
			exec_frame_drop(&in, &frame);
		}
		greeted = greeted && more == 0;
		if (!greeted && in.len > EXEC_PAYLOAD_MAX + EXEC_HEADER_LEN + 512)
			abort();
	}
	return 0;
}
