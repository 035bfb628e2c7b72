/* Files that are there only while the VM runs: its sockets, and what is remembered of its process.
 */
#include "exec/capability.h"
#include "exec/handles.h"
#include "base/fs.h"
#include "sys/proc.h"

static const struct vm_file run_files[] = {
	{ .name = VM_FILE_MONITOR, .kind = "socket", .need = NEED_RUN, .type = S_IFSOCK },
	{ .name = VM_FILE_MONITOR, .kind = "socket", .need = NEED_RUN, .type = S_IFLNK },
	{ .name = VM_FILE_ADOPTED, .kind = "handles", .need = NEED_RUN },
	{ .name = VM_FILE_AGENT, .kind = "socket", .need = NEED_RUN, .type = S_IFSOCK },
	{ .name = VM_FILE_EXEC, .kind = "socket", .need = NEED_RUN, .type = S_IFSOCK },
	{ .name = VM_FILE_CONSOLE, .kind = "socket", .need = NEED_RUN, .type = S_IFSOCK },
	{ .name = VM_FILE_API, .kind = "socket", .need = NEED_RUN, .type = S_IFSOCK },
	{ .name = VM_FILE_VSOCK, .kind = "socket", .need = NEED_RUN, .type = S_IFSOCK },
	/* ... of one in a jail, into it */
	{ .name = VM_FILE_API, .kind = "socket", .need = NEED_RUN, .type = S_IFLNK },
	{ .name = VM_FILE_VSOCK, .kind = "socket", .need = NEED_RUN, .type = S_IFLNK },
	{ .name = VM_FILE_JAIL, .kind = "jail", .need = NEED_RUN, .type = S_IFDIR },
	{ .name = VM_FILE_STARTING, .kind = "start mark", .need = NEED_RUN },
	{ .name = VM_FILE_CONSOLE_PIPE, .kind = "pipe", .need = NEED_RUN, .type = S_IFIFO },
	{ .name = VM_FILE_KERNEL, .kind = "kernel", .need = NEED_RUN },
	{ .name = VM_FILE_PID, .kind = "pid file", .need = NEED_RUN },
	{ .name = VM_FILE_HANDLES, .kind = "handles", .need = NEED_RUN },
	{ 0 },
};

static int clear_sockets(struct job *job, struct error *err)
{
	if (job->dirfd < 0)
		return 0;
	if (hv_files_remove(job->dirfd, err) < 0 || fs_unlink(job->dirfd, VM_FILE_ADOPTED, err) < 0)
		return -1;
	return fs_unlink(job->dirfd, VM_FILE_HANDLES, err);
}

/* The sockets of a process that lives are not ours to remove. */
static int clear_stale_sockets(struct job *job, struct error *err)
{
	if (lock_is_held(job->dirfd, VM_FILE_LOCK))
		return error_set(err, ERROR_BUSY, "a hypervisor of '%s' runs already", job->name);
	return clear_sockets(job, err);
}

static void clear_failed_sockets(struct job *job)
{
	struct error ignored;
	if (job->dirfd >= 0)
		clear_stale_sockets(job, &ignored);
}

const struct capability cap_sockets = {
	.name = "sockets",
	.files = run_files,
	.steps = { [PHASE_PREPARE] = { "sockets", clear_stale_sockets, clear_failed_sockets },
		   [PHASE_RELEASE] = { "sockets", clear_sockets, NULL } },
};

static int note_handles(struct job *job, struct error *err)
{
	struct handles handles = {
		.pid = job->started_pid,
		.start_ticks = job->started_ticks,
		.started_ms = clock_wall_ms(),
	};
	return handles_write(job->dirfd, &handles, err);
}

const struct capability cap_handles = {
	.name = "handles",
	.steps = { [PHASE_PREPARE] = { "handles", note_handles, NULL } },
};
