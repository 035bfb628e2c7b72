/* Theory of operation: a tap is made persistent by its descriptor and joins the bridge by netlink;
 * the hypervisor opens it by name. Everything here looks what is there and makes what is missing,
 * so that a kill between any two calls is made good by the next start, and a tap whose VM never
 * starts again is found by its name (net_tap_sweep()).
 *
 * Making a tap takes a fraction of a millisecond, but taking one away makes the kernel wait for all
 * its processors, some 30 ms in which no link of the host can change. So taps that are done with
 * are kept while others are in use, a few, down and under a name of nobody's, and the first of all
 * makes one ahead; taking one is to rename it. The pool goes with the last tap that is in use.
 *
 * The bridge has an address of its own from the beginning: one of its ports' would change as they
 * come and go, and guests remember it. */
#include "driver/net_bridge.h"
#include "driver/driver.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/route.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void cleanup_socket(struct nl_sock **sock)
{
	nl_socket_free(*sock);
}
#define auto_socket __attribute__((cleanup(cleanup_socket)))
static void cleanup_link(struct rtnl_link **link)
{
	rtnl_link_put(*link);
}
#define auto_link __attribute__((cleanup(cleanup_link)))

static int failed(int number, const char *what, const char *name, struct error *err)
{
	return error_set(err, ERROR_SYSTEM, "cannot %s '%s': %s", what, name, nl_geterror(number));
}

static struct nl_sock *open_socket(struct error *err)
{
	struct nl_sock *sock = nl_socket_alloc();
	int number = sock ? nl_connect(sock, NETLINK_ROUTE) : -NLE_NOMEM;
	if (number == 0)
		return sock;
	failed(number, "ask the kernel for", "netlink", err);
	nl_socket_free(sock);
	return NULL;
}

/* --- is the subnet ours to take? --- */

struct overlap {
	const struct net_subnet *subnet;
	char route[32], device[IFNAMSIZ];
};

static void check_route(struct nl_object *object, void *arg)
{
	struct rtnl_route *route = (struct rtnl_route *)object;
	struct overlap *found = arg;
	struct nl_addr *to = rtnl_route_get_dst(route);
	unsigned prefix = to ? nl_addr_get_prefixlen(to) : 0;
	uint32_t network;
	/* The default route is where everything goes that has no other. */
	if (found->route[0] || !prefix || nl_addr_get_len(to) != sizeof(network))
		return;
	memcpy(&network, nl_addr_get_binary_addr(to), sizeof(network));
	unsigned common = prefix < found->subnet->prefix ? prefix : found->subnet->prefix;
	if ((ntohl(network) ^ found->subnet->network) >> (32 - common))
		return;
	struct rtnl_nexthop *hop =
		rtnl_route_get_nnexthops(route) > 0 ? rtnl_route_nexthop_n(route, 0) : NULL;
	if (hop)
		if_indextoname((unsigned)rtnl_route_nh_get_ifindex(hop), found->device);
	nl_addr2str(to, found->route, sizeof(found->route));
}

static int check_subnet(struct nl_sock *sock, const struct net_subnet *subnet, struct error *err)
{
	struct nl_cache *routes;
	struct overlap found = { .subnet = subnet };
	int number = rtnl_route_alloc_cache(sock, AF_INET, 0, &routes);
	if (number < 0)
		return failed(number, "list", "routes", err);
	nl_cache_foreach(routes, check_route, &found);
	nl_cache_free(routes);
	if (!found.route[0])
		return 0;
	struct in_addr in = { .s_addr = htonl(subnet->network) };
	char text[INET_ADDRSTRLEN];
	return error_set(err, ERROR_CONFLICT,
			 "the subnet %s/%u of '" NET_BRIDGE "' overlaps this host's route to %s on "
			 "'%s': start bangerd with another one in BANGER_SUBNET",
			 inet_ntop(AF_INET, &in, text, sizeof(text)), subnet->prefix, found.route,
			 found.device);
}

int net_subnet_free(const struct net_subnet *subnet, struct error *err)
{
	auto_socket struct nl_sock *sock = open_socket(err);
	if (!sock)
		return -1;
	return if_nametoindex(NET_BRIDGE) ? 0 : check_subnet(sock, subnet, err);
}

/* --- links --- */

/* IPv6 is not spoken on this network: no address of the host's appears by itself. Where the kernel
 * has none there is nothing to switch off. */
static void no_ipv6(const char *name)
{
	auto_free char *path = xasprintf("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	(void)fs_tell(path, "1");
}

static int set_up(struct nl_sock *sock, const char *name, struct error *err)
{
	auto_link struct rtnl_link *link = rtnl_link_alloc(), *change = rtnl_link_alloc();
	if (!link || !change)
		return failed(-NLE_NOMEM, "change", name, err);
	rtnl_link_set_ifindex(link, (int)if_nametoindex(name));
	rtnl_link_set_flags(change, IFF_UP);
	int number = rtnl_link_change(sock, link, change, 0);
	return number < 0 ? failed(number, "set up", name, err) : 0;
}

static int make_link(struct nl_sock *sock, struct error *err)
{
	char mac[18];
	struct nl_addr *address;
	auto_link struct rtnl_link *link = rtnl_link_bridge_alloc();
	net_mac(NET_BRIDGE, mac);
	if (!link || nl_addr_parse(mac, AF_LLC, &address) < 0)
		return failed(-NLE_NOMEM, "make", NET_BRIDGE, err);
	rtnl_link_set_name(link, NET_BRIDGE);
	rtnl_link_set_addr(link, address);
	nl_addr_put(address);
	int number = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
	return number < 0 && number != -NLE_EXIST ? failed(number, "make", NET_BRIDGE, err) : 0;
}

static int set_gateway(struct nl_sock *sock, const struct net_subnet *subnet, int index,
		       struct error *err)
{
	uint32_t gateway = htonl(subnet->network + 1);
	struct rtnl_addr *address = rtnl_addr_alloc();
	struct nl_addr *local = nl_addr_build(AF_INET, &gateway, sizeof(gateway));
	int number = -NLE_NOMEM;
	if (address && local) {
		nl_addr_set_prefixlen(local, (int)subnet->prefix);
		rtnl_addr_set_ifindex(address, index);
		rtnl_addr_set_local(address, local);
		number = rtnl_addr_add(sock, address, NLM_F_CREATE | NLM_F_EXCL);
	}
	nl_addr_put(local);
	rtnl_addr_put(address);
	if (number < 0 && number != -NLE_EXIST)
		return failed(number, "give its address to", NET_BRIDGE, err);
	return 0;
}

static int make_bridge(struct nl_sock *sock, const struct net_subnet *subnet, int *ret_index,
		       struct error *err)
{
	if (!if_nametoindex(NET_BRIDGE) &&
	    (check_subnet(sock, subnet, err) < 0 || make_link(sock, err) < 0))
		return -1;
	*ret_index = (int)if_nametoindex(NET_BRIDGE);
	no_ipv6(NET_BRIDGE);
	if (set_gateway(sock, subnet, *ret_index, err) < 0)
		return -1;
	return set_up(sock, NET_BRIDGE, err);
}

static int remove_link(struct nl_sock *sock, const char *name, struct error *err)
{
	auto_link struct rtnl_link *link = rtnl_link_alloc();
	unsigned index = if_nametoindex(name);
	if (!index)
		return 0;
	if (!link)
		return failed(-NLE_NOMEM, "remove", name, err);
	rtnl_link_set_ifindex(link, (int)index);
	int number = rtnl_link_delete(sock, link);
	return number < 0 && if_nametoindex(name) ? failed(number, "remove", name, err) : 0;
}

/* --- taps --- */

void net_tap_name(const char *id, char ret[NET_TAP_MAX])
{
	if (snprintf(ret, NET_TAP_MAX, NET_TAP_PREFIX "%s", id) >= NET_TAP_MAX)
		BUG("no network interface can be called '" NET_TAP_PREFIX "%s'", id);
}

/* As QEMU and Firecracker will open it; one that is there is only given its owner anew. */
static int make_tap(const char *name, uid_t owner, struct error *err)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, "cannot open '/dev/net/tun'");
	str_copy(request.ifr_name, sizeof(request.ifr_name), name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return error_sys(err, "cannot make '%s'", name);
	if (ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0 || ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return error_sys(err, "cannot keep '%s'", name);
	return 0;
}

/* libnl of this age has no word for it. What is so already is not written: each write is told to
 * all who listen to the host's links. */
static int isolate(const char *name, bool isolated, struct error *err)
{
	char was = 0;
	const char *wanted = isolated ? "1" : "0";
	auto_free char *path = xasprintf("/sys/class/net/%s/brport/isolated", name);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, &was, 1) == 1 && was == wanted[0])
		return 0;
	if (fs_tell(path, wanted) < 0)
		return error_sys(err, "cannot %s '%s' and others on '" NET_BRIDGE "'",
				 isolated ? "part" : "bring together", name);
	return 0;
}

static int put_on_bridge(struct nl_sock *sock, const char *name, int bridge, bool isolated,
			 struct error *err)
{
	no_ipv6(name);
	int number = rtnl_link_enslave_ifindex(sock, bridge, (int)if_nametoindex(name));
	if (number < 0)
		return failed(number, "put on '" NET_BRIDGE "'", name, err);
	return isolate(name, isolated, err);
}

/* --- the pool --- */

#define POOL_MAX 4

static void pool_name(unsigned number, char ret[NET_TAP_MAX])
{
	snprintf(ret, NET_TAP_MAX, NET_TAP_POOLED "%u", number);
}

/* One that is there, or a name for one more. */
static bool pool_find(bool there, char ret[NET_TAP_MAX])
{
	for (unsigned i = 0; i < POOL_MAX; i++) {
		pool_name(i, ret);
		if ((if_nametoindex(ret) != 0) == there)
			return true;
	}
	return false;
}

/* Only what is down can be renamed. */
static int rename_link(struct nl_sock *sock, const char *name, const char *to, struct error *err)
{
	auto_link struct rtnl_link *link = rtnl_link_alloc(), *down = rtnl_link_alloc(),
				   *change = rtnl_link_alloc();
	if (!link || !down || !change)
		return failed(-NLE_NOMEM, "rename", name, err);
	rtnl_link_set_ifindex(link, (int)if_nametoindex(name));
	rtnl_link_unset_flags(down, IFF_UP);
	rtnl_link_set_name(change, to);
	int number = rtnl_link_change(sock, link, down, 0);
	if (number == 0)
		number = rtnl_link_change(sock, link, change, 0);
	return number < 0 ? failed(number, "rename", name, err) : 0;
}

/* For a VM that has none. One that cannot be had is made: nothing is lost. */
static void pool_take(struct nl_sock *sock, const char *name)
{
	char spare[NET_TAP_MAX];
	struct error ignored;
	if (!if_nametoindex(name) && pool_find(true, spare))
		rename_link(sock, spare, name, &ignored);
}

static void pool_make_ahead(struct nl_sock *sock, int bridge, bool isolated)
{
	char spare[NET_TAP_MAX];
	struct error ignored;
	if (!pool_find(true, spare) && pool_find(false, spare) &&
	    make_tap(spare, geteuid(), &ignored) == 0)
		put_on_bridge(sock, spare, bridge, isolated, &ignored);
}

/* Nobody's, and not open: a hypervisor that did not go could listen to the next VM. */
static bool pool_keep(struct nl_sock *sock, const char *name)
{
	char spare[NET_TAP_MAX];
	struct error ignored;
	return if_nametoindex(name) && pool_find(false, spare) &&
	       make_tap(name, geteuid(), &ignored) == 0 &&
	       rename_link(sock, name, spare, &ignored) == 0;
}

static int pool_drop(struct nl_sock *sock, struct error *err)
{
	char spare[NET_TAP_MAX];
	while (pool_find(true, spare))
		if (remove_link(sock, spare, err) < 0)
			return -1;
	return 0;
}

/* --- a VM's --- */

/* Isolated before it is up: there is no moment in which another VM is in reach. */
static int make(const struct net_subnet *subnet, const char *name, uid_t owner, bool isolated,
		struct error *err)
{
	auto_socket struct nl_sock *sock = open_socket(err);
	int bridge;
	if (!sock || make_bridge(sock, subnet, &bridge, err) < 0)
		return -1;
	pool_take(sock, name);
	if (make_tap(name, owner, err) < 0 ||
	    put_on_bridge(sock, name, bridge, isolated, err) < 0 || set_up(sock, name, err) < 0)
		return -1;
	pool_make_ahead(sock, bridge, isolated);
	return 0;
}

static bool is_pooled(const char *name)
{
	return !strncmp(name, NET_TAP_POOLED, strlen(NET_TAP_POOLED));
}

/* Is a tap but this one on the bridge, of those that are in use? When in doubt: yes. */
static bool others_are_used(const char *name)
{
	auto_dir DIR *ports = opendir("/sys/class/net/" NET_BRIDGE "/brif");
	if (!ports)
		return if_nametoindex(NET_BRIDGE) != 0;
	for (const struct dirent *entry; (entry = readdir(ports));)
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, name) != 0 &&
		    !is_pooled(entry->d_name))
			return true;
	return false;
}

static int remove_tap(const char *name, struct error *err)
{
	auto_socket struct nl_sock *sock = open_socket(err);
	if (!sock)
		return -1;
	if (others_are_used(name))
		return is_pooled(name) || pool_keep(sock, name) ? 0 : remove_link(sock, name, err);
	/* The last one last: as long as it is there, a kill leaves something that is looked for. */
	if (pool_drop(sock, err) < 0 || remove_link(sock, name, err) < 0)
		return -1;
	return remove_link(sock, NET_BRIDGE, err);
}

int net_tap_make(const struct net_subnet *subnet, const char *id, uid_t owner, bool isolated,
		 struct error *err)
{
	char name[NET_TAP_MAX];
	net_tap_name(id, name);
	pthread_mutex_lock(&lock);
	int result = make(subnet, name, owner, isolated, err);
	pthread_mutex_unlock(&lock);
	return result;
}

static int isolate_ports(bool isolated, struct error *err)
{
	int result = 0;
	struct error failure;
	auto_dir DIR *ports = opendir("/sys/class/net/" NET_BRIDGE "/brif");
	for (const struct dirent *entry; ports && (entry = readdir(ports));) {
		if (strncmp(entry->d_name, NET_TAP_PREFIX, strlen(NET_TAP_PREFIX)) != 0 ||
		    isolate(entry->d_name, isolated, &failure) == 0 || result < 0)
			continue;
		*err = failure;
		result = -1;
	}
	return result;
}

int net_taps_isolate(bool isolated, struct error *err)
{
	pthread_mutex_lock(&lock);
	int result = isolate_ports(isolated, err);
	pthread_mutex_unlock(&lock);
	return result;
}

int net_tap_remove(const char *id, struct error *err)
{
	char name[NET_TAP_MAX];
	net_tap_name(id, name);
	pthread_mutex_lock(&lock);
	int result = remove_tap(name, err);
	pthread_mutex_unlock(&lock);
	return result;
}

int net_tap_drop_kept(struct error *err)
{
	char spare[NET_TAP_MAX];
	pthread_mutex_lock(&lock);
	int result = pool_find(true, spare) ? remove_tap(spare, err) : 0;
	pthread_mutex_unlock(&lock);
	return result;
}

int net_link_discard(const struct net_link *link, struct error *err)
{
	int result = 0;
	pthread_mutex_lock(&lock);
	unsigned index = if_nametoindex(link->name);
	if (index && index != link->index)
		result =
			error_set(err, ERROR_CONFLICT, "'%s' is another one meanwhile", link->name);
	else if (index && net_link_is_used(link->name))
		result = error_set(err, ERROR_BUSY, "'%s' is in use", link->name);
	else if (index)
		result = remove_tap(link->name, err); /* or the bridge itself */
	pthread_mutex_unlock(&lock);
	return result;
}
