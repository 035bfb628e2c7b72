/* What is told to a new Firecracker, call by call: a row of the table each. Sizes are whole MiB, so
 * that every number is a small integer: cJSON writes one from 10^15 on with an exponent, which
 * Firecracker refuses. */
#include "driver/fc.h"
#include "base/mem.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

#define GUEST_CID     3 /* each process has its own number space */
#define ENTROPY_BYTES 65536
#define ENTROPY_MS    100
#define API_MAX_MIB   (UINT64_C(1022) * 1024)

struct context {
	const struct vm_machine *machine;
	const char *kernel;
	fc_version version;
};

/* Room for more memory, in whole slots; 0: none is wanted, or this version has no way. */
static uint64_t room_mib(const struct context *c)
{
	const struct vm_machine *m = c->machine;
	if (!fc_can(c->version, FC_HOTPLUG) || m->memory_max <= m->memory)
		return 0;
	return (m->memory_max - m->memory + FC_MEMORY_SLOT - 1) / FC_MEMORY_SLOT *
	       (FC_MEMORY_SLOT / MIB);
}

static cJSON *machine_config(const struct context *c)
{
	cJSON *body = cJSON_CreateObject();
	json_add_int(body, "vcpu_count", c->machine->vcpus);
	json_add_int(body, "mem_size_mib", (int64_t)(c->machine->memory / MIB));
	json_add_bool(body, "smt", false);
	return body;
}

/* reboot=k: only a reset through the keyboard controller ends a Firecracker. Its own arguments,
 * which these replace, forbid modules and leave the console out. pci=off, virtio_mmio.device= and
 * root= are appended by it; the last is nothing to an initrd with an init. */
static char *boot_args(const struct context *c)
{
	const char *user = c->machine->kernel_args ? c->machine->kernel_args : "";
	const char *plug = room_mib(c) ? " memhp_default_state=online_movable" : "";
	return xasprintf("console=ttyS0 quiet reboot=k panic=1 i8042.noaux i8042.nomux "
			 "i8042.dumbkbd cryptomgr.notests%s%s%s",
			 plug, *user ? " " : "", user);
}

static cJSON *boot_source(const struct context *c)
{
	cJSON *body = cJSON_CreateObject();
	auto_free char *args = boot_args(c);
	json_add_str(body, "kernel_image_path", c->kernel);
	json_add_str(body, "initrd_path", VM_FILE_INITRD);
	json_add_str(body, "boot_args", args);
	return body;
}

/* Writeback: the guest's flushes reach the host's disk; the default drops them. */
static cJSON *drive(const char *id, const char *file, bool root)
{
	cJSON *body = cJSON_CreateObject();
	json_add_str(body, "drive_id", id);
	json_add_str(body, "path_on_host", file);
	json_add_bool(body, "is_root_device", root);
	json_add_bool(body, "is_read_only", false);
	json_add_str(body, "cache_type", "Writeback");
	return body;
}

static cJSON *root_drive(const struct context *c)
{
	const char *device = c->machine->root_device;
	return drive(FC_DRIVE_ROOT, device ? device : VM_FILE_ROOT_DISK, true);
}

static cJSON *work_drive(const struct context *c)
{
	return c->machine->has_work_disk ? drive(FC_DRIVE_WORK, VM_FILE_WORK_DISK, false) : NULL;
}

/* Its pages are the host's cache, whoever of its VMs reads them. */
static cJSON *modules_drive(const struct context *c)
{
	if (!c->machine->modules_disk)
		return NULL;
	cJSON *body = cJSON_CreateObject();
	json_add_str(body, "drive_id", FC_DRIVE_MODULES);
	json_add_str(body, "path_on_host", c->machine->modules_disk);
	json_add_bool(body, "is_root_device", false);
	json_add_bool(body, "is_read_only", true);
	return body;
}

static cJSON *network(const struct context *c)
{
	if (!c->machine->tap)
		return NULL;
	cJSON *body = cJSON_CreateObject();
	json_add_str(body, "iface_id", FC_NIC);
	json_add_str(body, "host_dev_name", c->machine->tap);
	json_add_str(body, "guest_mac", c->machine->mac);
	return body;
}

static cJSON *vsock(const struct context *c)
{
	(void)c;
	cJSON *body = cJSON_CreateObject();
	json_add_int(body, "guest_cid", GUEST_CID);
	json_add_str(body, "uds_path", VM_FILE_VSOCK);
	return body;
}

static cJSON *balloon(const struct context *c)
{
	cJSON *body = cJSON_CreateObject();
	json_add_int(body, "amount_mib", 0);
	json_add_bool(body, "deflate_on_oom", true);
	if (fc_can(c->version, FC_REPORTING))
		json_add_bool(body, "free_page_reporting", true);
	return body;
}

/* As much as a guest ever needs, and no more of the host's processors than that costs. */
static cJSON *entropy(const struct context *c)
{
	(void)c;
	cJSON *body = cJSON_CreateObject();
	cJSON *limiter = cJSON_AddObjectToObject(body, "rate_limiter");
	cJSON *bandwidth = cJSON_AddObjectToObject(limiter, "bandwidth");
	json_add_int(bandwidth, "size", ENTROPY_BYTES);
	json_add_int(bandwidth, "refill_time", ENTROPY_MS);
	return body;
}

static cJSON *hotplug(const struct context *c)
{
	uint64_t room = room_mib(c);
	if (!room)
		return NULL;
	cJSON *body = cJSON_CreateObject();
	json_add_int(body, "total_size_mib", (int64_t)room);
	json_add_int(body, "block_size_mib", FC_MEMORY_BLOCK / MIB);
	json_add_int(body, "slot_size_mib", FC_MEMORY_SLOT / MIB);
	return body;
}

static cJSON *instance_start(const struct context *c)
{
	(void)c;
	cJSON *body = cJSON_CreateObject();
	json_add_str(body, "action_type", "InstanceStart");
	return body;
}

/* In this order: the balloon is measured against the memory that was set before it, and the guest
 * sees disks as they were told of, the root first. A body of NULL: the machine has no such thing.
 */
static const struct {
	const char *path;
	cJSON *(*body)(const struct context *c);
} calls[] = {
	{ "/machine-config", machine_config },
	{ "/boot-source", boot_source },
	{ "/drives/" FC_DRIVE_ROOT, root_drive },
	{ "/drives/" FC_DRIVE_WORK, work_drive },
	{ "/drives/" FC_DRIVE_MODULES, modules_drive },
	{ "/network-interfaces/" FC_NIC, network },
	{ "/vsock", vsock },
	{ "/balloon", balloon },
	{ "/entropy", entropy },
	{ "/hotplug/memory", hotplug },
	{ "/actions", instance_start },
};

void fc_calls_clear(struct fc_call_vec *ret)
{
	for (size_t i = 0; i < ret->count; i++)
		cJSON_Delete(ret->at[i].body);
	fc_call_vec_clear(ret);
}

static int check(const struct context *c, struct error *err)
{
	const struct vm_machine *m = c->machine;
	if (m->root_is_qcow2)
		return error_set(err, ERROR_INVALID,
				 "Firecracker reads raw disks only and '" VM_FILE_ROOT_OVERLAY
				 "' is an overlay: the state directory has to be on a file system "
				 "that can share blocks (XFS, btrfs)");
	if (m->memory / MIB > API_MAX_MIB)
		return error_set(err, ERROR_INVALID,
				 "memory of %" PRIu64 " MiB is more than Firecracker's %" PRIu64,
				 m->memory / MIB, API_MAX_MIB);
	auto_free char *args = boot_args(c);
	/* A third of it is left for what Firecracker appends. */
	if (strlen(args) > FC_BOOT_ARGS_MAX * 2 / 3)
		return error_set(
			err, ERROR_INVALID,
			"kernel_args are too long for Firecracker: %zu bytes with its own, "
			"at most %d",
			strlen(args), FC_BOOT_ARGS_MAX * 2 / 3);
	return 0;
}

int fc_config(const struct vm_machine *machine, const char *kernel, fc_version version,
	      struct fc_call_vec *ret, struct error *err)
{
	const struct context c = { .machine = machine, .kernel = kernel, .version = version };
	if (check(&c, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
		cJSON *body = calls[i].body(&c);
		if (body)
			fc_call_vec_push(ret, (struct fc_call){ .method = "PUT",
								.path = calls[i].path,
								.body = body });
	}
	return 0;
}
