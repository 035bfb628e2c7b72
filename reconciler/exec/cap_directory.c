/* The VM's directory, in which all the other files of it lie. */
#include "exec/capability.h"
#include "exec/handles.h"
#include "base/fs.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <sys/stat.h>

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
	return job_open_directory(job, err);
}

/* The directory of a VM whose creation never finished holds nothing that anyone could miss. */
static void unmake_directory(struct job *job)
{
	struct error ignored;
	/* Whoever holds the lock runs on these files: then they are no leftovers. */
	if (!job->disks_made && job->dirfd >= 0 && !lock_is_held(job->dirfd, VM_FILE_LOCK))
		fs_remove_tree(AT_FDCWD, job->dir, &ignored);
}

/* First to come and last to go: as long as it is there, something of a run may be. Not flushed, as
 * no run outlives the host: that would be a third of the time that a start takes here. */
static int mark_run(struct job *job, struct error *err)
{
	if (job_open_directory(job, err) < 0)
		return -1;
	if (job->host->own_users &&
	    vm_user_take(job->host->vms_dir, job->id, job->dirfd, &job->user.uid, err) < 0)
		return -1;
	auto_close int fd = openat(job->dirfd, VM_FILE_RUN,
				   O_WRONLY | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
	return fd < 0 ? error_sys(err, "cannot write '%s/" VM_FILE_RUN "'", job->dir) : 0;
}

static int unmark_run(struct job *job, struct error *err)
{
	return job->dirfd < 0 ? 0 : fs_unlink(job->dirfd, VM_FILE_RUN, err);
}

static void unmark_failed_run(struct job *job)
{
	struct error ignored;
	if (job->dirfd >= 0 && !lock_is_held(job->dirfd, VM_FILE_LOCK))
		fs_unlink(job->dirfd, VM_FILE_RUN, &ignored);
}

bool vm_run_is_marked(const char *vms_dir, const char *id)
{
	auto_free char *path = xasprintf("%s/%s/" VM_FILE_RUN, vms_dir, id);
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static const struct vm_file own_files[] = {
	{ .name = VM_FILE_LOCK },
	/* Of a known VM it is the tidying's: without it nobody would know that there is one to do.
	 */
	{ .name = VM_FILE_RUN, .kind = "run mark", .need = NEED_ROW },
	{ .name = VM_FILE_LOG },
	{ .name = VM_FILE_CONSOLE_LOG },
	{ .name = VM_FILE_CONSOLE_LOG ".1" },
	{ 0 },
};

const struct capability cap_directory = {
	.name = "directory",
	.files = own_files,
	.steps = { [PHASE_RETIRE] = { "directory", job_open_directory, NULL },
		   [PHASE_MAKE] = { "directory", make_directory, unmake_directory },
		   [PHASE_FIT] = { "directory", job_open_directory, NULL },
		   [PHASE_PREPARE] = { "run mark", mark_run, unmark_failed_run },
		   [PHASE_RELEASE] = { "run mark", unmark_run, NULL },
		   [PHASE_REMOVE] = { "remove", remove_directory, NULL } },
};

/* --- the last of what is made: by it a creation is known to be complete --- */

static int note_made(struct job *job, struct error *err)
{
	return made_write(job->dirfd, job->image_digest_used, err);
}

static const struct vm_file made_files[] = { { .name = VM_FILE_MADE }, { 0 } };

const struct capability cap_made = {
	.name = "made",
	.files = made_files,
	.steps = { [PHASE_MAKE] = { "made", note_made, NULL } },
};
