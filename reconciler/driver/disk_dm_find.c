#include "driver/disk_dm.h"
#include "driver/driver.h"
#include "driver/id_hash.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

#define REMOVE_TIMEOUT_MS 3000
#define UUID_SALT	  6

void disk_dm_uuid(const char *vms_dir, const char *name, char ret[DM_UUID])
{
	auto_free char *real = realpath(vms_dir, NULL);
	snprintf(ret, DM_UUID, "BANGER-%016" PRIx64 "-%s",
		 id_hash(real ? real : vms_dir, UUID_SALT), name);
}

static bool id_of(const char *name, char ret[16])
{
	const char *id = name + strlen(DISK_DM_PREFIX);
	size_t len = strcspn(id, "-");
	if (len >= 16 || (id[len] && strcmp(id + len, DISK_DM_BASE) != 0))
		return false;
	memcpy(ret, id, len);
	ret[len] = '\0';
	return vm_id_fits(ret);
}

static bool is_base(const struct disk_device *device)
{
	return strlen(device->name) > strlen(DISK_DM_PREFIX) + strlen(device->id);
}

/* false: it is not ours, or gone meanwhile. */
static bool identify(const char *vms_dir, const char *name, struct disk_device *ret)
{
	struct dm_device device;
	struct error ignored;
	char uuid[DM_UUID];
	*ret = (struct disk_device){ 0 };
	disk_dm_uuid(vms_dir, name, uuid);
	if (!id_of(name, ret->id) || dm_table(name, &device, &ignored) < 0 || !device.exists ||
	    strcmp(device.uuid, uuid) != 0)
		return false;
	str_copy(ret->name, sizeof(ret->name), name);
	ret->dev = device.dev;
	ret->opened = device.opened > 0;
	return true;
}

static int by_dependence(const void *a, const void *b)
{
	return is_base(a) - is_base(b);
}

int disk_dm_find(const char *vms_dir, struct disk_device_vec *ret, struct error *err)
{
	struct dm_name_vec names = { 0 };
	struct disk_device device;
	if (!dm_possible())
		return 0;
	int result = dm_list(DISK_DM_PREFIX, &names, err);
	for (size_t i = 0; i < names.count; i++)
		if (identify(vms_dir, names.at[i].text, &device))
			disk_device_vec_push(ret, device);
	dm_name_vec_clear(&names);
	if (ret->count)
		qsort(ret->at, ret->count, sizeof(*ret->at), by_dependence);
	return result;
}

int disk_dm_remove(const char *vms_dir, const char *name, dev_t dev, struct error *err)
{
	struct dm_device device;
	char uuid[DM_UUID];
	disk_dm_uuid(vms_dir, name, uuid);
	if (dm_table(name, &device, err) < 0)
		return -1;
	if (!device.exists)
		return 0;
	if (device.dev != dev || strcmp(device.uuid, uuid) != 0)
		return error_set(err, ERROR_CONFLICT, "device '%s' is another one meanwhile", name);
	return dm_remove(name, REMOVE_TIMEOUT_MS, err);
}

int disk_dm_sweep(const char *vms_dir, struct error *err)
{
	struct disk_device_vec found = { 0 };
	struct error bad;
	int result = disk_dm_find(vms_dir, &found, err);
	for (size_t i = 0; i < found.count; i++) {
		const struct disk_device *device = &found.at[i];
		if (vm_lock_is_held(vms_dir, device->id) ||
		    disk_dm_remove(vms_dir, device->name, device->dev, &bad) == 0)
			continue;
		if (result == 0)
			*err = bad;
		result = -1;
	}
	disk_device_vec_clear(&found);
	return result;
}
