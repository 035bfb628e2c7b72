/* driver/loop_device.h - files as block devices.
 *
 * Every loop device is made to vanish by itself with its last user (LO_FLAGS_AUTOCLEAR): the
 * descriptor of attach at first, then the device-mapper table that names it. So a kill at any
 * moment leaves none behind, and nobody has to count who shares one. */
#ifndef DRIVER_LOOP_DEVICE_H
#define DRIVER_LOOP_DEVICE_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* A loop device of the file, held open by *ret_fd until something else uses it. read_only: one
 * that is already there for the file, read-only and whole, is shared. */
int loop_device_attach(const char *path, bool read_only, int *ret_fd, dev_t *ret_dev,
		       struct error *err);
/* The file became larger. */
int loop_device_refresh(dev_t dev, struct error *err);
/* The path of the file behind a loop device, as the kernel tells it; false: it is none. */
bool loop_device_file(dev_t dev, char *ret, size_t size);

#endif
