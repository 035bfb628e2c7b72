/* schema/vm_spec.h - what a VM is: the resolved specification.
 *
 * A struct vm_spec is made by spec_load() (from YAML) or vm_spec_from_json() (from the store) and
 * is immutable afterwards, so plan, diff, store and RPC share it as const. Every string lives in
 * the spec's own arena and dies with vm_spec_free(). Members are named like their YAML keys; every
 * one of them has one row in schema/field.c. All fields are always set: an absent key is its
 * default, so that a removed key means "back to the default" and two specs can be compared field by
 * field. */
#ifndef SCHEMA_VM_SPEC_H
#define SCHEMA_VM_SPEC_H

#include "base/cleanup.h"
#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

#define VM_NAME_MAX 63 /* a DNS label */

enum vm_state_wanted { STATE_RUNNING, STATE_STOPPED };
enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum hypervisor_kind { HYPERVISOR_AUTO, HYPERVISOR_QEMU, HYPERVISOR_FIRECRACKER };
enum network_kind { NETWORK_AUTO, NETWORK_USER, NETWORK_BRIDGE };
enum port_proto { PORT_TCP, PORT_UDP };
enum workspace_mode { WORKSPACE_SHALLOW, WORKSPACE_FULL, WORKSPACE_METADATA };
enum ready_kind { READY_SSH, READY_AGENT, READY_TCP, READY_NONE };

struct port_spec {
	const char *address; /* IPv4 text, "127.0.0.1" unless given */
	uint16_t host, guest;
	enum port_proto proto;
};

struct file_spec {
	const char *source; /* absolute path on the host */
	const char *path;   /* absolute path in the guest */
	uint32_t mode;	    /* 0644 unless given */
	const char *owner;  /* "root:root" unless given */
};

struct label_spec {
	const char *key, *value;
};

struct port_list {
	struct port_spec *at;
	size_t count;
};
struct file_list {
	struct file_spec *at;
	size_t count;
};
struct label_list { /* sorted by key */
	struct label_spec *at;
	size_t count;
};
struct string_list {
	const char **at;
	size_t count;
};

struct ready_spec {
	enum ready_kind kind;
	uint16_t port; /* READY_TCP */
	uint64_t timeout_ms;
};

/* A repository of the host in the guest. git is only run by the command line, as its caller. */
#define WORKSPACE_PATH "/root/repo"
struct workspace_spec {
	const char *source; /* absolute path on the host; "" = no workspace */
	const char *path;   /* absolute path in the guest, WORKSPACE_PATH unless given */
	enum workspace_mode mode;
	const char *branch, *from; /* "" = the host's */
	bool include_untracked;
	bool auto_prepare; /* `exec` prepares it when it is missing or not what the source has */
};
const char *workspace_mode_name(enum workspace_mode mode);
/* What is to be in the guest is the same; when it is brought there (auto_prepare) does not count.
 */
bool workspace_spec_equal(const struct workspace_spec *a, const struct workspace_spec *b);

struct arena; /* schema/arena.h */

struct vm_spec {
	char name[VM_NAME_MAX + 1];
	struct arena *arena;

	/* Where it was written; not part of its meaning, never compared. file NULL: not from a
	 * file. */
	const char *file;
	int line, column;
	/* Nor this: the user of this host whose spec it is. `files` are read with his rights, and
	 * his git identity goes along. 0: those of whoever runs it. */
	uint32_t reader;

	const char *image;
	const char *kernel;	 /* "" = the image's kernel */
	const char *kernel_args; /* "" = none */
	uint32_t vcpus;
	uint64_t memory;      /* bytes; 0 = the image's minimum, filled in by spec_load's catalog */
	uint64_t memory_max;  /* bytes; 0 = as memory: vm_spec_memory_max() */
	uint64_t system_disk; /* bytes */
	uint64_t work_disk;   /* bytes, 0 = none */
	bool nat;
	struct port_list ports;
	enum vm_state_wanted state;
	enum restart_policy restart;
	enum hypervisor_kind hypervisor;
	enum network_kind network;
	struct ready_spec ready;
	struct label_list labels;
	struct string_list ssh_keys; /* literal public keys; paths were read when loaded */
	struct file_list files;
	struct workspace_spec workspace;
	struct string_list depends_on; /* VMs or sets of them, sorted */
	uint32_t replicas;	       /* of a file's entry, which is made into so many; else 0 */
	uint32_t max_unavailable;      /* of its set, while that is changed */
	const char *set;	       /* whose replica it is; "" = of none */
	uint64_t ttl_ms;	       /* 0 = none */
	bool protect;
};

void vm_spec_free(struct vm_spec *spec); /* NULL is fine */
DEFINE_CLEANUP(vm_spec, vm_spec_free)
struct vm_spec *vm_spec_copy(const struct vm_spec *spec);

/* What a change of a field does to a running VM, from least to most disruptive. */
#define CHANGE_CLASSES(X) /* name, wire */                                                         \
	X(NONE, "none")                                                                            \
	X(LIVE, "live")                                                                            \
	X(START, "start")                                                                          \
	X(STOP, "stop")                                                                            \
	X(RESTART, "restart")                                                                      \
	X(REIMAGE, "reimage")                                                                      \
	X(DATA_LOSS, "data-loss")
enum change_class {
#define X(name, wire) CLASS_##name,
	CHANGE_CLASSES(X)
#undef X
		CLASS_COUNT_
};
const char *change_class_name(enum change_class class);

/* What a driver can do to a running VM; data for the planner, so that it stays pure. */
struct capabilities {
	bool live_ports;     /* forwardings of a running VM */
	bool live_disk_grow; /* both disks */
	bool live_vcpus;
	bool live_nat;	    /* of the VM at hand, set by plan_vm(): it runs on the bridge */
	bool live_ssh_keys; /* through the agent */
	bool live_memory;   /* within the bounds below */
	/* Of the VM at hand, set by plan_vm(): how little and how much memory its process can have.
	 * 0: it does not run, or was started without room for more. */
	uint64_t memory_floor, memory_ceiling;
};

/* One differing field, as people read it. from/to are owned by the change. */
struct field_change {
	const char *key; /* static */
	char *from, *to; /* "256Mi", "[8080:80/tcp]"; secrets redacted; at most 200 bytes */
	enum change_class class;
	bool pending; /* the planner's: not now, it would need a restart */
};
DEFINE_VEC(field_change_vec, struct field_change)
void field_changes_free(struct field_change_vec *changes);

/* Compares field by field and returns the worst class; ret may be NULL when only that matters.
 * have = what is, want = what shall be. Order of the field table. */
enum change_class vm_spec_diff(const struct vm_spec *have, const struct vm_spec *want,
			       const struct capabilities *can, struct field_change_vec *ret);
/* The most that memory may become without a restart. */
uint64_t vm_spec_memory_max(const struct vm_spec *spec);
bool vm_spec_equal(const struct vm_spec *a, const struct vm_spec *b);

/* "tiny, 2 vcpus, 256Mi" for the line of a creation; the caller frees. */
char *vm_spec_summary(const struct vm_spec *spec);

/* The store's and the wire's form: an object with every key that differs from its default and
 * always image and memory; plus "name". Reading is as strict as YAML: unknown keys and bad
 * values are errors. */
struct cJSON;
struct cJSON *vm_spec_to_json(const struct vm_spec *spec);
struct cJSON *vm_spec_to_json_full(const struct vm_spec *spec); /* every key, for show -o json */
struct vm_spec *vm_spec_from_json(const struct cJSON *json, struct error *err);
/* A workspace alone: members at their default are left out, no workspace is "none". */
struct cJSON *workspace_spec_to_json(const struct workspace_spec *spec);
/* VMs as a YAML document with `version`, `stack` (unless NULL) and `vms`; for show -o yaml.
 * Replicas are VMs of their own there. */
char *vm_specs_to_yaml(const char *stack, const struct vm_spec *const *specs, size_t count);

bool vm_name_valid(const char *name);
/* What a stack is called after its directory: the last part of the path, without the ".d" of
 * /etc/banger/vms.d. It need not be a valid name. */
char *stack_name_of(const char *directory);

#endif
