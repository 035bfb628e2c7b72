/* Bytes from QEMU's monitor, in two pieces, and from a command line in /proc. */
#include "driver/qemu.h"
#include "driver/qmp.h"
#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(struct hv_monitor *monitor, int fd, const uint8_t *data, size_t len)
{
	enum monitor_event event = qmp_monitor_feed(monitor, fd, (const char *)data, len);
	while (event != MONITOR_NOTHING && event != MONITOR_BROKEN)
		event = qmp_monitor_feed(monitor, fd, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return 0;
	struct hv_monitor *monitor = qmp_monitor_new();
	size_t half = size ? data[0] % (size + 1) : 0;
	drain(monitor, ends[0], data, half);
	drain(monitor, ends[0], data + half, size - half);
	qmp_monitor_free(monitor);
	close(ends[0]);
	close(ends[1]);

	auto_buf struct buf vms = BUF_INIT;
	struct hv_process process;
	qemu_cmdline_parse((const char *)data, size, &process, &vms);
	return 0;
}
