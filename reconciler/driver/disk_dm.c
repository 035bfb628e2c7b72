/* Theory of operation: the system disk is a dm-snapshot. Its origin is the image, one read-only
 *loop device for all VMs of it, made as long as the disk by a tail of zeroes; what the guest writes
 *goes to a file of the VM's own, the COW store.
 *
 *	banger-<id>		snapshot	of banger-<id>-base, by the loop device of root.cow
 *	banger-<id>-base	linear		image's loop device, read-only
 *				zero		the rest
 *
 * They exist while a hypervisor runs (attach, detach); at rest there is root.cow alone. The loop
 * devices vanish with the tables that name them.
 *
 * A snapshot whose store is full, or fails to be written, is lost. So the store is as long as it
 * can ever have to be, which is also how the disk's size is known, and sparse; dm-snapshot fills it
 * from front to back, so the room for what comes next is reserved ahead of what the kernel says is
 * used (reserve). When the host's disk has no more to give, what is reserved still lasts for a
 * while, in which the guest is made to stand still.
 *
 * The store's length (linux/Documentation/admin-guide/device-mapper/snapshot.rst and
 * drivers/md/dm-snap-persistent.c): a header chunk, then areas of one metadata chunk and as many
 * data chunks as it has 16-byte entries. */
#include "driver/disk.h"
#include "driver/disk_dm.h"
#include "driver/dm.h"
#include "driver/loop_device.h"
#include "driver/scan.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#define CHUNK		  UINT64_C(4096)
#define CHUNK_SECTORS	  (CHUNK / DM_SECTOR)
#define AREA		  (CHUNK / 16) /* data chunks to a metadata chunk */
#define RESERVE		  (128 * MIB)
#define LASTS		  (96 * MIB) /* of it; with less it is time for more */
#define SPARE		  (16 * MIB) /* of the host's disk, never reserved */
#define REMOVE_TIMEOUT_MS 10000

/* --- the store --- */

/* Header, data, their metadata, and the area that the kernel opens before it is needed. */
static uint64_t store_length(uint64_t size_bytes)
{
	uint64_t chunks = (size_bytes + CHUNK - 1) / CHUNK;
	return (chunks + (chunks + AREA - 1) / AREA + 2) * CHUNK;
}

static uint64_t size_of_store(uint64_t length)
{
	uint64_t chunks = length / CHUNK;
	if (chunks <= 2)
		return 0;
	chunks -= 2;
	return (chunks - (chunks + AREA) / (AREA + 1)) * CHUNK;
}

/* 0, or 1: no space, and none of it taken: fallocate() keeps what it got before it failed. A file
 * system that cannot reserve (and so cannot promise) is taken as it is. */
static int reserve_range(int fd, uint64_t start, uint64_t length, struct error *err)
{
	struct statvfs vfs;
	if (fstatvfs(fd, &vfs) < 0)
		return error_sys(err, "cannot tell the free space for '%s'", VM_FILE_ROOT_COW);
	if ((uint64_t)vfs.f_bavail < (length + SPARE) / vfs.f_frsize)
		return 1;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)length) == 0 ||
	    errno == EOPNOTSUPP)
		return 0;
	error_sys(err, "cannot reserve room for '%s'", VM_FILE_ROOT_COW);
	return err->sys == ENOSPC || err->sys == EDQUOT ? 1 : -1;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int fill_store(int fd, uint64_t length, struct error *err)
{
	if (ftruncate(fd, (off_t)length) < 0)
		return error_sys(err, "cannot create disk '%s'", VM_FILE_ROOT_COW);
	int result = reserve_range(fd, 0, least(RESERVE, length), err);
	if (result <= 0)
		return result;
	error_set(err, ERROR_SYSTEM, "no space to reserve %" PRIu64 " MiB for disk '%s'",
		  RESERVE / MIB, VM_FILE_ROOT_COW);
	err->sys = ENOSPC;
	return -1;
}

static int make_store(int vm_dirfd, const char *dir, const struct disk_image *image,
		      struct error *err)
{
	static const char tmp[] = VM_FILE_ROOT_COW DISK_TMP;
	(void)dir;
	if (!dm_possible())
		return 1;
	auto_close int fd = disk_begin(vm_dirfd, VM_FILE_ROOT_COW, err);
	if (fd < 0)
		return -1;
	if (fill_store(fd, store_length(image->size_bytes), err) == 0)
		return disk_finish(vm_dirfd, VM_FILE_ROOT_COW, err);
	unlinkat(vm_dirfd, tmp, 0);
	return -1;
}

static int stat_store(int vm_dirfd, uint64_t *ret_size, struct error *err)
{
	uint64_t length;
	if (disk_raw_stat(vm_dirfd, VM_FILE_ROOT_COW, &length, err) < 0)
		return -1;
	*ret_size = size_of_store(length);
	return 0;
}

static int grow_store(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err)
{
	(void)dir;
	return disk_raw_grow(vm_dirfd, VM_FILE_ROOT_COW, store_length(size_bytes), err);
}

/* --- the devices --- */

struct names {
	char disk[DM_NAME], base[DM_NAME];
};

static struct names names_of(const char *id)
{
	struct names names;
	snprintf(names.disk, sizeof(names.disk), DISK_DM_PREFIX "%s", id);
	snprintf(names.base, sizeof(names.base), DISK_DM_PREFIX "%s" DISK_DM_BASE, id);
	return names;
}

static int detach(const char *id, struct error *err)
{
	struct names names = names_of(id);
	if (!dm_possible()) /* then there are none */
		return 0;
	if (dm_remove(names.disk, REMOVE_TIMEOUT_MS, err) < 0)
		return -1;
	return dm_remove(names.base, REMOVE_TIMEOUT_MS, err);
}

/* The image, then zeroes. */
static size_t base_table(dev_t image, uint64_t image_sectors, uint64_t sectors,
			 struct dm_target table[2])
{
	table[0] = (struct dm_target){ .length = image_sectors, .type = "linear" };
	snprintf(table[0].params, sizeof(table[0].params), "%u:%u 0", major(image), minor(image));
	table[1] = (struct dm_target){ .start = image_sectors,
				       .length = sectors - image_sectors,
				       .type = "zero" };
	return sectors > image_sectors ? 2 : 1;
}

static struct dm_target snapshot_table(dev_t base, dev_t store, uint64_t sectors)
{
	struct dm_target table = { .length = sectors, .type = "snapshot" };
	snprintf(table.params, sizeof(table.params), "%u:%u %u:%u P %" PRIu64, major(base),
		 minor(base), major(store), minor(store), CHUNK_SECTORS);
	return table;
}

static int make_devices(const struct names *names, const char *dir, dev_t image,
			uint64_t image_sectors, dev_t store, uint64_t sectors, struct error *err)
{
	struct dm_target table[2];
	struct dm_device base;
	char uuid[DM_UUID];
	size_t count = base_table(image, image_sectors, sectors, table);
	auto_free char *vms_dir = xasprintf("%s/..", dir);
	disk_dm_uuid(vms_dir, names->base, uuid);
	if (dm_create(names->base, uuid, table, count, true, err) < 0 ||
	    dm_table(names->base, &base, err) < 0)
		return -1;
	struct dm_target snapshot = snapshot_table(base.dev, store, sectors);
	disk_dm_uuid(vms_dir, names->disk, uuid);
	return dm_create(names->disk, uuid, &snapshot, 1, false, err);
}

static int attach(const char *id, int vm_dirfd, const char *dir, const char *base,
		  char ret_device[DISK_DEVICE_MAX], struct error *err)
{
	struct names names = names_of(id);
	uint64_t size;
	struct stat st;
	if (stat_store(vm_dirfd, &size, err) < 0)
		return -1;
	if (stat(base, &st) < 0)
		return error_sys(err, "cannot open image '%s'", base);
	if (detach(id, err) < 0)
		return -1;
	auto_close int image_fd = -1, store_fd = -1;
	dev_t image, store;
	auto_free char *path = xasprintf("%s/" VM_FILE_ROOT_COW, dir);
	if (loop_device_attach(base, true, &image_fd, &image, err) < 0 ||
	    loop_device_attach(path, false, &store_fd, &store, err) < 0)
		return -1;
	if (make_devices(&names, dir, image, (uint64_t)st.st_size / DM_SECTOR, store,
			 size / DM_SECTOR, err) < 0) {
		struct error ignored;
		detach(id, &ignored);
		return -1;
	}
	snprintf(ret_device, DISK_DEVICE_MAX, DM_DIR "/%s", names.disk);
	return 0;
}

/* --- of what is there --- */

static bool scan_dev(const char **at, dev_t *ret)
{
	uint64_t high, low;
	if (!scan_number(at, 10, UINT32_MAX, &high) || !scan_text(at, ":") ||
	    !scan_number(at, 10, UINT32_MAX, &low))
		return false;
	*ret = makedev((unsigned)high, (unsigned)low);
	return true;
}

/* "254:0 7:1 P 8": the devices a snapshot is made of. */
static bool snapshot_devices(const struct dm_device *device, dev_t *ret_base, dev_t *ret_store)
{
	const char *at = device->params;
	return !strcmp(device->type, "snapshot") && scan_dev(&at, ret_base) && scan_blanks(&at) &&
	       scan_dev(&at, ret_store);
}

/* "1040/8192 16": sectors used, there, and used for metadata. Else a word: the snapshot is lost. */
static int used_bytes(const char *name, uint64_t *ret, struct error *err)
{
	struct dm_device device;
	if (dm_status(name, &device, err) < 0)
		return -1;
	const char *at = device.params;
	uint64_t used;
	if (!device.exists)
		return error_set(err, ERROR_NOT_FOUND, "device '%s' is gone", name);
	if (strcmp(device.type, "snapshot") != 0 || !scan_number(&at, 10, UINT64_MAX / 512, &used))
		return error_set(err, ERROR_SYSTEM, "snapshot '%s' is lost: '%s'", name,
				 device.params);
	*ret = used * DM_SECTOR;
	return 0;
}

static int refresh(const char *id, int vm_dirfd, struct error *err)
{
	struct names names = names_of(id);
	struct dm_device disk, base;
	struct dm_target table[2];
	dev_t base_dev, store, image;
	uint64_t size;
	if (stat_store(vm_dirfd, &size, err) < 0 || dm_table(names.disk, &disk, err) < 0 ||
	    dm_table(names.base, &base, err) < 0)
		return -1;
	const char *at = base.params;
	if (!snapshot_devices(&disk, &base_dev, &store) || !scan_dev(&at, &image))
		return error_set(err, ERROR_CONFLICT, "device '%s' is not as it was made",
				 names.disk);
	char path[4096];
	struct stat st;
	if (!loop_device_file(image, path, sizeof(path)) || stat(path, &st) < 0)
		return error_sys(err, "cannot find the image of device '%s'", names.base);
	size_t count = base_table(image, (uint64_t)st.st_size / DM_SECTOR, size / DM_SECTOR, table);
	struct dm_target snapshot = snapshot_table(base_dev, store, size / DM_SECTOR);
	if (loop_device_refresh(store, err) < 0 ||
	    dm_reload(names.base, table, count, true, err) < 0)
		return -1;
	return dm_reload(names.disk, &snapshot, 1, false, err);
}

/* What is allocated lies in front, as the kernel fills it, and fallocate() went on from there. */
static int reserve(const char *id, int vm_dirfd, struct error *err)
{
	struct names names = names_of(id);
	struct stat st;
	uint64_t used = 0;
	auto_close int fd = disk_open(vm_dirfd, VM_FILE_ROOT_COW, O_RDWR, err);
	if (fd < 0 || used_bytes(names.disk, &used, err) < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return error_sys(err, "cannot look at disk '%s'", VM_FILE_ROOT_COW);
	uint64_t length = (uint64_t)st.st_size, allocated = (uint64_t)st.st_blocks * 512;
	if (used >= length || allocated >= least(used + LASTS, length))
		return 0;
	return reserve_range(fd, used, least(RESERVE, length - used), err);
}

const struct disk_driver disk_dm = {
	.name = "dm-snapshot",
	.file = VM_FILE_ROOT_COW,
	.create = make_store,
	.stat = stat_store,
	.grow = grow_store,
	.attach = attach,
	.detach = detach,
	.refresh = refresh,
	.reserve = reserve,
	.reserve_bytes = RESERVE + SPARE,
};
