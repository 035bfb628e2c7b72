/* What the hypervisor may reach, where it runs as a user of its own: the disks and the devices that
 * it writes are given to it, of all else that it needs it may read. Set at every start, so that
 * what an older bangerd or a restored backup left is put right; it goes with the files. */
#include "exec/capability.h"
#include "driver/disk.h"

static bool has_own_user(const struct job *job)
{
	return job->host->own_users;
}

static int give_disks(const struct job *job, struct error *err)
{
	static const char *const disks[] = { VM_FILE_ROOT_DISK, VM_FILE_ROOT_OVERLAY,
					     VM_FILE_WORK_DISK };
	for (size_t i = 0; i < ARRAY_COUNT(disks); i++)
		if (disk_exists(job->dirfd, disks[i]) &&
		    vm_user_give(job->dirfd, disks[i], job->user.uid, err) < 0)
			return -1;
	const char *device = job->machine.root_device;
	return device ? vm_user_give_device(device, job->user.uid, err) : 0;
}

static int share_images(struct job *job, struct error *err)
{
	const struct vm_machine *machine = &job->machine;
	struct image image = { 0 };
	if (vm_user_share(machine->kernel, err) < 0 ||
	    (machine->modules_disk && vm_user_share(machine->modules_disk, err) < 0))
		return -1;
	if (!machine->root_is_qcow2) /* else it reads what is below its overlay by itself */
		return 0;
	int failed = job_find_image(job, &image, err) < 0 || vm_user_share(image.rootfs, err) < 0;
	image_clear(&image);
	return failed ? -1 : 0;
}

static int give_access(struct job *job, struct error *err)
{
	if (!has_own_user(job))
		return 0;
	if (vm_user_show(job->dirfd, VM_FILE_INITRD, job->user.uid, err) < 0 ||
	    share_images(job, err) < 0)
		return -1;
	return give_disks(job, err);
}

const struct capability cap_access = {
	.name = "access",
	.steps = { [PHASE_PREPARE] = { "access", give_access, NULL } },
};
