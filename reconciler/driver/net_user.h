/* driver/net_user.h - host ports: is one free, and who has it. */
#ifndef DRIVER_NET_USER_H
#define DRIVER_NET_USER_H

#include "driver/driver.h"

/* Binds it for a moment, the way QEMU will. BUSY naming the owner; INVALID when it can never be
 * bound by us (a privileged port, an address of another host). */
int net_port_free(const struct port_spec *port, struct error *err);
/* Sets BUSY with the owner's name for a port known to be taken; always -1. */
int net_port_busy(const struct port_spec *port, struct error *err);
/* "127.0.0.1:8080/tcp" */
#define NET_PORT_TEXT 32
const char *net_port_text(const struct port_spec *port, char text[NET_PORT_TEXT]);

/* The owner's description ("nginx (pid 12)") or NULL; net_dirfd is open /proc/net, proc_dirfd open
 * /proc (tests pass fakes). Caller frees. */
char *net_port_owner(int proc_dirfd, int net_dirfd, const struct port_spec *port);

#endif
