/* driver/disk_dm.h - the devices of system disks as they are found on a host: see disk_dm.c.
 *
 * A device is ours by its name and by a uuid that says below which directory its VM lies, so that
 * neither a namesake nor another banger's is ever taken for one. Blocks; needs root, without it
 * there are none. */
#ifndef DRIVER_DISK_DM_H
#define DRIVER_DISK_DM_H

#include "driver/dm.h"

#define DISK_DM_PREFIX "banger-"
#define DISK_DM_BASE   "-base"

struct disk_device {
	char name[DM_NAME], id[16];
	dev_t dev;
	bool opened; /* somebody has it open */
};
DEFINE_VEC(disk_device_vec, struct disk_device)

void disk_dm_uuid(const char *vms_dir, const char *name, char ret[DM_UUID]);
/* Those of VMs below vms_dir; a snapshot comes before its base. */
int disk_dm_find(const char *vms_dir, struct disk_device_vec *ret, struct error *err);
/* Already gone is success. CONFLICT: of that name there is another; BUSY: it is in use. */
int disk_dm_remove(const char *vms_dir, const char *name, dev_t dev, struct error *err);
/* Takes away those whose VM's lock nobody holds: what a crash of the host's daemon left. Never
 * fails as a whole: the first error is kept, the others go on. */
int disk_dm_sweep(const char *vms_dir, struct error *err);

#endif
