/* driver/loop_device.h - files as block devices.
 *
 * Every loop device is made to vanish by itself with its last user (LO_FLAGS_AUTOCLEAR): the
 * descriptor of attach at first, then the device-mapper table that names it. So a kill at any
 * moment leaves none behind, and nobody has to count who shares one. */
#ifndef DRIVER_LOOP_DEVICE_H
#define DRIVER_LOOP_DEVICE_H

#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A loop device of the file, held open by *ret_fd until something else uses it. read_only: one
 * that is already there for the file, read-only and whole, is shared. */
int loop_device_attach(const char *path, bool read_only, int *ret_fd, dev_t *ret_dev,
		       struct error *err);
/* The file became larger. */
int loop_device_refresh(dev_t dev, struct error *err);
/* The path of the file behind a loop device, as the kernel tells it; false: it is none. */
bool loop_device_file(dev_t dev, char *ret, size_t size);

/* --- what is there: loop_device_find.c --- */
struct loop_found {
	char name[16]; /* "loop3" */
	char *file;    /* as the kernel tells it, without its " (deleted)"; owned */
	uint64_t file_dev, file_ino;
	bool read_only;
	bool used; /* by a device above it, or a mount */
};
DEFINE_VEC(loop_found_vec, struct loop_found)

/* Those whose file lies below the directory; none where they may not be opened. */
void loop_device_find(const char *below, struct loop_found_vec *ret);
void loop_found_clear(struct loop_found_vec *found);
/* Takes it from its file. Already gone is success. CONFLICT: it has another file; BUSY: it is used
 * still, after a while. */
int loop_device_detach(const struct loop_found *loop, struct error *err);

#endif
