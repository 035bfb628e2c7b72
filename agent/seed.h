/* agent/seed.h - what a VM is told about itself at boot: /banger/seed.json of its initrd.
 *
 * The host writes it, the agent reads it once. Version 1:
 *
 *	{"version": 1, "id": "a1b2c3d4", "name": "web", "hostname": "web",
 *	 "hypervisor": "qemu",                                or "firecracker"
 *	 "root": {"serial": "root"},              the virtio-blk serial of the disk, or "/dev/vda"
 *	 "work": {"serial": "work", "mount": "/root"},        or null
 *	 "network": {"mac": "52:54:00:12:34:56", "address": "10.0.2.15/24",
 *	             "gateway": "10.0.2.2", "dns": ["10.0.2.3"]},     or null; gateway may be null
 *	 "ready": {"kind": "ssh", "port": 22},                ssh | agent | tcp | none
 *	 "init": null,                                        or the path of the image's init
 *	 "authorized_keys": ["ssh-ed25519 …"],
 *	 "files": [{"path": "/etc/motd", "mode": 420, "owner": "root:root", "blob": 0}]}
 *
 * The bytes of a file are /banger/files/<blob> of the same initrd. "owner" is USER or USER:GROUP,
 * names of the guest or numbers. A member that is not known, missing or of another type is an
 * error: agent and host are of one build, so it can only be a fault. */
#ifndef AGENT_SEED_H
#define AGENT_SEED_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEED_VERSION   1
#define SEED_MAX_BYTES ((size_t)4 << 20)
#define SEED_MAX_KEYS  1024
#define SEED_MAX_FILES 4096
#define SEED_MAX_DNS   3 /* what a resolver reads of resolv.conf */

enum seed_ready_kind { SEED_READY_SSH, SEED_READY_AGENT, SEED_READY_TCP, SEED_READY_NONE };

/* Firecracker has no virtio-serial ports (agent/vsock.h) and ends by a reset (agent/power.h). */
enum seed_hypervisor { SEED_QEMU, SEED_FIRECRACKER };

struct seed_network {
	char mac[18];	  /* lower case, "" when the VM has no network */
	uint32_t address; /* this and the next in network byte order */
	uint32_t netmask;
	uint32_t gateway; /* 0: none */
	char *dns[SEED_MAX_DNS];
	size_t dns_count;
};

struct seed_file {
	char *path; /* absolute, no ".." */
	char *owner;
	uint32_t mode; /* at most 07777 */
	uint32_t blob;
};

struct seed {
	char *id, *name, *hostname;
	enum seed_hypervisor hypervisor;
	char *root_serial;
	char *work_serial, *work_mount; /* NULL: no work disk */
	char *modules_serial;		/* NULL: no disk of modules */
	struct seed_network network;
	enum seed_ready_kind ready_kind;
	uint16_t ready_port; /* 0 when the kind needs none */
	char *init;	     /* NULL: look for one */
	char **keys;
	size_t key_count;
	struct seed_file *files;
	size_t file_count;
};

struct cJSON;

/* text need not be terminated. Fails with ERROR_INVALID, naming the member. */
struct seed *seed_parse(const char *text, size_t len, struct error *err);
void seed_free(struct seed *seed); /* accepts NULL */
DEFINE_CLEANUP(seed, seed_free)

/* The member "ready" alone, into ready_kind and ready_port. */
int seed_parse_ready(const struct cJSON *object, struct seed *seed, struct error *err);

/* One line for authorized_keys: printable, no line break, of a sane length. */
bool seed_key_is_sane(const char *key);

#endif
