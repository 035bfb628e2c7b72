/* driver/disk.h - what the two disk drivers share. */
#ifndef DRIVER_DISK_H
#define DRIVER_DISK_H

#include "driver/driver.h"

#define DISK_TMP ".tmp" /* suffix of a disk that is being made */

/* Opens name without following a link; a regular file or an error. -1 with err->sys ENOENT when
 * there is none. */
int disk_open(int vm_dirfd, const char *name, int flags, struct error *err);
bool disk_exists(int vm_dirfd, const char *name);
/* Makes an empty name.tmp, in place of one that a failed attempt left: open for writing. Nobody but
 * us can put another in its place, so a program may be given its name. */
int disk_begin(int vm_dirfd, const char *name, struct error *err);
/* Flushes name.tmp and renames it to name. Removes it when that fails. */
int disk_finish(int vm_dirfd, const char *name, struct error *err);
/* Removes name and a half-made name.tmp. */
int disk_remove(int vm_dirfd, const char *name, struct error *err);

/* A raw disk's size, 0 when missing; and growing it (never smaller, missing: an error). */
int disk_raw_stat(int vm_dirfd, const char *name, uint64_t *ret_size, struct error *err);
int disk_raw_grow(int vm_dirfd, const char *name, uint64_t size_bytes, struct error *err);

#define QCOW2_HEADER_BYTES 32
/* The virtual size of a qcow2 file from its first bytes; false: it is not one. */
bool qcow2_parse(const unsigned char *header, size_t len, uint64_t *ret_size);

#endif
