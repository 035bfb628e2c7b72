/* agent/vsock.h - where the host finds us when the machine has no virtio-serial ports: under
 * Firecracker. The protocols are the same; the host comes by accept(), and a closed connection is
 * all that shows when it has gone. */
#ifndef AGENT_VSOCK_H
#define AGENT_VSOCK_H

#include "base/error.h"
#include "base/vsock_ports.h"

/* A listening socket that does not block. SYSTEM: the kernel has no vsock. */
int vsock_listen(unsigned port, struct error *err);
/* The next connection, not blocking; -1: there is none now. Any kind of listener. */
int vsock_accept(int listener);

#endif
