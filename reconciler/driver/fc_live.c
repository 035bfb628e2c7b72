/* What of a running Firecracker can be changed: the size of its disks and, where it was started
 * with room for it, its memory. One connection a change; the process knows what was asked before,
 * so nothing is remembered here. */
#include "driver/disk.h"
#include "driver/fc.h"
#include "base/cleanup.h"
#include "base/units.h"

#include <string.h>

static int call(struct fc_api *api, const char *method, const char *path, cJSON *body,
		struct error *err)
{
	auto_json cJSON *owned = body;
	const struct fc_call what = { .method = method, .path = path, .body = owned };
	return fc_api_call(api, &what, fc_call_ms(), NULL, err);
}

/* --- memory --- */

static int ask_mib(struct fc_api *api, const char *path, const char *key, const char *key2,
		   uint64_t *ret, uint64_t *ret2, struct error *err)
{
	auto_json cJSON *answer = NULL;
	if (fc_api_get(api, path, fc_call_ms(), &answer, err) < 0)
		return -1;
	int64_t mib = json_int(answer, key, -1), mib2 = key2 ? json_int(answer, key2, -1) : 0;
	if (mib < 0 || mib2 < 0 || mib > UINT32_MAX || mib2 > UINT32_MAX)
		return error_set(err, ERROR_SYSTEM, "GET %s: there is no '%s'", path,
				 mib < 0 ? key : key2);
	*ret = (uint64_t)mib * MIB;
	if (key2)
		*ret2 = (uint64_t)mib2 * MIB;
	return 0;
}

static int set_memory(struct fc_api *api, uint64_t bytes, struct hv_memory *ret, struct error *err)
{
	uint64_t start = 0, now = 0, asked = 0;
	char size[UNITS_TEXT_MAX];
	if (ask_mib(api, "/machine-config", "mem_size_mib", NULL, &start, NULL, err) < 0)
		return -1;
	if (bytes < start)
		return error_set(err, ERROR_INVALID,
				 "it was started with %s, only a restart makes that less",
				 units_format_size(start, size));
	if (ask_mib(api, "/hotplug/memory", "plugged_size_mib", "requested_size_mib", &now, &asked,
		    err) < 0)
		return err->code == ERROR_TIMEOUT || err->code == ERROR_UNAVAILABLE
			       ? -1
			       : error_append(err, " (it was started without room for more: only "
						   "a restart helps)");
	uint64_t want = (bytes - start) / FC_MEMORY_BLOCK * FC_MEMORY_BLOCK;
	cJSON *body = cJSON_CreateObject();
	json_add_int(body, "requested_size_mib", (int64_t)(want / MIB));
	if (want == asked)
		cJSON_Delete(body);
	else if (call(api, "PATCH", "/hotplug/memory", body, err) < 0)
		return -1;
	*ret = (struct hv_memory){ .goal = start + want, .now = start + now };
	return 0;
}

int fc_set_memory(int vm_dirfd, uint64_t bytes, struct hv_memory *ret, struct error *err)
{
	auto_ptr(fc_api) api = fc_api_new(vm_dirfd, err);
	if (!api || set_memory(api, bytes, ret, err) < 0)
		return error_wrap(err, "cannot change the memory");
	return 0;
}

/* --- disks --- */

/* What it was told of the drive: a file of the VM's directory, or a device that grows by other
 * means. It may have fallen to its guest: the file is ours to know, the answer only has to fit. */
static int ask_path(struct fc_api *api, const char *id, struct buf *ret, struct error *err)
{
	auto_json cJSON *config = NULL;
	if (fc_api_get(api, "/vm/config", fc_call_ms(), &config, err) < 0)
		return -1;
	const cJSON *drive;
	cJSON_ArrayForEach(drive, json_get(config, "drives"))
	{
		if (!strcmp(json_str(drive, "drive_id", ""), id))
			buf_add(ret, json_str(drive, "path_on_host", ""));
	}
	return ret->len ? 0 : error_set(err, ERROR_SYSTEM, "GET /vm/config: no such drive");
}

/* Told of the same path again, Firecracker looks at its size again and tells the guest. */
static int announce(struct fc_api *api, const char *id, const char *name, struct error *err)
{
	cJSON *body = cJSON_CreateObject();
	json_add_str(body, "drive_id", id);
	json_add_str(body, "path_on_host", name);
	auto_free char *path = xasprintf("/drives/%s", id);
	return call(api, "PATCH", path, body, err);
}

static int grow_file(int vm_dirfd, enum hv_disk disk, const char *path, uint64_t bytes,
		     struct error *err)
{
	const char *name = disk == HV_DISK_WORK ? VM_FILE_WORK_DISK : VM_FILE_ROOT_DISK;
	if (path[0] == '/')
		return 0;
	if (strcmp(path, name) != 0)
		return error_set(err, ERROR_CONFLICT,
				 "GET /vm/config: the drive is '%.60s', not '%s' that it was "
				 "started with",
				 path, name);
	return disk_raw_grow(vm_dirfd, name, bytes, err);
}

int fc_grow_disk(int vm_dirfd, enum hv_disk disk, uint64_t size_bytes, struct error *err)
{
	const char *id = disk == HV_DISK_WORK ? FC_DRIVE_WORK : FC_DRIVE_ROOT;
	auto_buf struct buf path = BUF_INIT;
	auto_ptr(fc_api) api = fc_api_new(vm_dirfd, err);
	if (!api || ask_path(api, id, &path, err) < 0 ||
	    grow_file(vm_dirfd, disk, path.data, size_bytes, err) < 0 ||
	    announce(api, id, path.data, err) < 0)
		return error_wrap(err, "cannot grow disk '%s'", id);
	return 0;
}
