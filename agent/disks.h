/* agent/disks.h - find a VM's disks by their serial, mount them, grow their filesystems. */
#ifndef AGENT_DISKS_H
#define AGENT_DISKS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define DISK_NAME_MAX 32

/* The kernel's name ("vda") of the disk with that virtio serial.
 * block_path: /sys/block (tests pass another). Fails with ERROR_NOT_FOUND. */
int disk_find(const char *block_path, const char *serial, char name[DISK_NAME_MAX],
	      struct error *err);

/* Waits until the disk is there, at most timeout_ms, and mounts it (ext4) at path, which is made
 * when missing. flags: 0 or MS_RDONLY. */
int disk_mount(const char *serial, const char *path, unsigned long flags, unsigned timeout_ms,
	       struct error *err);

/* Grows the ext4 mounted at path to the size of its device, by the kernel's own ioctl: an image
 * need not have resize2fs. Already that large is success. *ret_bytes: its size afterwards. May
 * take long on a large disk. */
int disk_grow(const char *serial, const char *path, uint64_t *ret_bytes, struct error *err);

#endif
