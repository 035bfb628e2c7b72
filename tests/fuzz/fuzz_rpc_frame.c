/* Any bytes, in any cuts, into the frame reader: the first byte is the size of the cuts. */
#include "base/cleanup.h"
#include "rpc/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	size_t step = data[0] ? data[0] : 65536;
	struct rpc_frames frames = { BUF_INIT };
	struct error err;
	int got = 0;
	for (size_t at = 1; at < size && got >= 0; at += step) {
		buf_add_bytes(&frames.in, data + at, size - at < step ? size - at : step);
		cJSON *message;
		while ((got = rpc_frames_next(&frames, &message, &err)) == 1) {
			auto_json cJSON *owned = message;
			auto_buf struct buf out = BUF_INIT;
			rpc_frame_try(&out, owned, &err);
		}
	}
	buf_clear(&frames.in);
	return 0;
}
