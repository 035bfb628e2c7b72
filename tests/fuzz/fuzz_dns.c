/* A message to the name server, where one VM runs. Whatever is said to it can be read. */
#include "driver/net_dns.h"
#include "base/mem.h"

#include <arpa/nameser.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool address_of(const void *data, const char *name, char ret[16])
{
	(void)data;
	return !strcmp(name, "web") && str_copy(ret, 16, "10.183.4.5");
}

static bool name_of(const void *data, const char *address, char ret[NET_DNS_NAME_MAX])
{
	(void)data;
	return !strcmp(address, "10.183.4.5") && str_copy(ret, NET_DNS_NAME_MAX, "web");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct net_subnet subnet = { 0x0ab70000, 16 };
	const struct net_dns_zone zone = { &subnet, address_of, name_of, NULL };
	uint8_t reply[NET_DNS_REPLY_MAX];
	ns_msg message;
	size_t len = net_dns_answer(&zone, data, size, reply);
	if (len && (len > sizeof(reply) || ns_initparse(reply, (int)len, &message) < 0 ||
		    memcmp(reply, data, NS_INT16SZ) != 0))
		abort();
	return 0;
}
