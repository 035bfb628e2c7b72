/* Addresses on the bridge: pure, but for what is said of them. */
#include "driver/net_bridge.h"
#include "driver/driver.h"
#include "driver/id_hash.h"
#include "driver/scan.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define GUEST_SSH_PORT 22
#define PREFIX_MIN     8
#define PREFIX_MAX     28

static uint32_t mask_of(unsigned prefix)
{
	return UINT32_MAX << (32 - prefix);
}

static void address_text(uint32_t address, char ret[16])
{
	struct in_addr in = { .s_addr = htonl(address) };
	inet_ntop(AF_INET, &in, ret, 16);
}

int net_subnet_parse(const char *text, struct net_subnet *ret, struct error *err)
{
	const char *at = text;
	char address[16];
	struct in_addr in;
	uint64_t prefix;
	if (!scan_word(&at, "0123456789.", address, sizeof(address)) || !scan_text(&at, "/") ||
	    !scan_number(&at, 10, PREFIX_MAX, &prefix) || *at || prefix < PREFIX_MIN ||
	    inet_pton(AF_INET, address, &in) != 1)
		return error_set(err, ERROR_INVALID,
				 "'%s' is no subnet such as " NET_SUBNET_DEFAULT
				 ", with a prefix of %d to %d",
				 text, PREFIX_MIN, PREFIX_MAX);
	*ret = (struct net_subnet){ ntohl(in.s_addr), (unsigned)prefix };
	if (ret->network & ~mask_of(ret->prefix) || ret->network >> 24 == 127)
		return error_set(err, ERROR_INVALID,
				 "'%s' is no subnet: it is an address in one, or loopback", text);
	return 0;
}

int net_vm_to_vm_parse(const char *text, bool *ret_allowed, struct error *err)
{
	*ret_allowed = text && !strcmp(text, "allow");
	if (*ret_allowed || !text || !*text || !strcmp(text, "block"))
		return 0;
	return error_set(
		err, ERROR_INVALID,
		"BANGER_VM_TO_VM: '%.40s' is neither 'allow' nor 'block', which it is when "
		"it is not set",
		text);
}

bool net_subnet_has(const struct net_subnet *subnet, const char *address)
{
	struct in_addr in;
	return inet_pton(AF_INET, address, &in) == 1 &&
	       (ntohl(in.s_addr) & mask_of(subnet->prefix)) == subnet->network;
}

void net_subnet_gateway(const struct net_subnet *subnet, char ret[16])
{
	address_text(subnet->network + 1, ret);
}

static bool is_taken(const char *address, const char *const *taken, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(address, taken[i]))
			return true;
	return false;
}

int net_bridge_address(const struct net_subnet *subnet, const char *id, const char *const *taken,
		       size_t count, char ret[16], struct error *err)
{
	/* Not the network, the bridge, nor broadcast. */
	const uint32_t usable = ~mask_of(subnet->prefix) - 2;
	uint32_t at = (uint32_t)(id_hash(id, 5) % usable);
	/* One more than are taken is free, if there are so many. */
	for (uint32_t i = 0; i < usable && i <= count; i++, at = (at + 1) % usable) {
		address_text(subnet->network + 2 + at, ret);
		if (!is_taken(ret, taken, count))
			return 0;
	}
	address_text(subnet->network, ret);
	return error_set(err, ERROR_BUSY,
			 "all %u addresses of %s/%u are taken: give bangerd a larger subnet by "
			 "BANGER_SUBNET",
			 usable, ret, subnet->prefix);
}

bool net_address_is_user(const char *address)
{
	return !address || !strncmp(address, "127.", 4);
}

unsigned net_ssh_port(const char *address)
{
	return net_address_is_user(address) ? USER_SSH_PORT : GUEST_SSH_PORT;
}
