/* The system disk, whichever driver keeps it. */
#include "driver/disk.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const struct disk_driver *const all[] = { &disk_reflink, &disk_qcow2, &disk_dm };
static const struct disk_driver *const only[][2] = {
	{ &disk_reflink, NULL },
	{ &disk_qcow2, NULL },
	{ &disk_dm, NULL },
};
const struct disk_driver *const disk_drivers_session[] = { &disk_reflink, &disk_qcow2, NULL };
const struct disk_driver *const disk_drivers_system[] = { &disk_reflink, &disk_dm, &disk_qcow2,
							  NULL };

const struct disk_driver *const *disk_drivers_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(only); i++)
		if (!strcmp(name, only[i][0]->name))
			return only[i];
	return NULL;
}

static int check_size(const struct disk_image *image, struct error *err)
{
	struct stat st;
	if (stat(image->base, &st) < 0)
		return error_sys(err, "cannot open image '%s'", image->base);
	if (image->size_bytes >= (uint64_t)st.st_size)
		return 0;
	return error_set(err, ERROR_INVALID,
			 "a system disk of %" PRIu64 " MiB is smaller than its image (%" PRIu64
			 " MiB)",
			 image->size_bytes / MIB, ((uint64_t)st.st_size + MIB - 1) / MIB);
}

const struct disk_driver *disk_root_driver(int vm_dirfd)
{
	for (size_t i = 0; i < ARRAY_COUNT(all); i++)
		if (disk_exists(vm_dirfd, all[i]->file))
			return all[i];
	return NULL;
}

int disk_root_create(int vm_dirfd, const char *dir, const struct disk_image *image,
		     const struct disk_driver *const *drivers, struct error *err)
{
	if (disk_root_driver(vm_dirfd))
		return 0;
	if (check_size(image, err) < 0)
		return -1;
	for (; *drivers; drivers++) {
		int made = (*drivers)->create(vm_dirfd, dir, image, err);
		if (made <= 0)
			return made;
	}
	return error_set(err, ERROR_SYSTEM, "no kind of system disk can be made in '%s'", dir);
}

int disk_root_remove(int vm_dirfd, struct error *err)
{
	for (size_t i = 0; i < ARRAY_COUNT(all); i++)
		if (disk_remove(vm_dirfd, all[i]->file, err) < 0)
			return -1;
	return 0;
}

int disk_root_stat(int vm_dirfd, uint64_t *ret_size, bool *ret_qcow2, struct error *err)
{
	const struct disk_driver *driver = disk_root_driver(vm_dirfd);
	*ret_size = 0;
	*ret_qcow2 = driver == &disk_qcow2;
	return driver ? driver->stat(vm_dirfd, ret_size, err) : 0;
}

int disk_root_grow(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err)
{
	const struct disk_driver *driver = disk_root_driver(vm_dirfd);
	uint64_t size;
	if (!driver)
		return error_set(err, ERROR_NOT_FOUND, "there is no system disk in '%s'", dir);
	if (driver->stat(vm_dirfd, &size, err) < 0)
		return -1;
	return size >= size_bytes ? 0 : driver->grow(vm_dirfd, dir, size_bytes, err);
}
