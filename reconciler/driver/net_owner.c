/* Theory of operation: /proc/net/{tcp,udp}[6] give the inode and the uid of a port's socket, and
 * /proc/<pid>/fd the processes that hold the inode, as far as we may look. An IPv4 port can be held
 * by an IPv6 socket bound to "::"; those files are looked at last. */
#include "driver/net_user.h"
#include "driver/scan.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pwd.h>
#include <string.h>

#define TABLE_MAX  (16u << 20) /* of /proc/net/tcp: 100,000 connections */
#define TCP_LISTEN 0x0a

struct owner {
	uint64_t inode;
	uid_t uid;
};

/* The address as these files print it: words of host byte order. */
static bool address_overlaps(const char *hex, size_t len, uint32_t wanted)
{
	static const char v4_in_v6[] = "0000000000000000FFFF0000";
	bool v6 = len == 32;
	if (v6 && strncmp(hex, v4_in_v6, 24) != 0 && strspn(hex, "0") < 32)
		return false;
	if (!v6 && len != 8)
		return false;
	char word[9] = "";
	memcpy(word, hex + (v6 ? 24 : 0), 8);
	uint32_t have = (uint32_t)strtoul(word, NULL, 16);
	return have == wanted || have == 0 || wanted == 0;
}

/* One column: blanks and then anything that is none. */
static bool skip_column(const char **at)
{
	if (!scan_blanks(at))
		return false;
	*at += strcspn(*at, " \t");
	return true;
}

/* "  0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 uid timeout inode ..." */
static bool parse_row(const char *line, const struct port_spec *port, uint32_t wanted,
		      struct owner *ret)
{
	char local[33];
	uint64_t number, state, uid, inode;
	line += strspn(line, " \t"); /* none before a number of five digits */
	line += strcspn(line, " \t");
	if (!scan_blanks(&line) || !scan_word(&line, "0123456789ABCDEF", local, sizeof(local)) ||
	    !scan_text(&line, ":") || !scan_number(&line, 16, UINT16_MAX, &number) ||
	    !skip_column(&line) || !scan_blanks(&line) || !scan_number(&line, 16, 255, &state))
		return false;
	if (number != port->host || (port->proto == PORT_TCP && state != TCP_LISTEN) ||
	    !address_overlaps(local, strlen(local), wanted))
		return false;
	for (int i = 0; i < 3; i++) /* queues, timer, retransmissions */
		if (!skip_column(&line))
			return false;
	if (!scan_blanks(&line) || !scan_number(&line, 10, UINT32_MAX, &uid) ||
	    !skip_column(&line) || !scan_blanks(&line) ||
	    !scan_number(&line, 10, UINT64_MAX, &inode) || !inode)
		return false;
	*ret = (struct owner){ .inode = inode, .uid = (uid_t)uid };
	return true;
}

static bool find_in_table(int net_dirfd, const char *table, const struct port_spec *port,
			  struct owner *ret)
{
	struct error err;
	struct in_addr in;
	auto_buf struct buf text = BUF_INIT;
	if (inet_pton(AF_INET, port->address, &in) != 1 ||
	    fs_read(net_dirfd, table, TABLE_MAX, &text, &err) < 0)
		return false;
	char *rest = text.data;
	for (char *line; (line = strsep(&rest, "\n"));)
		if (parse_row(line, port, in.s_addr, ret))
			return true;
	return false;
}

/* --- from inode to process --- */

struct holder {
	int proc_dirfd;
	char link[40]; /* "socket:[123]" */
};

/* proc_each: the pid itself stops the search. */
static int holds(void *cookie, pid_t pid)
{
	const struct holder *holder = cookie;
	char name[32];
	snprintf(name, sizeof(name), "%d/fd", (int)pid);
	auto_dir DIR *dir = fs_list(holder->proc_dirfd, name);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char link[40];
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		if (len <= 0)
			continue;
		link[len] = '\0';
		if (!strcmp(link, holder->link))
			return (int)pid;
	}
	return 0;
}

static char *user_text(uid_t uid)
{
	struct passwd entry, *found = NULL;
	char room[4096];
	if (getpwuid_r(uid, &entry, room, sizeof(room), &found) == 0 && found)
		return xasprintf("another user's process (user %s)", found->pw_name);
	return xasprintf("another user's process (uid %u)", (unsigned)uid);
}

char *net_port_owner(int proc_dirfd, int net_dirfd, const struct port_spec *port)
{
	struct owner owner;
	bool tcp = port->proto == PORT_TCP;
	if (!find_in_table(net_dirfd, tcp ? "tcp" : "udp", port, &owner) &&
	    !find_in_table(net_dirfd, tcp ? "tcp6" : "udp6", port, &owner))
		return NULL;
	struct holder holder = { .proc_dirfd = proc_dirfd };
	snprintf(holder.link, sizeof(holder.link), "socket:[%" PRIu64 "]", owner.inode);
	int pid = proc_each(proc_dirfd, holds, &holder);
	if (pid > 0)
		return proc_describe((pid_t)pid);
	return owner.uid == geteuid() ? xstrdup("a process of yours that cannot be seen from here")
				      : user_text(owner.uid);
}
