/* The system disk, made of an image, and the work disk, which is the user's. */
#include "exec/capability.h"
#include "base/units.h"
#include "sys/proc.h"

/* --- system disk --- */

static int make_root_disk(struct job *job, struct error *err)
{
	struct image image = { 0 };
	if (job_find_image(job, &image, err) < 0)
		return -1;
	struct disk_image disk = { .base = image.rootfs, .size_bytes = job->want->system_disk };
	int failed;
	if (disk.size_bytes < image.size)
		failed = error_set(err, ERROR_INVALID,
				   "system_disk is smaller than image '%s' (%llu bytes)",
				   job->want->image, (unsigned long long)image.size);
	else
		failed = disk_check_space(job->dir, 16 * MIB, err) < 0 ||
					 disk_root_create(job->dirfd, job->dir, &disk,
							  job->host->disks, err) < 0
				 ? -1
				 : 0;
	image_clear(&image);
	return failed;
}

static int fit_root_disk(struct job *job, struct error *err)
{
	uint64_t size;
	bool qcow2;
	if (disk_root_stat(job->dirfd, &size, &qcow2, err) < 0)
		return -1;
	if (!size) /* a disk that somebody took away is drift, and made again */
		return make_root_disk(job, err);
	if (size >= job->want->system_disk)
		return 0;
	return disk_root_grow(job->dirfd, job->dir, job->want->system_disk, err);
}

/* Devices of a run that is over: already gone is success. */
static int release_root_disk(struct job *job, struct error *err)
{
	struct error none;
	if (job_open_directory(job, &none) < 0)
		return 0;
	const struct disk_driver *driver = disk_root_driver(job->dirfd);
	if (!driver || !driver->detach)
		return 0;
	if (lock_is_held(job->dirfd, VM_FILE_LOCK))
		return error_set(err, ERROR_BUSY,
				 "a hypervisor still holds the system disk of '%s'", job->name);
	return driver->detach(job->id, err);
}

static void release_failed_root_disk(struct job *job)
{
	struct error ignored;
	release_root_disk(job, &ignored);
}

static int retire_root_disk(struct job *job, struct error *err)
{
	/* The new image must be there before the old disk goes. */
	struct image image = { 0 };
	if (job_find_image(job, &image, err) < 0)
		return -1;
	image_clear(&image);
	if (release_root_disk(job, err) < 0)
		return -1;
	return disk_root_remove(job->dirfd, err);
}

static int attach_root_disk(struct job *job, const struct disk_driver *driver, struct error *err)
{
	struct image image = { 0 };
	if (release_root_disk(job, err) < 0 || job_find_image(job, &image, err) < 0)
		return -1;
	int failed =
		driver->attach(job->id, job->dirfd, job->dir, image.rootfs, job->root_device, err);
	image_clear(&image);
	job->machine.root_device = job->root_device;
	return failed;
}

static int use_root_disk(struct job *job, struct error *err)
{
	uint64_t size;
	const struct disk_driver *driver = disk_root_driver(job->dirfd);
	job->machine.root_device = NULL;
	if (disk_root_stat(job->dirfd, &size, &job->machine.root_is_qcow2, err) < 0)
		return -1;
	return driver && driver->attach ? attach_root_disk(job, driver, err) : 0;
}

static const struct vm_file root_files[] = {
	{ .name = VM_FILE_ROOT_DISK, .kind = "disk", .need = NEED_ROW, .data = true },
	{ .name = VM_FILE_ROOT_OVERLAY, .kind = "overlay", .need = NEED_ROW, .data = true },
	{ .name = VM_FILE_ROOT_COW, .kind = "overlay", .need = NEED_ROW, .data = true },
	{ 0 },
};

const struct capability cap_system_disk = {
	.name = "system disk",
	.files = root_files,
	.steps = { [PHASE_RETIRE] = { "old system disk", retire_root_disk, NULL },
		   [PHASE_MAKE] = { "system disk", make_root_disk, NULL },
		   [PHASE_FIT] = { "system disk", fit_root_disk, NULL },
		   [PHASE_PREPARE] = { "system disk", use_root_disk, release_failed_root_disk },
		   [PHASE_RELEASE] = { "devices", release_root_disk, NULL },
		   [PHASE_REMOVE] = { "old devices", release_root_disk, NULL } },
};

/* --- work disk --- */

static bool wants_work_disk(const struct job *job)
{
	return job->want->work_disk > 0;
}

static int make_work_disk(struct job *job, struct error *err)
{
	return disk_work_create(job->dirfd, job->dir, job->want->work_disk, err);
}

static int fit_work_disk(struct job *job, struct error *err)
{
	uint64_t size;
	if (disk_work_stat(job->dirfd, &size, err) < 0)
		return -1;
	if (job->remake_work_disk && size > job->want->work_disk) {
		if (disk_work_remove(job->dirfd, err) < 0)
			return -1;
		size = 0;
	}
	if (!size)
		return wants_work_disk(job) ? make_work_disk(job, err) : 0;
	if (size >= job->want->work_disk)
		return 0;
	return disk_work_grow(job->dirfd, job->want->work_disk, err);
}

static int use_work_disk(struct job *job, struct error *err)
{
	(void)err;
	job->machine.has_work_disk = true;
	return 0;
}

static const struct vm_file work_files[] = {
	{ .name = VM_FILE_WORK_DISK, .kind = "disk", .need = NEED_ROW, .data = true },
	{ 0 },
};

const struct capability cap_work_disk = {
	.name = "work disk",
	.files = work_files,
	.wanted = wants_work_disk,
	.steps = { [PHASE_MAKE] = { "work disk", make_work_disk, NULL },
		   [PHASE_FIT] = { "work disk", fit_work_disk, NULL },
		   [PHASE_PREPARE] = { "work disk", use_work_disk, NULL } },
};
