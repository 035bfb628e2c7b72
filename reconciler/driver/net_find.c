/* What of links on this host is ours: a tap by the id in its name, the bridge by its name and the
 * address that it was made with. Of anything else of such a name nothing is known. */
#include "driver/net_bridge.h"
#include "driver/driver.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>

#define ATTRIBUTE_MAX 256

static bool attribute(const char *name, const char *what, struct buf *ret)
{
	struct error ignored;
	auto_free char *path = xasprintf("/sys/class/net/%s/%s", name, what);
	buf_reset(ret);
	if (fs_read(AT_FDCWD, path, ATTRIBUTE_MAX, ret, &ignored) < 0)
		return false;
	ret->data[strcspn(ret->data, "\n")] = '\0';
	return true;
}

static bool is_tap(const char *name)
{
	auto_buf struct buf flags = BUF_INIT;
	return !strncmp(name, NET_TAP_PREFIX, strlen(NET_TAP_PREFIX)) &&
	       vm_id_fits(name + strlen(NET_TAP_PREFIX)) && attribute(name, "tun_flags", &flags) &&
	       strtoul(flags.data, NULL, 16) & IFF_TAP;
}

static bool is_bridge(const char *name)
{
	char mac[18];
	auto_buf struct buf address = BUF_INIT;
	net_mac(NET_BRIDGE, mac);
	return !strcmp(name, NET_BRIDGE) && attribute(name, "address", &address) &&
	       !strcmp(address.data, mac);
}

static bool has_ports(const char *bridge)
{
	auto_free char *path = xasprintf("/sys/class/net/%s/brif", bridge);
	auto_dir DIR *ports = opendir(path);
	for (const struct dirent *entry; ports && (entry = readdir(ports));)
		if (entry->d_name[0] != '.')
			return true;
	return false;
}

bool net_link_is_used(const char *name)
{
	auto_buf struct buf carrier = BUF_INIT;
	if (!strcmp(name, NET_BRIDGE))
		return has_ports(name);
	/* There is one as long as a process has the tap open; unreadable: it is down. */
	return attribute(name, "carrier", &carrier) && !strcmp(carrier.data, "1");
}

static void add(struct net_link_vec *ret, const struct if_nameindex *found, const char *id)
{
	struct net_link link = { .index = found->if_index };
	str_copy(link.name, sizeof(link.name), found->if_name);
	str_copy(link.id, sizeof(link.id), id);
	link.used = net_link_is_used(link.name);
	net_link_vec_push(ret, link);
}

void net_links_find(struct net_link_vec *ret)
{
	struct if_nameindex *links = if_nameindex();
	const struct if_nameindex *bridge = NULL;
	for (const struct if_nameindex *at = links; at && at->if_index; at++) {
		if (is_tap(at->if_name))
			add(ret, at, at->if_name + strlen(NET_TAP_PREFIX));
		else if (is_bridge(at->if_name))
			bridge = at;
	}
	if (bridge)
		add(ret, bridge, "");
	if_freenameindex(links);
}

int net_tap_sweep(const char *vms_dir, struct error *err)
{
	int result = 0;
	struct error failure;
	struct net_link_vec found = { 0 };
	net_links_find(&found);
	for (size_t i = 0; i < found.count; i++) {
		const struct net_link *link = &found.at[i];
		if ((link->id[0] ? vm_lock_is_held(vms_dir, link->id) : link->used) ||
		    net_link_discard(link, &failure) == 0)
			continue;
		if (result == 0)
			*err = failure;
		result = -1;
	}
	net_link_vec_clear(&found);
	return result == 0 ? net_tap_drop_kept(err) : -1;
}
