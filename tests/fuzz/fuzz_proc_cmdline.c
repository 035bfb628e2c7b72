/* Any bytes as /proc/<pid>/cmdline and as /proc/<pid>/stat: other users' processes write both. */
#include "base/mem.h"
#include "sys/proc.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf cmdline = BUF_INIT;
	buf_add_bytes(&cmdline, data, size);
	size_t walked = 0;
	for (const char *arg = NULL; (arg = proc_arg_next(&cmdline, arg));)
		walked += strlen(arg) + 1;
	if (size && walked != size && walked != size + 1)
		BUG("walked %zu of %zu bytes", walked, size);
	const char *value = proc_arg_after(&cmdline, "-name");
	if (value && value + strlen(value) > cmdline.data + cmdline.len)
		BUG("an argument behind the end");
	char state;
	uint64_t ticks;
	proc_stat_parse(cmdline.data, &state, &ticks);
	buf_clear(&cmdline);
	return 0;
}
