/* agent/net.h - the guest's one network interface, by ioctl: an image needs no tools for it. */
#ifndef AGENT_NET_H
#define AGENT_NET_H

#include "agent/seed.h"

/* Brings up lo, and the interface with the seed's MAC with address and route; waits for it at most
 * timeout_ms. Without a network in the seed only lo. Already done is success. */
int net_up(const struct seed_network *net, unsigned timeout_ms, struct error *err);

/* The interface with that MAC below class_path (/sys/class/net). Fails with ERROR_NOT_FOUND. */
int net_find(const char *class_path, const char *mac, char *name, size_t size, struct error *err);

#endif
