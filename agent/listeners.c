#include "agent/listeners.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define TABLE_MAX	((size_t)4 << 20)
#define TCP_LISTEN	0x0A
#define UDP_UNCONNECTED 0x07
/* Of all processes together: a guest with more has listeners without a name. */
#define LOOKS_MAX 200000

/* One or four words of eight digits, each in the machine's order, as the kernel prints them. */
static bool parse_address(const char *hex, char address[46])
{
	uint32_t words[4];
	size_t len = strlen(hex);
	if (len != 8 && len != 32)
		return false;
	for (size_t i = 0; i < len / 8; i++) {
		char word[9];
		memcpy(word, hex + i * 8, 8);
		word[8] = '\0';
		words[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	return inet_ntop(len == 8 ? AF_INET : AF_INET6, words, address, 46) != NULL;
}

/* "  0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 1234 1 …" */
static bool parse_line(const char *line, bool udp, struct listener *ret)
{
	char address[33], port[5], state[3], inode[21];
	if (sscanf(line,
		   " %*[0-9]: %32[0-9A-Fa-f]:%4[0-9A-Fa-f] %*[0-9A-Fa-f:] %2[0-9A-Fa-f] "
		   "%*[0-9A-Fa-f:] %*[0-9A-Fa-f:] %*[0-9A-Fa-f] %*[0-9] %*[0-9] %20[0-9]",
		   address, port, state, inode) != 4)
		return false;
	*ret = (struct listener){ .udp = udp };
	ret->port = (uint16_t)strtoul(port, NULL, 16);
	ret->inode = strtoull(inode, NULL, 10);
	unsigned long wanted = udp ? UDP_UNCONNECTED : TCP_LISTEN;
	return ret->port && strtoul(state, NULL, 16) == wanted &&
	       parse_address(address, ret->address);
}

static bool is_known(const struct listeners *found, const struct listener *one)
{
	for (size_t i = 0; i < found->count; i++)
		if (found->at[i].udp == one->udp && found->at[i].port == one->port &&
		    !strcmp(found->at[i].address, one->address))
			return true;
	return false;
}

void listeners_add(struct listeners *found, const char *table, bool udp)
{
	for (const char *line = table; *line; line += *line == '\n') {
		struct listener one;
		char text[256];
		size_t len = strcspn(line, "\n");
		size_t kept = len < sizeof(text) ? len : sizeof(text) - 1;
		memcpy(text, line, kept);
		text[kept] = '\0';
		line += len;
		if (!parse_line(text, udp, &one) || is_known(found, &one))
			continue;
		if (found->count == LISTENERS_MAX)
			found->truncated = true;
		else
			found->at[found->count++] = one;
	}
}

static void read_name(int process, char name[17])
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT;
	if (fs_read(process, "comm", 64, &text, &ignored) < 0)
		return;
	text.data[strcspn(text.data, "\n")] = '\0';
	if (!str_copy(name, 17, text.data))
		name[0] = '\0';
}

static void note_owner(struct listeners *found, const char *link, int process, pid_t pid)
{
	if (strncmp(link, "socket:[", 8) != 0)
		return;
	uint64_t inode = strtoull(link + 8, NULL, 10);
	for (size_t i = 0; i < found->count; i++) {
		struct listener *one = &found->at[i];
		if (one->inode != inode || one->pid)
			continue;
		one->pid = pid;
		read_name(process, one->process);
	}
}

static void look_at_process(struct listeners *found, int process, pid_t pid, unsigned *looks)
{
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *entry; dir && (entry = readdir(dir)) && ++*looks < LOOKS_MAX;) {
		char link[64];
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		if (len <= 0)
			continue;
		link[len] = '\0';
		note_owner(found, link, process, pid);
	}
}

void listeners_find_owners(struct listeners *found, const char *proc)
{
	unsigned looks = 0;
	auto_dir DIR *dir = opendir(proc);
	for (struct dirent *entry; dir && (entry = readdir(dir)) && looks < LOOKS_MAX;) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		auto_close int process =
			openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (process >= 0)
			look_at_process(found, process, (pid_t)strtol(entry->d_name, NULL, 10),
					&looks);
	}
}

int listeners_tell(cJSON *result, struct error *err)
{
	static const struct {
		const char *path;
		bool udp;
	} tables[] = { { "/proc/net/tcp", false },
		       { "/proc/net/tcp6", false },
		       { "/proc/net/udp", true },
		       { "/proc/net/udp6", true } };
	auto_free struct listeners *found = xcalloc(1, sizeof(*found));
	(void)err;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		struct error ignored;
		auto_buf struct buf text = BUF_INIT;
		/* Listening sockets come first: of a table too long, what was read is enough. A
		 * kernel without one of them has nobody who listens there. */
		if (fs_read(AT_FDCWD, tables[i].path, TABLE_MAX, &text, &ignored) == 0 || text.len)
			listeners_add(found, text.data, tables[i].udp);
	}
	listeners_find_owners(found, "/proc");
	json_add_bool(result, "truncated", found->truncated);
	cJSON *list = cJSON_AddArrayToObject(result, "ports");
	for (size_t i = 0; i < found->count; i++) {
		cJSON *one = cJSON_CreateObject();
		json_add_str(one, "proto", found->at[i].udp ? "udp" : "tcp");
		json_add_str(one, "bind", found->at[i].address);
		json_add_int(one, "port", found->at[i].port);
		json_add_int(one, "pid", found->at[i].pid);
		json_add_str(one, "process", found->at[i].process);
		cJSON_AddItemToArray(list, one);
	}
	return 0;
}
