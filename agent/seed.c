#include "agent/seed.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/vec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

/* Kernel limits: a virtio-blk serial has 20 bytes, a hostname 64. */
#define SERIAL_MAX   20
#define NAME_MAX_LEN 63
#define PATH_LEN_MAX 1024
#define KEY_MAX	     16384

static int bad(struct error *err, const char *where, const char *what)
{
	return error_set(err, ERROR_INVALID, "seed: '%s' %s", where, what);
}

/* Every member known, and none twice: cJSON would keep both and show the first. */
static int check_members(const cJSON *object, const char *where, const char *const *known,
			 struct error *err)
{
	if (!cJSON_IsObject(object))
		return bad(err, where, "is not an object");
	for (const cJSON *item = object->child; item; item = item->next) {
		size_t i = 0;
		while (known[i] && strcmp(known[i], item->string))
			i++;
		if (!known[i])
			return bad(err, item->string, "is not known");
		if (json_get(object, item->string) != item)
			return bad(err, item->string, "is given twice");
	}
	return 0;
}

static int copy_text(const cJSON *object, const char *key, size_t max, char **ret,
		     struct error *err)
{
	const char *text = json_str(object, key, NULL);
	if (!text)
		return bad(err, key, "is not a string");
	size_t len = strlen(text);
	if (!len || len > max)
		return bad(err, key, "has a wrong length");
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)text[i]))
			return bad(err, key, "holds a control character");
	*ret = xstrdup(text);
	return 0;
}

/* Absolute and without "." and ".." parts, so that it is what it looks like. */
static int copy_path(const cJSON *object, const char *key, char **ret, struct error *err)
{
	if (copy_text(object, key, PATH_LEN_MAX, ret, err) < 0)
		return -1;
	const char *path = *ret;
	if (path[0] != '/' || !path[1])
		return bad(err, key, "is not an absolute path");
	for (const char *part = path; *part;) {
		part++;
		size_t len = strcspn(part, "/");
		if (len == 0 || (len <= 2 && strspn(part, ".") >= len))
			return bad(err, key, "has an empty, '.' or '..' part");
		part += len;
	}
	return 0;
}

static int parse_hostname(const cJSON *object, struct seed *seed, struct error *err)
{
	if (copy_text(object, "hostname", NAME_MAX_LEN, &seed->hostname, err) < 0)
		return -1;
	for (const char *c = seed->hostname; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.')
			return bad(err, "hostname", "has a character no hostname has");
	return 0;
}

static int parse_disks(const cJSON *object, struct seed *seed, struct error *err)
{
	static const char *const root_keys[] = { "serial", NULL };
	static const char *const work_keys[] = { "serial", "mount", NULL };
	const cJSON *root = json_get(object, "root"), *work = json_get(object, "work");
	const cJSON *modules = json_get(object, "modules");
	if (check_members(root, "root", root_keys, err) < 0 ||
	    copy_text(root, "serial", SERIAL_MAX, &seed->root_serial, err) < 0)
		return -1;
	if (modules && (check_members(modules, "modules", root_keys, err) < 0 ||
			copy_text(modules, "serial", SERIAL_MAX, &seed->modules_serial, err) < 0))
		return -1;
	if (cJSON_IsNull(work))
		return 0;
	if (check_members(work, "work", work_keys, err) < 0 ||
	    copy_text(work, "serial", SERIAL_MAX, &seed->work_serial, err) < 0)
		return -1;
	return copy_path(work, "mount", &seed->work_mount, err);
}

static int parse_mac(const char *text, char mac[18])
{
	if (strlen(text) != 17)
		return -1;
	for (size_t i = 0; i < 17; i++) {
		unsigned char c = (unsigned char)text[i];
		if (i % 3 == 2 ? c != ':' : !isxdigit(c))
			return -1;
		mac[i] = (char)tolower(c);
	}
	mac[17] = '\0';
	return 0;
}

/* "10.0.2.15/24" */
static int parse_cidr(const char *text, struct seed_network *net)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return -1;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	char *end;
	unsigned long prefix = strtoul(slash + 1, &end, 10);
	if (!isdigit((unsigned char)slash[1]) || *end || prefix > 32)
		return -1;
	if (inet_pton(AF_INET, address, &net->address) != 1)
		return -1;
	net->netmask = prefix ? htonl(UINT32_MAX << (32 - prefix)) : 0;
	return 0;
}

static int parse_dns(const cJSON *list, struct seed_network *net, struct error *err)
{
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > SEED_MAX_DNS)
		return bad(err, "dns", "is not a list of at most three");
	const cJSON *item;
	cJSON_ArrayForEach(item, list)
	{
		unsigned char address[sizeof(struct in6_addr)];
		if (!cJSON_IsString(item) || (inet_pton(AF_INET, item->valuestring, address) != 1 &&
					      inet_pton(AF_INET6, item->valuestring, address) != 1))
			return bad(err, "dns", "holds something that is no address");
		net->dns[net->dns_count++] = xstrdup(item->valuestring);
	}
	return 0;
}

static int parse_network(const cJSON *object, struct seed_network *net, struct error *err)
{
	static const char *const keys[] = { "mac", "address", "gateway", "dns", NULL };
	if (cJSON_IsNull(object))
		return 0;
	if (check_members(object, "network", keys, err) < 0)
		return -1;
	if (parse_mac(json_str(object, "mac", ""), net->mac) < 0) {
		net->mac[0] = '\0';
		return bad(err, "mac", "is not like 52:54:00:12:34:56");
	}
	if (parse_cidr(json_str(object, "address", ""), net) < 0)
		return bad(err, "address", "is not like 10.0.2.15/24");
	const cJSON *gateway = json_get(object, "gateway");
	if (!cJSON_IsNull(gateway) &&
	    inet_pton(AF_INET, json_str(object, "gateway", ""), &net->gateway) != 1)
		return bad(err, "gateway", "is not an address");
	return parse_dns(json_get(object, "dns"), net, err);
}

static int parse_hypervisor(const cJSON *object, struct seed *seed, struct error *err)
{
	const char *name = json_str(object, "hypervisor", "");
	if (!strcmp(name, "firecracker"))
		seed->hypervisor = SEED_FIRECRACKER;
	else if (strcmp(name, "qemu") != 0)
		return bad(err, "hypervisor", "is neither qemu nor firecracker");
	return 0;
}

int seed_parse_ready(const cJSON *object, struct seed *seed, struct error *err)
{
	static const char *const keys[] = { "kind", "port", NULL };
	static const char *const kinds[] = {
		[SEED_READY_SSH] = "ssh",
		[SEED_READY_AGENT] = "agent",
		[SEED_READY_TCP] = "tcp",
		[SEED_READY_NONE] = "none",
	};
	if (check_members(object, "ready", keys, err) < 0)
		return -1;
	const char *kind = json_str(object, "kind", "");
	size_t i = 0;
	while (i < ARRAY_COUNT(kinds) && strcmp(kinds[i], kind))
		i++;
	if (i == ARRAY_COUNT(kinds))
		return bad(err, "kind", "is not one of ssh, agent, tcp, none");
	seed->ready_kind = (enum seed_ready_kind)i;
	if (seed->ready_kind == SEED_READY_AGENT || seed->ready_kind == SEED_READY_NONE)
		return 0;
	int64_t fallback = seed->ready_kind == SEED_READY_SSH && !json_get(object, "port") ? 22 : 0;
	int64_t port = json_int(object, "port", fallback);
	if (port < 1 || port > 65535)
		return bad(err, "port", "is not a port");
	seed->ready_port = (uint16_t)port;
	return 0;
}

bool seed_key_is_sane(const char *key)
{
	size_t len = strlen(key);
	if (!len || len > KEY_MAX || key[0] == '#')
		return false;
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)key[i]))
			return false;
	return true;
}

static int parse_keys(const cJSON *list, struct seed *seed, struct error *err)
{
	int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
	if (count < 0 || count > SEED_MAX_KEYS)
		return bad(err, "authorized_keys", "is not a list, or too long");
	seed->keys = xcalloc((size_t)count, sizeof(*seed->keys));
	const cJSON *item;
	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_IsString(item) || !seed_key_is_sane(item->valuestring))
			return bad(err, "authorized_keys", "holds something that is no key line");
		seed->keys[seed->key_count++] = xstrdup(item->valuestring);
	}
	return 0;
}

static int parse_file(const cJSON *object, struct seed_file *file, struct error *err)
{
	static const char *const keys[] = { "path", "mode", "owner", "blob", NULL };
	if (check_members(object, "files", keys, err) < 0 ||
	    copy_path(object, "path", &file->path, err) < 0 ||
	    copy_text(object, "owner", (size_t)2 * NAME_MAX_LEN, &file->owner, err) < 0)
		return -1;
	int64_t mode = json_int(object, "mode", -1), blob = json_int(object, "blob", -1);
	if (mode < 0 || mode > 07777)
		return bad(err, "mode", "is not a file mode");
	if (blob < 0 || blob >= SEED_MAX_FILES)
		return bad(err, "blob", "is not a file's number");
	file->mode = (uint32_t)mode;
	file->blob = (uint32_t)blob;
	return 0;
}

static int parse_files(const cJSON *list, struct seed *seed, struct error *err)
{
	int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
	if (count < 0 || count > SEED_MAX_FILES)
		return bad(err, "files", "is not a list, or too long");
	seed->files = xcalloc((size_t)count, sizeof(*seed->files));
	const cJSON *item;
	cJSON_ArrayForEach(item, list)
	{
		/* Counted first, so that a half-read one is freed as well. */
		if (parse_file(item, &seed->files[seed->file_count++], err) < 0)
			return -1;
	}
	return 0;
}

static int parse_init(const cJSON *object, struct seed *seed, struct error *err)
{
	if (cJSON_IsNull(json_get(object, "init")))
		return 0;
	return copy_path(object, "init", &seed->init, err);
}

static int parse_all(const cJSON *object, struct seed *seed, struct error *err)
{
	static const char *const keys[] = { "version",	       "id",	"name",
					    "hostname",	       "root",	"work",
					    "network",	       "ready", "init",
					    "authorized_keys", "files", "modules",
					    "hypervisor",      NULL };
	if (check_members(object, "seed", keys, err) < 0)
		return -1;
	if (json_int(object, "version", 0) != SEED_VERSION)
		return bad(err, "version", "is not 1");
	if (copy_text(object, "id", NAME_MAX_LEN, &seed->id, err) < 0 ||
	    copy_text(object, "name", NAME_MAX_LEN, &seed->name, err) < 0 ||
	    parse_hostname(object, seed, err) < 0 || parse_hypervisor(object, seed, err) < 0 ||
	    parse_disks(object, seed, err) < 0 ||
	    parse_network(json_get(object, "network"), &seed->network, err) < 0 ||
	    seed_parse_ready(json_get(object, "ready"), seed, err) < 0 ||
	    parse_init(object, seed, err) < 0 ||
	    parse_keys(json_get(object, "authorized_keys"), seed, err) < 0)
		return -1;
	return parse_files(json_get(object, "files"), seed, err);
}

struct seed *seed_parse(const char *text, size_t len, struct error *err)
{
	if (len > SEED_MAX_BYTES) {
		error_set(err, ERROR_INVALID, "seed: larger than %zu bytes", SEED_MAX_BYTES);
		return NULL;
	}
	auto_json cJSON *object = json_parse(text, len, err);
	if (!object) {
		error_wrap(err, "seed");
		return NULL;
	}
	auto_ptr(seed) seed = xcalloc(1, sizeof(*seed));
	if (parse_all(object, seed, err) < 0)
		return NULL;
	return take_ptr(&seed);
}

void seed_free(struct seed *seed)
{
	if (!seed)
		return;
	for (size_t i = 0; i < seed->network.dns_count; i++)
		free(seed->network.dns[i]);
	for (size_t i = 0; i < seed->key_count; i++)
		free(seed->keys[i]);
	for (size_t i = 0; i < seed->file_count; i++) {
		free(seed->files[i].path);
		free(seed->files[i].owner);
	}
	free(seed->keys);
	free(seed->files);
	free(seed->id);
	free(seed->name);
	free(seed->hostname);
	free(seed->root_serial);
	free(seed->work_serial);
	free(seed->modules_serial);
	free(seed->work_mount);
	free(seed->init);
	free(seed);
}
