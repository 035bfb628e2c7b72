#include "agent/net.h"
#include "agent/phase.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define WAIT_STEP_MS 5
#define MAC_FILE_MAX 64

int net_find(const char *class_path, const char *mac, char *name, size_t size, struct error *err)
{
	auto_dir DIR *dir = opendir(class_path);
	if (!dir)
		return error_sys(err, "cannot list '%s'", class_path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		struct error ignored;
		auto_buf struct buf text = BUF_INIT;
		auto_free char *path = xasprintf("%s/%s/address", class_path, entry->d_name);
		if (fs_read(AT_FDCWD, path, MAC_FILE_MAX, &text, &ignored) == 0 &&
		    text.len >= strlen(mac) && !strncmp(text.data, mac, strlen(mac)) &&
		    str_copy(name, size, entry->d_name))
			return 0;
	}
	return error_set(err, ERROR_NOT_FOUND, "no network interface with address '%s'", mac);
}

static int wait_for_interface(const char *mac, unsigned timeout_ms, char name[IFNAMSIZ],
			      struct error *err)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_MS * 1000000L };
	for (uint64_t until = uptime_ms() + timeout_ms;;) {
		if (net_find("/sys/class/net", mac, name, IFNAMSIZ, err) == 0)
			return 0;
		if (uptime_ms() >= until)
			return error_append(err, " after %u ms", timeout_ms);
		nanosleep(&step, NULL);
	}
}

static int set_up(int sock, const char *name, struct error *err)
{
	struct ifreq request = { 0 };
	str_copy(request.ifr_name, IFNAMSIZ, name);
	if (ioctl(sock, SIOCGIFFLAGS, &request) < 0)
		return error_sys(err, "cannot ask for interface '%s'", name);
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	if (ioctl(sock, SIOCSIFFLAGS, &request) < 0)
		return error_sys(err, "cannot bring up interface '%s'", name);
	return 0;
}

static struct sockaddr_in internet(uint32_t address)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = address };
}

static int set_address(int sock, const char *name, const struct seed_network *net,
		       struct error *err)
{
	struct ifreq request = { 0 };
	str_copy(request.ifr_name, IFNAMSIZ, name);
	struct sockaddr_in address = internet(net->address), netmask = internet(net->netmask);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	if (ioctl(sock, SIOCSIFADDR, &request) < 0)
		return error_sys(err, "cannot set the address of '%s'", name);
	memcpy(&request.ifr_netmask, &netmask, sizeof(netmask));
	if (ioctl(sock, SIOCSIFNETMASK, &request) < 0)
		return error_sys(err, "cannot set the netmask of '%s'", name);
	return 0;
}

static int set_route(int sock, char *name, const struct seed_network *net, struct error *err)
{
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = name };
	struct sockaddr_in any = internet(0), gateway = internet(net->gateway);
	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	memcpy(&route.rt_gateway, &gateway, sizeof(gateway));
	if (ioctl(sock, SIOCADDRT, &route) < 0 && errno != EEXIST)
		return error_sys(err, "cannot set the default route of '%s'", name);
	return 0;
}

int net_up(const struct seed_network *net, unsigned timeout_ms, struct error *err)
{
	char name[IFNAMSIZ];
	auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return error_sys(err, "cannot open a socket");
	if (set_up(sock, "lo", err) < 0)
		return -1;
	if (!net->mac[0])
		return 0;
	if (wait_for_interface(net->mac, timeout_ms, name, err) < 0 ||
	    set_address(sock, name, net, err) < 0 || set_up(sock, name, err) < 0)
		return -1;
	return net->gateway ? set_route(sock, name, net, err) : 0;
}
