/* Whom this host asks for names: what a guest on the bridge is told. A resolver on the host's own
 * loopback is out of a guest's reach, so systemd-resolved's list of those behind it is read then.
 */
#include "driver/net_bridge.h"
#include "driver/scan.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/vec.h"

#include <arpa/inet.h>
#include <fcntl.h>

#define FILE_MAX (64u << 10)

static bool server_of(const char *line, char ret[16])
{
	struct in_addr in;
	return scan_text(&line, "nameserver") && scan_blanks(&line) &&
	       scan_word(&line, "0123456789.", ret, 16) && inet_pton(AF_INET, ret, &in) == 1 &&
	       ntohl(in.s_addr) >> 24 != 127 && in.s_addr;
}

bool net_resolv_conf_parse(const char *text, char ret[16])
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (server_of(line, ret))
			return true;
	}
	ret[0] = '\0';
	return false;
}

void net_upstream_dns(char ret[16])
{
	static const char *const paths[] = { "/etc/resolv.conf",
					     "/run/systemd/resolve/resolv.conf" };
	ret[0] = '\0';
	for (size_t i = 0; i < ARRAY_COUNT(paths) && !ret[0]; i++) {
		auto_buf struct buf text = BUF_INIT;
		struct error ignored;
		if (fs_read(AT_FDCWD, paths[i], FILE_MAX, &text, &ignored) == 0 && text.len)
			net_resolv_conf_parse(text.data, ret);
	}
}
