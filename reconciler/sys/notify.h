/* sys/notify.h - tells the service manager how far we are, as sd_notify(3) does. */
#ifndef SYS_NOTIFY_H
#define SYS_NOTIFY_H

#include "base/error.h"

/* One datagram ("READY=1") to $NOTIFY_SOCKET: a path or, with a leading '@', an abstract name.
 * 1: sent; 0: nobody asked to be told. */
int notify_manager(const char *state, struct error *err);

#endif
