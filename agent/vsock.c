#include "agent/vsock.h"
#include "base/cleanup.h"

#include <sys/socket.h>
#include <linux/vm_sockets.h>

int vsock_listen(unsigned port, struct error *err)
{
	struct sockaddr_vm at = { .svm_family = AF_VSOCK,
				  .svm_cid = VMADDR_CID_ANY,
				  .svm_port = port };
	auto_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4) < 0)
		return error_sys(err, "cannot listen on vsock port %u", port);
	return take_fd(&fd);
}

int vsock_accept(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
