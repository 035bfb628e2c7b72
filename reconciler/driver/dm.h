/* driver/dm.h - device-mapper: what libdevmapper says, as results and errors of ours.
 *
 * Needs root. Blocks, from any worker: one lock is around the library, which has state of its own.
 * Devices get their nodes in /dev/mapper here, not from udev, so that they are there when a call
 * returns, with or without udev; its rules leave them alone. */
#ifndef DRIVER_DM_H
#define DRIVER_DM_H

#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DM_DIR	  "/dev/mapper"
#define DM_SECTOR 512
#define DM_NAME	  64
#define DM_UUID	  96

struct dm_target {
	uint64_t start, length; /* sectors */
	const char *type;
	char params[128];
};

struct dm_device {
	bool exists;
	unsigned opened; /* by how many */
	dev_t dev;
	char type[32];	    /* of its first target ... */
	char params[192];   /* ... and its table, or status, as the kernel prints it */
	char uuid[DM_UUID]; /* that it was made with; "": none, or a longer one */
};

struct dm_name {
	char text[DM_NAME];
};
DEFINE_VEC(dm_name_vec, struct dm_name)

/* Can this host and user make devices? To be asked first: the library makes nodes where there is no
 * device-mapper. */
bool dm_possible(void);
/* Makes it and lets it run; nothing is left when it fails. One of that name or uuid is a CONFLICT.
 */
int dm_create(const char *name, const char *uuid, const struct dm_target *targets, size_t count,
	      bool read_only, struct error *err);
/* Another table under a running device, whose I/O waits for as long. */
int dm_reload(const char *name, const struct dm_target *targets, size_t count, bool read_only,
	      struct error *err);
/* Already gone is success. Tries for as long as somebody (a scanner of disks) has it open; BUSY
 * after timeout_ms. */
int dm_remove(const char *name, uint64_t timeout_ms, struct error *err);
/* One that is not there is no error. */
int dm_table(const char *name, struct dm_device *ret, struct error *err);
int dm_status(const char *name, struct dm_device *ret, struct error *err);
/* Those whose name begins with prefix. */
int dm_list(const char *prefix, struct dm_name_vec *ret, struct error *err);

#endif
