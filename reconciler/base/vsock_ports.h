/* base/vsock_ports.h - where a guest without virtio-serial ports listens: agent/PROTOCOL.md. */
#ifndef BASE_VSOCK_PORTS_H
#define BASE_VSOCK_PORTS_H

#define VSOCK_AGENT_PORT 1024
#define VSOCK_EXEC_PORT	 1025

#endif
