/* Theory of operation: QEMU has a socket a port. Firecracker has one for all of them, to which
 * "CONNECT <port>\n" is said first, in one write; its "OK <number>\n" comes before the guest's own
 * bytes. Both protocols pass over what comes before the guest's greeting, so nobody has to wait for
 * that line; and what is written behind ours is handed on when the guest has accepted. While the
 * guest listens to nobody yet the connection is closed without a word, or kept waiting. */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/vsock_ports.h"
#include "driver/driver.h"
#include "driver/vm_user.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const struct {
	const char *socket;
	unsigned vsock_port;
} lines[] = {
	[GUEST_AGENT] = { VM_FILE_AGENT, VSOCK_AGENT_PORT },
	[GUEST_EXEC] = { VM_FILE_EXEC, VSOCK_EXEC_PORT },
};

int guest_connect(int vm_dirfd, enum guest_line line, uint64_t timeout_ms, int nonblocking,
		  struct error *err)
{
	auto_close int fd = vm_connect(vm_dirfd, VM_FILE_VSOCK, timeout_ms, nonblocking, err);
	if (fd < 0 && err->sys == ENOENT)
		return vm_connect(vm_dirfd, lines[line].socket, timeout_ms, nonblocking, err);
	if (fd < 0)
		return -1;
	char text[32];
	int len = snprintf(text, sizeof(text), "CONNECT %u\n", lines[line].vsock_port);
	/* The buffer of a fresh connection has room for it. */
	if (send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len)
		return error_sys(err, "cannot connect to '" VM_FILE_VSOCK "'");
	return take_fd(&fd);
}
