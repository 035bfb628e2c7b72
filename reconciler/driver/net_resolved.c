/* Theory of operation: what systemd-resolved is told belongs to the bridge as a link of the host:
 * it keeps that over its own restarts and forgets it when the link goes, so there is nothing to
 * undo. That something was told shows as a file of the link's, whose content is nobody else's
 * business: on a bridge of ours nobody but us says anything. */
#include "driver/net_dns.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/proc.h"
#include "sys/unix.h"

#include <fcntl.h>
#include <net/if.h>

#define RESOLVED_SOCKET	   "/run/systemd/resolve/io.systemd.Resolve"
#define RESOLVED_LINKS	   "/run/systemd/resolve/netif"
#define RESOLVECTL_MS	   20000
#define CONNECT_TIMEOUT_MS 100

enum resolved_state net_resolved_state(void)
{
	struct error ignored;
	auto_close int fd =
		unix_connect(AT_FDCWD, RESOLVED_SOCKET, CONNECT_TIMEOUT_MS, 0, &ignored);
	if (fd < 0)
		return RESOLVED_ABSENT;
	auto_free char *link = xasprintf(RESOLVED_LINKS "/%u", if_nametoindex(NET_BRIDGE));
	return access(link, F_OK) == 0 ? RESOLVED_ASKS_US : RESOLVED_ASKS_OTHERS;
}

char **net_resolved_domains(const struct net_subnet *subnet)
{
	unsigned octets = (subnet->prefix + 7) / 8;
	size_t count = (size_t)1 << (octets * 8 - subnet->prefix), used = 0;
	char **ret = xcalloc(count + 2, sizeof(*ret));
	ret[used++] = xstrdup("~" NET_DNS_ZONE);
	for (size_t i = 0; i < count; i++) {
		uint32_t at = subnet->network + (uint32_t)((uint64_t)i << (32 - octets * 8));
		auto_buf struct buf name = BUF_INIT;
		buf_add(&name, "~");
		for (unsigned octet = octets; octet > 0; octet--)
			buf_addf(&name, "%u.", at >> (32 - octet * 8) & 0xff);
		buf_add(&name, "in-addr.arpa");
		ret[used++] = buf_take(&name);
	}
	return ret;
}

static int tell(const char *const *argv, struct error *err)
{
	const struct proc_run run = { .argv = argv, .timeout_ms = RESOLVECTL_MS };
	if (proc_check(&run, NULL, err) == 0)
		return 0;
	return error_wrap(err, "systemd-resolved is not told about names in ." NET_DNS_ZONE);
}

static int tell_domains(const struct net_subnet *subnet, struct error *err)
{
	char **domains = net_resolved_domains(subnet);
	size_t count = 0;
	while (domains[count])
		count++;
	auto_free const char **argv = xcalloc(count + 4, sizeof(*argv));
	argv[0] = "resolvectl";
	argv[1] = "domain";
	argv[2] = NET_BRIDGE;
	for (size_t i = 0; i < count; i++)
		argv[3 + i] = domains[i];
	int result = tell(argv, err);
	for (size_t i = 0; i < count; i++)
		free(domains[i]);
	free(domains);
	return result;
}

/* Nothing on the bridge is trusted to answer for a name, so neither of the ways in which everybody
 * on a link may. The server comes last: with it we are asked. */
int net_resolved_route(const struct net_subnet *subnet, struct error *err)
{
	char gateway[16];
	static const char *const off[] = { "default-route", "llmnr", "mdns", "dnssec",
					   "dnsovertls" };
	net_subnet_gateway(subnet, gateway);
	for (size_t i = 0; i < ARRAY_COUNT(off); i++)
		if (tell((const char *const[]){ "resolvectl", off[i], NET_BRIDGE, "no", NULL },
			 err) < 0)
			return -1;
	if (tell_domains(subnet, err) < 0)
		return -1;
	return tell((const char *const[]){ "resolvectl", "dns", NET_BRIDGE, gateway, NULL }, err);
}
