/* Creation, resizing, re-imaging and removal: everything that touches a VM's directory at rest. */
#include "exec/handles.h"
#include "exec/job.h"
#include "base/fs.h"
#include "base/units.h"
#include "guest/guest.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int directory_open(struct job *job, struct error *err)
{
	if (job->dirfd >= 0)
		return 0;
	job->dirfd = open(job->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (job->dirfd < 0)
		return error_sys(err, "cannot open '%s'", job->dir);
	return 0;
}

static int remove_directory(struct job *job, struct error *err)
{
	auto_close int fd = open(job->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && lock_is_held(fd, VM_FILE_LOCK))
		return error_set(err, ERROR_BUSY, "a hypervisor still holds '%s'", job->dir);
	return fs_remove_tree(AT_FDCWD, job->dir, err);
}

static int make_directory(struct job *job, struct error *err)
{
	/* What an earlier try left half-made may be of another image or size. */
	if (!job->disks_made && remove_directory(job, err) < 0)
		return -1;
	if (fs_mkdirs(job->dir, 0700, err) < 0)
		return -1;
	return directory_open(job, err);
}

/* The directory of a VM whose creation never finished holds nothing that anyone could miss. */
static void unmake_directory(struct job *job)
{
	struct error ignored;
	/* Whoever holds the lock runs on these files: then they are no leftovers. */
	if (!job->disks_made && job->dirfd >= 0 && !lock_is_held(job->dirfd, VM_FILE_LOCK))
		fs_remove_tree(AT_FDCWD, job->dir, &ignored);
}

static int find_image(struct job *job, struct image *ret, struct error *err)
{
	const char *key = job->image_digest ? job->image_digest : job->want->image;
	if (image_find(&job->host->images, key, ret, err) < 0)
		return -1;
	str_copy(job->image_digest_used, sizeof(job->image_digest_used), ret->digest);
	return 0;
}

static int make_root_disk(struct job *job, struct error *err)
{
	struct image image = { 0 };
	if (find_image(job, &image, err) < 0)
		return -1;
	struct disk_image disk = { .base = image.rootfs, .size_bytes = job->want->system_disk };
	int failed;
	if (disk.size_bytes < image.size)
		failed = error_set(err, ERROR_INVALID,
				   "system_disk is smaller than image '%s' (%llu bytes)",
				   job->want->image, (unsigned long long)image.size);
	else
		failed = disk_check_space(job->dir, 16 * MIB, err) < 0 ||
					 disk_root_create(job->dirfd, job->dir, &disk, err) < 0
				 ? -1
				 : 0;
	image_clear(&image);
	return failed;
}

static int make_work_disk(struct job *job, struct error *err)
{
	if (!job->want->work_disk)
		return 0;
	return disk_work_create(job->dirfd, job->dir, job->want->work_disk, err);
}

static int make_host_key(struct job *job, struct error *err)
{
	auto_free char *comment = xasprintf("root@%s", job->name);
	return keys_host(job->dirfd, comment, err);
}

static int note_made(struct job *job, struct error *err)
{
	return made_write(job->dirfd, job->image_digest_used, err);
}

const struct step steps_create[] = {
	{ "directory", make_directory, unmake_directory },
	{ "system disk", make_root_disk, NULL },
	{ "work disk", make_work_disk, NULL },
	{ "host key", make_host_key, NULL },
	{ "made", note_made, NULL },
	{ 0 },
};

/* --- resize: between a stop and a start --- */

static int open_directory(struct job *job, struct error *err)
{
	return directory_open(job, err);
}

static int grow_root_disk(struct job *job, struct error *err)
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
		return make_work_disk(job, err);
	if (size >= job->want->work_disk)
		return 0;
	return disk_work_grow(job->dirfd, job->want->work_disk, err);
}

const struct step steps_resize[] = {
	{ "directory", open_directory, NULL },
	{ "system disk", grow_root_disk, NULL },
	{ "work disk", fit_work_disk, NULL },
	{ 0 },
};

static int remove_root_disk(struct job *job, struct error *err)
{
	/* The new image must be there before the old disk goes. */
	struct image image = { 0 };
	if (find_image(job, &image, err) < 0)
		return -1;
	image_clear(&image);
	return disk_root_remove(job->dirfd, err);
}

const struct step steps_reimage[] = {
	{ "directory", open_directory, NULL },
	{ "old system disk", remove_root_disk, NULL },
	{ "system disk", make_root_disk, NULL },
	{ "made", note_made, NULL },
	{ 0 },
};

const struct step steps_delete[] = {
	{ "remove", remove_directory, NULL },
	{ 0 },
};
