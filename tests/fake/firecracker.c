/* A scripted stand-in for Firecracker, for its protocol and for faults: no guest, but the command
 * line, the API and the vsock that bangerd sees of one. Every call is held against fc_schema.h: a
 * field that the release does not know, a missing one, one of another type, a number that is no
 * plain integer, and a call at the wrong time are refused as Firecracker refuses them.
 *
 * How it behaves stands in the file that $FAKE_FIRECRACKER names, read at every start:
 *   version 1.13.0                      what it is (1.17.0)
 *   fault PUT /drives/root refuse TEXT  400 with that text; delay: never answers; cut: half an
 *                                       answer; crash: ends instead of an answer; huge: without
 *                                       end; answer: that text instead of its own
 *   exit N                              ends at once with that status
 *   off N                               ms that a poweroff takes (20)
 * With FAKE_JAIL it has been started by tests/fake/jailer.c.
 * `firecracker --schema` prints fc_schema.h as JSON. */
#include "fc_schema.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PEERS	 8
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool jailed;
static char version[32] = "1.17.0", fault_call[128], fault_kind[16], fault_text[200];
static long conf_exit = -1, conf_off = 20;
static int vsock = -1, vsock_path_set;
static struct {
	int fd;
	char line[4096];
	size_t len;
	bool open;
} peers[PEERS];
static long off_at = -1;

/* The machine that it has been told to be. */
static struct {
	bool started, paused, root, vsock, hotplug;
	long memory, total, requested;
	char kernel[4096];
	cJSON *drives; /* as they were told */
} vm = { .memory = 128 };

static long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int version_number(void)
{
	char *end;
	long major = strtol(version, &end, 10);
	return (int)V(major, strtol(end + 1, NULL, 10));
}

static void read_conf(void)
{
	const char *path = getenv("FAKE_FIRECRACKER");
	FILE *file = path ? fopen(path, "re") : NULL;
	char line[512], method[8], call[100];
	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "version %31s", version);
		sscanf(line, "exit %ld", &conf_exit);
		sscanf(line, "off %ld", &conf_off);
		if (sscanf(line, "fault %7s %99s %15s %199[^\n]", method, call, fault_kind,
			   fault_text) >= 3)
			snprintf(fault_call, sizeof(fault_call), "%s %s", method, call);
	}
	if (file)
		fclose(file);
}

/* --- answers --- */

static void put(int fd, const char *text)
{
	for (size_t len = strlen(text); len;) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

static void answer(int fd, int status, const char *body)
{
	char head[256];
	if (status == 204)
		snprintf(
			head, sizeof(head),
			"HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n");
	else
		snprintf(head, sizeof(head),
			 "HTTP/1.1 %d \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
			 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
			 status, strlen(body));
	put(fd, head);
	if (status != 204)
		put(fd, body);
}

static void refuse(int fd, const char *text)
{
	cJSON *json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "fault_message", text);
	char *body = cJSON_PrintUnformatted(json);
	answer(fd, 400, body);
	free(body);
	cJSON_Delete(json);
}

static void answer_json(int fd, cJSON *json)
{
	char *body = cJSON_PrintUnformatted(json);
	answer(fd, 200, body);
	free(body);
	cJSON_Delete(json);
}

/* true: this call was to go wrong, and did. */
static bool misbehave(int fd, const char *call)
{
	if (strcmp(call, fault_call) != 0)
		return false;
	if (!strcmp(fault_kind, "refuse")) {
		refuse(fd, fault_text[0] ? fault_text : "told to refuse");
	} else if (!strcmp(fault_kind, "answer")) {
		answer(fd, 200, fault_text);
	} else if (!strcmp(fault_kind, "cut")) {
		put(fd,
		    "HTTP/1.1 200 \r\nServer: Firecracker API\r\nContent-Length: 90\r\n\r\n{\"");
	} else if (!strcmp(fault_kind, "cut-head")) {
		put(fd, "HTTP/1.1 204 \r\nServer: Firecr");
	} else if (!strcmp(fault_kind, "huge")) {
		put(fd, "HTTP/1.1 200 \r\nContent-Length: 100000000\r\n\r\n");
		for (int i = 0; i < 1000; i++)
			put(fd,
			    "0123456789012345678901234567890123456789012345678901234567890123456789"
			    "0123456789012345678901234567890123456789012345678901234567890123456789"
			    "0123456789012345678901234567890123456789012345678901234567890123456789"
			    "0123456789012345678901234567890123456789012345678901234567890123456789"
			    "0123456789012345678901234567890123456789012345678901234567890123456789");
	} else if (!strcmp(fault_kind, "crash")) {
		fprintf(stderr, "Error: told to crash\n");
		_exit(148);
	} else if (!strcmp(fault_kind, "delay")) {
		for (;;)
			sleep(60);
	}
	return true;
}

/* --- the schema --- */

/* Numbers are digits only, outside of strings. */
static bool numbers_are_plain(const char *text)
{
	for (bool quoted = false; *text; text++) {
		if (*text == '\\' && quoted && text[1])
			text++;
		else if (*text == '"')
			quoted = !quoted;
		else if (!quoted && isdigit((unsigned char)*text) &&
			 strchr(".eE", text[1 + (text[1] == '+')]) && text[1])
			return false;
	}
	return true;
}

static const char *field_fault(const struct fc_field *field, const cJSON *value)
{
	static char text[200];
	bool fits = field->type == FC_STRING	? cJSON_IsString(value)
		    : field->type == FC_BOOLEAN ? cJSON_IsBool(value)
		    : field->type == FC_INTEGER ? cJSON_IsNumber(value)
						: cJSON_IsObject(value);
	if (!fits) {
		snprintf(text, sizeof(text), "invalid type for `%s`", field->name);
		return text;
	}
	double number = value->valuedouble;
	if (field->type == FC_INTEGER &&
	    (number < field->min || (field->max > 0 && number > field->max))) {
		snprintf(text, sizeof(text), "invalid value for `%s`: %.0f", field->name, number);
		return text;
	}
	char choice[100];
	if (field->choices)
		snprintf(choice, sizeof(choice), "|%s|", value->valuestring);
	if (field->choices && !strstr(field->choices, choice)) {
		snprintf(text, sizeof(text), "unknown variant `%s`", value->valuestring);
		return text;
	}
	return NULL;
}

static const struct fc_field *find_field(const struct fc_schema *schema, const char *name)
{
	for (const struct fc_field *field = schema->fields; field->name; field++)
		if (!strcmp(field->name, name) && version_number() >= field->since)
			return field;
	return NULL;
}

/* NULL: as it should be. */
static const char *body_fault(const struct fc_schema *schema, const char *text, const cJSON *body)
{
	static char fault[200];
	if (!cJSON_IsObject(body))
		return "expected a map";
	if (!numbers_are_plain(text))
		return "invalid type: floating point, expected an integer";
	for (const cJSON *value = body->child; value; value = value->next) {
		const struct fc_field *field = find_field(schema, value->string);
		const char *bad = field && !cJSON_IsNull(value) ? field_fault(field, value) : NULL;
		if (bad)
			return bad;
		if (field)
			continue;
		snprintf(fault, sizeof(fault), "unknown field `%s`", value->string);
		return fault;
	}
	for (const struct fc_field *field = schema->fields; field->name; field++)
		if (field->required && !cJSON_GetObjectItemCaseSensitive(body, field->name)) {
			snprintf(fault, sizeof(fault), "missing field `%s`", field->name);
			return fault;
		}
	return NULL;
}

/* "/drives/{}" and "/drives/root" -> "root" */
static bool path_fits(const char *pattern, const char *path, const char **ret_id)
{
	size_t len = strcspn(pattern, "{");
	*ret_id = NULL;
	if (!pattern[len])
		return !strcmp(pattern, path);
	*ret_id = path + len;
	return !strncmp(pattern, path, len) && path[len] && !strchr(path + len, '/');
}

/* --- what the calls do --- */

static const char *text_of(const cJSON *body, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(body, name);
	return cJSON_IsString(value) ? value->valuestring : "";
}

static long number_of(const cJSON *body, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(body, name);
	return cJSON_IsNumber(value) ? (long)value->valuedouble : 0;
}

static const char *listen_at(const char *path, int *ret)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address.sun_path))
		return "path must be shorter than SUN_LEN";
	strcpy(address.sun_path, path);
	*ret = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(*ret, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(*ret, 10) < 0)
		return "Address in use (os error 98)";
	return NULL;
}

/* Opened as it will be used, and kept so. */
static const char *no_file(const char *what, const char *path, int flags)
{
	static char text[4200];
	if (open(path, flags | O_CLOEXEC | O_NONBLOCK) >= 0)
		return NULL;
	snprintf(text, sizeof(text), "%s: %s (os error %d)", what, strerror(errno), errno);
	return text;
}

static const char *boot_source(const cJSON *body)
{
	const char *fault = no_file("Boot source error: The kernel file cannot be opened",
				    text_of(body, "kernel_image_path"), O_RDONLY);
	if (!fault)
		fault = no_file("Boot source error: The initrd file cannot be opened",
				text_of(body, "initrd_path"), O_RDONLY);
	if (!fault && strlen(text_of(body, "boot_args")) > 2048)
		fault = "Boot source error: The kernel command line is too long";
	snprintf(vm.kernel, sizeof(vm.kernel), "%s", text_of(body, "kernel_image_path"));
	return fault;
}

static const char *drive(const cJSON *body)
{
	bool root = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(body, "is_root_device"));
	if (root && vm.root)
		return "Drive config error: A root block device already exists!";
	vm.root = vm.root || root;
	bool read_only = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(body, "is_read_only"));
	vm.drives = vm.drives ? vm.drives : cJSON_CreateArray();
	cJSON_AddItemToArray(vm.drives, cJSON_Duplicate(body, true));
	return no_file("Drive config error: Unable to open the block device",
		       text_of(body, "path_on_host"), read_only ? O_RDONLY : O_RDWR);
}

/* Out of a jail a tap that is not there would be made by root, which no test means. */
static const char *network(const cJSON *body)
{
	static char text[200], path[100];
	const char *tap = text_of(body, "host_dev_name");
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	snprintf(path, sizeof(path), "/sys/class/net/%s", tap);
	if (!jailed && access(path, F_OK) < 0)
		return NULL;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tap);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0)
		return NULL;
	snprintf(text, sizeof(text),
		 "Network config error: Open tap device failed: %s (os error %d). Invalid TUN/TAP "
		 "Backend provided by %s.",
		 strerror(errno), errno, tap);
	return text;
}

static const char *instance_start(void)
{
	if (jailed && open("/dev/kvm", O_RDWR | O_CLOEXEC) < 0)
		return "Start microvm error: Error creating KVM object: cannot open /dev/kvm";
	char magic[0x206] = "";
	FILE *file = vm.kernel[0] ? fopen(vm.kernel, "re") : NULL;
	if (!file)
		return "Start microvm error: Cannot start microvm without kernel configuration.";
	size_t len = fread(magic, 1, sizeof(magic), file);
	fclose(file);
	bool elf = len > 4 && !memcmp(magic, "\177ELF", 4);
	bool bzimage = len == sizeof(magic) && !memcmp(magic + 0x202, "HdrS", 4);
	if (!elf && !(bzimage && version_number() >= V(1, 17)))
		return "Start microvm error: Cannot load kernel due to invalid memory "
		       "configuration or invalid kernel image: Kernel Loader: failed to load ELF "
		       "kernel image";
	vm.started = true;
	printf("[    0.000000] Linux version 0 (a stand-in)\n");
	fflush(stdout);
	return NULL;
}

static const char *hotplug(const cJSON *body, bool patch)
{
	long slot = number_of(body, "slot_size_mib"), block = number_of(body, "block_size_mib");
	if (patch) {
		vm.requested = number_of(body, "requested_size_mib");
		if (!vm.hotplug)
			return "Memory hotplug error: no device";
		return vm.requested <= vm.total && vm.requested % 2 == 0
			       ? NULL
			       : "Memory hotplug error: invalid size";
	}
	vm.hotplug = true;
	vm.total = number_of(body, "total_size_mib");
	if (!vm.total || vm.total % slot || slot % block || (block & (block - 1)))
		return "Memory hotplug error: sizes do not fit";
	return NULL;
}

static const char *act(const char *method, const char *path, const cJSON *body)
{
	const char *fault = NULL;
	if (!strcmp(path, "/machine-config")) {
		vm.memory = number_of(body, "mem_size_mib");
	} else if (!strcmp(path, "/boot-source")) {
		fault = boot_source(body);
	} else if (!strncmp(path, "/drives/", 8)) {
		fault = !strcmp(method, "PUT")
				? drive(body)
				: no_file("Drive config error: Unable to open the block device",
					  text_of(body, "path_on_host"), O_RDWR);
	} else if (!strncmp(path, "/network-interfaces/", 20)) {
		fault = !strcmp(method, "PUT") ? network(body) : NULL;
	} else if (!strcmp(path, "/vsock")) {
		if (vsock_path_set++)
			fault = "Vsock config error: already set";
		else if ((fault = listen_at(text_of(body, "uds_path"), &vsock)))
			fault = "Vsock config error: Cannot create backend for vsock device: "
				"UnixBind(Os { code: 98, kind: AddrInUse })";
	} else if (!strcmp(path, "/balloon")) {
		if (number_of(body, "amount_mib") > vm.memory)
			fault = "Balloon config error: Amount of pages requested is too large.";
	} else if (!strcmp(path, "/hotplug/memory")) {
		fault = hotplug(body, !strcmp(method, "PATCH"));
	} else if (!strcmp(path, "/vm")) {
		vm.paused = !strcmp(text_of(body, "state"), "Paused");
	} else if (!strcmp(path, "/actions")) {
		bool start = !strcmp(text_of(body, "action_type"), "InstanceStart");
		if (start == vm.started)
			return start ? "The requested operation is not supported after starting the "
				       "microVM."
				     : "The requested operation is not supported before starting "
				       "the microVM.";
		fault = start ? instance_start() : NULL;
	}
	return fault;
}

static void get(int fd, const char *path)
{
	cJSON *json = cJSON_CreateObject();
	if (!strcmp(path, "/version")) {
		cJSON_AddStringToObject(json, "firecracker_version", version);
	} else if (!strcmp(path, "/")) {
		cJSON_AddStringToObject(json, "id", "anonymous-instance");
		cJSON_AddStringToObject(json, "state",
					!vm.started ? "Not started"
					: vm.paused ? "Paused"
						    : "Running");
		cJSON_AddStringToObject(json, "vmm_version", version);
		cJSON_AddStringToObject(json, "app_name", "Firecracker");
	} else if (!strcmp(path, "/vm/config")) {
		cJSON_AddItemReferenceToObject(json, "drives", vm.drives);
	} else if (!strcmp(path, "/machine-config")) {
		cJSON_AddNumberToObject(json, "mem_size_mib", (double)vm.memory);
	} else if (!strcmp(path, "/hotplug/memory")) {
		cJSON_AddNumberToObject(json, "total_size_mib", (double)vm.total);
		cJSON_AddNumberToObject(json, "block_size_mib", 4);
		cJSON_AddNumberToObject(json, "slot_size_mib", 128);
		cJSON_AddNumberToObject(json, "plugged_size_mib", (double)vm.requested);
		cJSON_AddNumberToObject(json, "requested_size_mib", (double)vm.requested);
	}
	answer_json(fd, json);
}

static void invalid_call(int fd, const char *method, const char *path)
{
	char text[300];
	snprintf(text, sizeof(text), "Invalid request method and/or path: %s %s.", method,
		 path + 1);
	refuse(fd, text);
}

static const char *id_fault(const char *id, const cJSON *body)
{
	if (!id)
		return NULL;
	for (const char *c = id; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return "API Resource IDs can only contain alphanumeric characters and "
			       "underscores.";
	const char *named = text_of(body, "drive_id");
	named = named[0] ? named : text_of(body, "iface_id");
	return strcmp(named, id) ? "The id from the path does not match the id from the body!"
				 : NULL;
}

static void call(int fd, const char *method, const char *path, const char *text)
{
	const struct fc_schema *schema = NULL;
	const char *id = NULL;
	for (size_t i = 0; i < COUNT(fc_schema) && !schema; i++)
		if (!strcmp(fc_schema[i].method, method) &&
		    path_fits(fc_schema[i].path, path, &id) &&
		    version_number() >= fc_schema[i].since)
			schema = &fc_schema[i];
	if (!schema || (!strcmp(method, "GET") && text[0])) {
		invalid_call(fd, method, path);
		return;
	}
	cJSON *body = text[0] ? cJSON_Parse(text) : NULL;
	const char *fault =
		schema->fields[0].name || text[0] ? body_fault(schema, text, body) : NULL;
	char whole[400];
	if (!strcmp(method, "GET"))
		fault = NULL;
	if (fault) {
		snprintf(whole, sizeof(whole),
			 "An error occurred when deserializing the json body of a request: %s at "
			 "line 1 column 2.",
			 fault);
		fault = whole;
	}
	if (!fault)
		fault = id_fault(id, body);
	if (!fault && !(schema->when & (vm.started ? FC_POST : FC_PRE)))
		fault = vm.started ? "The requested operation is not supported after starting the "
				     "microVM."
				   : "The requested operation is not supported before starting the "
				     "microVM.";
	if (!fault && strcmp(method, "GET") != 0)
		fault = act(method, path, body);
	cJSON_Delete(body);
	if (fault)
		refuse(fd, fault);
	else if (!strcmp(method, "GET"))
		get(fd, path);
	else
		answer(fd, 204, "");
}

/* --- HTTP --- */

/* One connection to its end; each request in a few reads. */
static void serve_api(int fd)
{
	char in[65536], method[8], path[200], name[300];
	size_t len = 0;
	for (;;) {
		in[len] = '\0';
		char *body = strstr(in, "\r\n\r\n");
		const char *length = strcasestr(in, "\r\nContent-Length:");
		size_t want = body && length && length < body ? strtoul(length + 17, NULL, 10) : 0;
		if (!body || len < (size_t)(body + 4 - in) + want) {
			ssize_t got = recv(fd, in + len, sizeof(in) - 1 - len, 0);
			if (got <= 0)
				return;
			len += (size_t)got;
			continue;
		}
		body += 4;
		if (strcasestr(in, "\r\nTransfer-Encoding:") ||
		    sscanf(in, "%7s %199s HTTP/1.1\r\n", method, path) != 2) {
			refuse(fd, "Empty PUT request.");
			return;
		}
		char rest = body[want];
		body[want] = '\0';
		snprintf(name, sizeof(name), "%s %s", method, path);
		if (misbehave(fd, name))
			return;
		call(fd, method, path, body);
		body[want] = rest;
		len -= (size_t)(body + want - in);
		memmove(in, body + want, len);
	}
}

/* --- vsock, and the agent behind it --- */

static void agent_says(int fd, const char *line)
{
	char text[512];
	const char *id = strstr(line, "\"id\":");
	if (!id)
		return;
	if (strstr(line, "hello"))
		snprintf(
			text, sizeof(text),
			"{\"id\":%ld,\"result\":{\"version\":1,\"boot_id\":\"%08x-0000-4000-8000-000000000000\",\"phase\":"
			"\"ready\",\"ready\":true,\"phases\":{}}}\n",
			strtol(id + 5, NULL, 10), (unsigned)getpid());
	else
		snprintf(text, sizeof(text), "{\"id\":%ld,\"result\":{}}\n",
			 strtol(id + 5, NULL, 10));
	put(fd, text);
	if (strstr(line, "poweroff") && off_at < 0)
		off_at = now_ms() + conf_off;
}

static void hang_up(size_t i)
{
	close(peers[i].fd);
	peers[i].fd = -1;
	peers[i].len = 0;
	peers[i].open = false;
}

static void peer_line(size_t i, const char *line)
{
	long port = -1;
	if (peers[i].open) {
		agent_says(peers[i].fd, line);
		return;
	}
	sscanf(line, "CONNECT %ld", &port);
	/* The guest listens when it has been started. */
	if (!vm.started || port != 1024) {
		hang_up(i);
		return;
	}
	peers[i].open = true;
	put(peers[i].fd, "OK 1073741824\n");
}

static void peer_readable(size_t i)
{
	char chunk[1024];
	ssize_t got = recv(peers[i].fd, chunk, sizeof(chunk), 0);
	if (got <= 0) {
		hang_up(i);
		return;
	}
	for (ssize_t at = 0; at < got && peers[i].fd >= 0; at++) {
		if (chunk[at] != '\n') {
			if (peers[i].len < sizeof(peers[i].line) - 1)
				peers[i].line[peers[i].len++] = chunk[at];
			continue;
		}
		peers[i].line[peers[i].len] = '\0';
		peers[i].len = 0;
		peer_line(i, peers[i].line);
	}
}

static void accept_peer(void)
{
	int fd = accept4(vsock, NULL, NULL, SOCK_CLOEXEC);
	for (size_t i = 0; i < PEERS; i++)
		if (peers[i].fd < 0) {
			peers[i].fd = fd;
			return;
		}
	close(fd);
}

static void serve(int api)
{
	for (;;) {
		struct pollfd fds[2 + PEERS] = { { .fd = api, .events = POLLIN },
						 { .fd = vsock, .events = POLLIN } };
		for (size_t i = 0; i < PEERS; i++)
			fds[2 + i] = (struct pollfd){ .fd = peers[i].fd, .events = POLLIN };
		poll(fds, COUNT(fds), off_at >= 0 ? 10 : -1);
		/* A guest ends it by a reset; the sockets stay. */
		if (off_at >= 0 && now_ms() >= off_at)
			exit(0);
		if (fds[0].revents) {
			int fd = accept4(api, NULL, NULL, SOCK_CLOEXEC);
			serve_api(fd);
			close(fd);
		}
		for (size_t i = 0; i < PEERS; i++)
			if (fds[2 + i].revents)
				peer_readable(i);
		if (fds[1].revents)
			accept_peer();
	}
}

/* --- the command line --- */

static void print_schema(void)
{
	static const char *const types[] = { "string", "boolean", "integer", "object" };
	const char *separator = "[";
	for (size_t i = 0; i < COUNT(fc_schema); i++) {
		printf("%s\n{\"method\": \"%s\", \"path\": \"%s\", \"since\": %d, \"fields\": {",
		       separator, fc_schema[i].method, fc_schema[i].path, fc_schema[i].since);
		separator = ",";
		const char *comma = "";
		for (const struct fc_field *field = fc_schema[i].fields; field->name; field++) {
			printf("%s\"%s\": {\"type\": \"%s\", \"required\": %s, \"since\": %d, "
			       "\"choices\": \"%s\"}",
			       comma, field->name, types[field->type],
			       field->required ? "true" : "false", field->since,
			       field->choices ? field->choices : "");
			comma = ", ";
		}
		printf("}}");
	}
	puts("\n]");
}

static void die(int status, const char *text)
{
	fprintf(stderr, "%s\n", text);
	exit(status);
}

/* The last step of tests/fake/jailer.c: the jail is the working directory, and mounted. */
static void enter_jail(const char *jail)
{
	unsigned uid, gid;
	jailed = true;
	if (sscanf(jail, "%u %u", &uid, &gid) != 2 || mkdir("old_root", 0700) < 0 ||
	    syscall(SYS_pivot_root, ".", "old_root") < 0 || chdir("/") < 0 ||
	    umount2("old_root", MNT_DETACH) < 0 || rmdir("old_root") < 0)
		die(1, "cannot enter the jail");
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		die(1, "cannot become another user");
}

/* Those that the jailer adds. */
static bool is_times(const char *option)
{
	return jailed &&
	       (!strcmp(option, "--start-time-us") || !strcmp(option, "--start-time-cpu-us") ||
		!strcmp(option, "--parent-cpu-time-us"));
}

static void check_id(const char *id)
{
	size_t len = strlen(id);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)id[i]) && id[i] != '-')
			die(134, "Invalid instance ID: InvalidChar");
	if (!len || len > 64)
		die(134, "Invalid instance ID: InvalidLen");
}

int main(int argc, char **argv)
{
	const char *socket_path = "/run/firecracker.socket", *fault;
	int api;
	read_conf();
	if (argc > 1 && !strcmp(argv[1], "--schema")) {
		print_schema();
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		printf("Firecracker v%s\n\n", version);
		return 0;
	}
	if (getenv("FAKE_JAIL"))
		enter_jail(getenv("FAKE_JAIL"));
	if (conf_exit >= 0)
		die((int)conf_exit, "the stand-in was told to fail");
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			die(153, "Arguments parsing error: a value is missing");
		if (!strcmp(argv[i], "--id"))
			check_id(argv[i + 1]);
		else if (!strcmp(argv[i], "--api-sock"))
			socket_path = argv[i + 1];
		else if (!strcmp(argv[i], "--log-path") && version_number() < V(1, 14) &&
			 access(argv[i + 1], W_OK) < 0)
			die(1, "Could not initialize logger: No such file or directory");
		else if (strcmp(argv[i], "--log-path") && strcmp(argv[i], "--level") &&
			 !is_times(argv[i]))
			die(153, "Arguments parsing error: Found argument which wasn't expected");
	}
	for (size_t i = 0; i < PEERS; i++)
		peers[i].fd = -1;
	fault = listen_at(socket_path, &api);
	if (fault)
		die(1, "RunWithApiError error: Failed to open the API socket at: "
		       "fc.sock. Check that it is not already used.");
	serve(api);
}
