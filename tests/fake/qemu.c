/* A scripted stand-in for QEMU, for faults and for many VMs at once: no guest, but everything that
 * bangerd sees of one. It is called qemu-system-x86_64, takes QEMU's command line, binds the ports
 * that are to be forwarded, and serves monitor, agent and console in its working directory.
 *
 * How it behaves stands in the file that $FAKE_QEMU names, read at every start and again before
 * memory changes or a file system grows, "key number" lines:
 *   exit N       ends at once with that status       mute 1       its monitor never says a word
 *   rubbish 1    what its monitor says is no JSON    rubbish 2    ... from its first answer on
 *   ready N      ms until the agent says ready       deaf 1       the agent ignores poweroff
 *   off N        ms that a poweroff takes            die N        ms until it dies by itself
 *   flood 1      the agent talks without end         garbage 1    ... and it is no JSON
 *   agent 0      nothing answers on the agent's port
 *   lie 1        ... what is asked of it is answered with one kind of nonsense after the other
 *   follow N     percent of a change of memory that the guest goes along with (100)
 *   grow 0       the agent grows no file system
 *   console N    writes so many numbered lines to the console, 40 KB in 10 ms
 *
 * A VM's kernel_args may say the same for itself alone, as fake.ready=100. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MONITOR, AGENT, CONSOLE, PORTS };
static const char *const names[PORTS] = { "qmp.sock", "agent.sock", "console.sock" };
static struct {
	int listener, peer;
	char line[4096];
	size_t len;
} ports[PORTS];
static long conf_exit = -1, conf_mute, conf_ready = 50, conf_deaf, conf_off = 20, conf_die = -1,
	    conf_flood, conf_garbage, conf_agent = 1, conf_console, conf_lie, conf_rubbish,
	    conf_follow = 100, conf_grow = 1;
static const struct {
	const char *key;
	long *value;
} keys[] = { { "exit", &conf_exit },	 { "mute", &conf_mute },
	     { "ready", &conf_ready },	 { "deaf", &conf_deaf },
	     { "off", &conf_off },	 { "die", &conf_die },
	     { "flood", &conf_flood },	 { "garbage", &conf_garbage },
	     { "agent", &conf_agent },	 { "console", &conf_console },
	     { "lie", &conf_lie },	 { "rubbish", &conf_rubbish },
	     { "follow", &conf_follow }, { "grow", &conf_grow } };
static char boot_id[40];
static long long memory_start, memory_asked, memory_plugged;
static long off_at = -1;
static bool is_ready;

static long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Of a guest that runs only what it does when it is resized. */
static void read_conf(bool at_start)
{
	const char *path = getenv("FAKE_QEMU");
	FILE *file = path ? fopen(path, "re") : NULL;
	char key[16];
	long value;
	while (file && fscanf(file, "%15s %ld", key, &value) == 2)
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (!strcmp(key, keys[i].key) &&
			    (at_start || keys[i].value == &conf_follow ||
			     keys[i].value == &conf_grow))
				*keys[i].value = value;
	if (file)
		fclose(file);
}

static void read_kernel_args(const char *append)
{
	for (const char *at = append; (at = strstr(at, "fake.")); at++)
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			size_t len = strlen(keys[i].key);
			if (!strncmp(at + 5, keys[i].key, len) && at[5 + len] == '=')
				*keys[i].value = strtol(at + 6 + len, NULL, 10);
		}
}

/* "user,id=net0,...,hostfwd=tcp:127.0.0.1:8080-:80,...": taken as QEMU would take them. */
static void bind_ports(const char *netdev)
{
	for (const char *at = netdev; (at = strstr(at, "hostfwd=")); at++) {
		char proto[4], host[16], rule[64];
		unsigned port;
		if (sscanf(at, "hostfwd=%3[a-z]:%15[0-9.]:%u", proto, host, &port) != 3)
			continue;
		struct sockaddr_in to = { .sin_family = AF_INET,
					  .sin_port = htons((uint16_t)port) };
		inet_pton(AF_INET, host, &to.sin_addr);
		bool tcp = !strcmp(proto, "tcp");
		int fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0),
		    on = 1;
		if (tcp)
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
		    (!tcp || listen(fd, 1) == 0))
			continue;
		snprintf(rule, sizeof(rule), "%.*s", (int)strcspn(at + 8, ","), at + 8);
		fprintf(stderr, "Could not set up host forwarding rule '%s'\n", rule);
		exit(1);
	}
}

static void say(int which, const char *text)
{
	static bool greeted;
	if (which == MONITOR && (conf_rubbish == 1 || (conf_rubbish == 2 && greeted)))
		text = "}{ this is no JSON\r\n";
	greeted = true;
	if (ports[which].peer >= 0)
		send(ports[which].peer, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void end(const char *reason)
{
	char event[128];
	snprintf(event, sizeof(event),
		 "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"%s\"}}\r\n",
		 reason);
	say(MONITOR, event);
	exit(0);
}

/* N times item, and brackets around it, as a long line's worth. */
static void say_much(long id, const char *before, const char *item, const char *after)
{
	static char text[65536];
	size_t len = (size_t)snprintf(text, sizeof(text), "{\"id\":%ld,\"result\":%s", id, before);
	while (len + strlen(item) + strlen(after) + 3 < sizeof(text))
		len += (size_t)sprintf(text + len, "%s", item);
	sprintf(text + len, "%s}\n", after);
	say(AGENT, text);
}

static void agent_lies(long id)
{
	static const char *const lies[] = {
		"{\"id\":%ld,\"result\":7}\n",
		"{\"id\":%ld,\"result\":{\"ports\":7,\"boot_id\":[1],\"cpus\":-4,\"ok\":\"yes\","
		"\"uptime_ms\":1e999,\"memory_total\":99999999999999999999,\"problems\":{}}}\n",
		"{\"id\":%ld,\"error\":{\"code\":\"\\u001b[2Jnone\",\"text\":\"\\u001b[2J\\u0007\\n\"}}\n",
		"{\"id\":%ld,\"error\":[],\"result\":[]}\n",
		"{\"id\":4711,\"result\":{}}\n{\"id\":null,\"id\":%ld,\"result\":{}}\n",
		"{\"id\":%ld}\n",
		"{\"id\":%ld,\"result\":{\"boot_id\":\"\\u001b]0;x\\u0007\",\"problems\":[\"\\u001b[2J\"],"
		"\"ports\":[{\"proto\":\"\\u001b[2J\",\"port\":70000,\"process\":[]}]}}\n",
	};
	static unsigned turn;
	unsigned kind = turn++ % (sizeof(lies) / sizeof(lies[0]) + 4);
	char text[512];
	if (kind < sizeof(lies) / sizeof(lies[0])) {
		snprintf(text, sizeof(text), lies[kind], id);
		say(AGENT, text);
		return;
	}
	switch (kind - sizeof(lies) / sizeof(lies[0])) {
	case 0:
		say_much(id, "{\"ports\":[0", ",{}", "]}");
		break;
	case 1:
		say_much(id, "{\"problems\":[0", ",[]", "]}");
		break;
	case 2:
		say_much(id, "", "[", "");
		break;
	default:
		break; /* nothing at all */
	}
}

static long long number_after(const char *line, const char *key)
{
	const char *at = strstr(line, key);
	return at ? strtoll(at + strlen(key), NULL, 10) : 0;
}

/* As root the system disk may be a snapshot, which bangerd grows itself: of its device. */
static long long snapshot_size(void)
{
	char cwd[512], device[600];
	const char *id = getcwd(cwd, sizeof(cwd)) ? strrchr(cwd, '/') : NULL;
	snprintf(device, sizeof(device), "/dev/mapper/banger-%s", id ? id + 1 : "");
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	long long have = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	if (fd >= 0)
		close(fd);
	return have;
}

/* The size of a disk as a guest sees it; grow > 0: make it so. */
static long long disk_size(bool work, long long grow)
{
	if (!work && access("root.cow", F_OK) == 0)
		return snapshot_size();
	const char *name = work				? "work.img"
			   : access("root.qcow2", F_OK) ? "root.img"
							: "root.qcow2";
	bool qcow2 = strstr(name, "qcow2") != NULL;
	unsigned char size[8];
	int fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	for (int i = 0; i < 8; i++)
		size[i] = (unsigned char)(grow >> (56 - 8 * i));
	if (grow && (qcow2 ? pwrite(fd, size, 8, 24) != 8 : ftruncate(fd, grow) < 0))
		perror(name);
	long long have = lseek(fd, 0, SEEK_END);
	if (qcow2 && pread(fd, size, 8, 24) == 8)
		for (int i = have = 0; i < 8; i++)
			have = have << 8 | size[i];
	close(fd);
	return have;
}

/* With 100 percent the guest goes along at last, whenever it is looked at. */
static void follow_memory(bool asked)
{
	char event[160];
	read_conf(false);
	if (!asked && conf_follow < 100)
		return;
	long long before = memory_plugged, block = 4 << 20;
	memory_plugged += (memory_asked - memory_plugged) / block * conf_follow / 100 * block;
	snprintf(event, sizeof(event),
		 "{\"event\":\"MEMORY_DEVICE_SIZE_CHANGE\",\"data\":{\"id\":\"memory1\","
		 "\"size\":%lld}}\r\n",
		 memory_plugged);
	if (memory_plugged != before)
		say(MONITOR, event);
}

/* What is asked about size; false: something else. */
static bool size_says(const char *line)
{
	char text[256] = "{\"return\":{}}\r\n";
	bool asks = strstr(line, "requested-size"), looks = strstr(line, "query-memory-devices");
	if (asks)
		memory_asked = number_after(line, "\"value\":");
	if (asks || looks)
		follow_memory(asks);
	if (strstr(line, "query-memory-size-summary"))
		snprintf(text, sizeof(text), "{\"return\":{\"base-memory\":%lld}}\r\n",
			 memory_start);
	else if (looks)
		snprintf(text, sizeof(text),
			 "{\"return\":[{\"type\":\"virtio-mem\",\"data\":{\"id\":\"memory1\","
			 "\"size\":%lld,\"requested-size\":%lld}}]}\r\n",
			 memory_plugged, memory_asked);
	else if (strstr(line, "block_resize"))
		disk_size(strstr(line, "\"work\""), number_after(line, "\"size\":"));
	else if (!asks)
		return false;
	say(MONITOR, text);
	return true;
}

static void agent_grows(long id, const char *line)
{
	char text[160];
	read_conf(false);
	if (conf_grow)
		snprintf(text, sizeof(text), "{\"id\":%ld,\"result\":{\"bytes\":%lld}}\n", id,
			 disk_size(strstr(line, "\"work\""), 0));
	else
		snprintf(text, sizeof(text),
			 "{\"id\":%ld,\"error\":{\"code\":\"system\",\"text\":\"it will not\"}}\n",
			 id);
	say(AGENT, text);
}

static void agent_says(const char *line)
{
	char text[512];
	const char *id = strstr(line, "\"id\":");
	if (!id || !conf_agent)
		return;
	if (conf_lie && (strstr(line, "ping") || strstr(line, "stats") || strstr(line, "ports") ||
			 strstr(line, "health"))) {
		agent_lies(strtol(id + 5, NULL, 10));
		return;
	}
	if (strstr(line, "hello"))
		snprintf(
			text, sizeof(text),
			"{\"id\":%ld,\"result\":{\"version\":1,\"boot_id\":\"%s\",\"phase\":\"%s\","
			"\"ready\":%s,\"phases\":{}}}\n",
			strtol(id + 5, NULL, 10), boot_id, is_ready ? "ready" : "mounted",
			is_ready ? "true" : "false");
	else if (strstr(line, "\"grow\"")) {
		agent_grows(strtol(id + 5, NULL, 10), line);
		return;
	} else
		snprintf(text, sizeof(text), "{\"id\":%ld,\"result\":{}}\n",
			 strtol(id + 5, NULL, 10));
	say(AGENT, text);
	if (strstr(line, "poweroff") && !conf_deaf && off_at < 0)
		off_at = now_ms() + conf_off;
}

static void monitor_says(const char *line)
{
	if (size_says(line))
		return;
	if (strstr(line, "info usernet"))
		say(MONITOR, "{\"return\":\"  TCP[HOST_FORWARD]  9  127.64.0.1  2222  10.0.2.15  "
			     "22  0  0\\r\\n"
			     "\"}\r\n");
	else
		say(MONITOR,
		    strstr(line, "human") ? "{\"return\":\"\"}\r\n" : "{\"return\":{}}\r\n");
	if (strstr(line, "\"quit\""))
		end("host-qmp-quit");
}

static void readable(int which)
{
	char chunk[1024];
	ssize_t got = recv(ports[which].peer, chunk, sizeof(chunk), 0);
	if (got <= 0) {
		close(ports[which].peer);
		ports[which].peer = -1;
		return;
	}
	for (ssize_t i = 0; i < got; i++) {
		if (chunk[i] != '\n') {
			if (ports[which].len < sizeof(ports[which].line) - 1)
				ports[which].line[ports[which].len++] = chunk[i];
			continue;
		}
		ports[which].line[ports[which].len] = '\0';
		ports[which].len = 0;
		if (which == MONITOR)
			monitor_says(ports[which].line);
		else if (which == AGENT)
			agent_says(ports[which].line);
	}
}

static void accepted(int which)
{
	ports[which].peer = accept4(ports[which].listener, NULL, NULL, SOCK_CLOEXEC);
	ports[which].len = 0;
	if (which == MONITOR && !conf_mute)
		say(MONITOR, "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n");
}

static void open_ports(void)
{
	for (int i = 0; i < PORTS; i++) {
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		snprintf(address.sun_path, sizeof(address.sun_path), "%s", names[i]);
		ports[i].peer = -1;
		ports[i].listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(ports[i].listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		    listen(ports[i].listener, 1) < 0) {
			perror(names[i]);
			exit(1);
		}
	}
}

static void talk(void)
{
	static char much[60000];
	if (!much[0]) {
		memset(much, conf_garbage ? '{' : ' ', sizeof(much) - 1);
		if (!conf_garbage)
			memcpy(much, "{\"event\":\"noise\"}", 17);
		for (size_t i = conf_garbage ? 30000 : 100; i < sizeof(much); i += 100)
			much[i] = conf_garbage ? '{' : ' ';
		much[sizeof(much) - 2] = '\n';
	}
	if (ports[AGENT].peer >= 0)
		send(ports[AGENT].peer, much, sizeof(much) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Whole lines, and none is lost when nobody reads for a while. */
static void write_console(void)
{
	static long number;
	static char chunk[40000];
	static size_t len, sent;
	if (ports[CONSOLE].peer < 0 || (number >= conf_console && sent == len))
		return;
	if (sent == len)
		for (len = sent = 0; len < sizeof(chunk) - 64 && number < conf_console; number++)
			len += (size_t)snprintf(chunk + len, 64,
						"line %08ld of what the guest says\n", number);
	ssize_t put =
		send(ports[CONSOLE].peer, chunk + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
	sent += put > 0 ? (size_t)put : 0;
}

static void serve(long began)
{
	for (;;) {
		struct pollfd fds[PORTS];
		for (int i = 0; i < PORTS; i++)
			fds[i] = (struct pollfd){ .fd = ports[i].peer >= 0 ? ports[i].peer
									   : ports[i].listener,
						  .events = POLLIN };
		if (conf_flood && ports[AGENT].peer >= 0)
			fds[AGENT].events |= POLLOUT;
		poll(fds, PORTS, 10);
		for (int i = 0; i < PORTS; i++) {
			if (!fds[i].revents)
				continue;
			if (fds[i].fd == ports[i].listener)
				accepted(i);
			else if (fds[i].revents & ~POLLOUT)
				readable(i);
		}
		if (conf_flood)
			talk();
		write_console();
		long age = now_ms() - began;
		if (conf_agent && !is_ready && conf_ready >= 0 && age >= conf_ready) {
			is_ready = true;
			say(AGENT,
			    "{\"event\":\"phase\",\"params\":{\"phase\":\"ready\",\"uptime_ms\":9,"
			    "\"ready\":true}}\n");
		}
		if (off_at >= 0 && now_ms() >= off_at)
			end("guest-shutdown");
		if (conf_die >= 0 && age >= conf_die)
			_exit(3);
	}
}

int main(int argc, char **argv)
{
	long began = now_ms();
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		puts("QEMU emulator version 7.2.22 (a stand-in)");
		return 0;
	}
	read_conf(true);
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "-append"))
			read_kernel_args(argv[i + 1]);
	if (conf_exit >= 0) {
		fprintf(stderr, "the stand-in was told to fail\n");
		return (int)conf_exit;
	}
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "-netdev"))
			bind_ports(argv[i + 1]);
		else if (!strcmp(argv[i], "-m"))
			memory_start = strtoll(argv[i + 1], NULL, 10) << 20;
	snprintf(boot_id, sizeof(boot_id), "%08x-0000-4000-8000-%012lx", (unsigned)getpid(),
		 (unsigned long)began & 0xffffffffffff);
	open_ports();
	serve(began);
}
