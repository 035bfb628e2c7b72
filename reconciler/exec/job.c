/* Theory of operation: the table of capabilities says which steps an action has, each step has a
 * run and an undo and both are idempotent, because a crash may come between an effect and its
 * record. steps_run() is the only place that unwinds. What a creation made is unwound with it; what
 * was made by an earlier, finished creation (disks_made) is never touched by an undo. */
#include "exec/capability.h"
#include "base/failpoint.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct job *job_new(const struct host *host, enum action_kind kind, const char *id,
		    const char *name)
{
	struct job *job = xcalloc(1, sizeof(*job));
	job->host = host;
	job->kind = kind;
	job->pidfd = job->started_pidfd = job->dirfd = -1;
	str_copy(job->id, sizeof(job->id), id);
	str_copy(job->name, sizeof(job->name), name);
	job->dir = xasprintf("%s/%s", host->vms_dir, id);
	pthread_mutex_init(&job->progress_lock, NULL);
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	vm_spec_free(job->want);
	vm_spec_free(job->have);
	free(job->address);
	free(job->image_digest);
	cleanup_close(&job->pidfd);
	cleanup_close(&job->started_pidfd);
	cleanup_close(&job->dirfd);
	kernel_clear(&job->kernel);
	free(job->dir);
	pthread_mutex_destroy(&job->progress_lock);
	free(job);
}

static void progress_arrived(void *data)
{
	struct job *job = data;
	atomic_store(&job->progress_posted, false);
	job->on_progress(job);
}

void job_stage(struct job *job, const char *stage, const char *detail)
{
	pthread_mutex_lock(&job->progress_lock);
	snprintf(job->stage, sizeof(job->stage), "%s", stage);
	snprintf(job->detail, sizeof(job->detail), "%s", detail ? detail : "");
	pthread_mutex_unlock(&job->progress_lock);
	/* One post at a time is enough: the loop reads the newest text. It runs before done(),
	 * which is posted later, so the job is still there. */
	if (job->on_progress && !atomic_exchange(&job->progress_posted, true))
		loop_post(job->loop, progress_arrived, job);
}

void job_progress(struct job *job, char stage[32], char detail[128])
{
	pthread_mutex_lock(&job->progress_lock);
	memcpy(stage, job->stage, sizeof(job->stage));
	memcpy(detail, job->detail, sizeof(job->detail));
	pthread_mutex_unlock(&job->progress_lock);
}

int job_open_directory(struct job *job, struct error *err)
{
	if (job->dirfd >= 0)
		return 0;
	job->dirfd = open(job->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (job->dirfd < 0)
		return error_sys(err, "cannot open '%s'", job->dir);
	return 0;
}

int job_find_image(struct job *job, struct image *ret, struct error *err)
{
	const char *key = job->image_digest_used[0] ? job->image_digest_used
			  : job->image_digest	    ? job->image_digest
						    : job->want->image;
	if (image_find(&job->host->images, key, ret, err) < 0)
		return -1;
	str_copy(job->image_digest_used, sizeof(job->image_digest_used), ret->digest);
	return 0;
}

int steps_run(struct job *job, const struct step *const *steps, size_t count, struct error *err)
{
	size_t begun = 0;
	bool failed = false;
	while (begun < count && !failed) {
		const struct step *step = steps[begun];
		/* A failed step may have done a part of it: its own undo runs too. */
		begun++;
		if (atomic_load(&job->cancel)) {
			failed = error_set(err, ERROR_CANCELLED, "given up: superseded");
		} else {
			job_stage(job, step->name, NULL);
			FAILPOINT_STEP("before", step->name);
			failed = step->run(job, err) < 0;
		}
		if (!failed)
			FAILPOINT_STEP("after", step->name);
		else if (err->code != ERROR_CANCELLED)
			error_wrap(err, "%s", step->name);
	}
	if (!failed)
		return 0;
	while (begun-- > 0)
		if (steps[begun]->undo)
			steps[begun]->undo(job);
	return -1;
}

void job_run(struct job *job)
{
	const struct step *steps[STEPS_MAX];
	size_t count = job_steps(job, steps);
	/* A step may scribble into its error and succeed all the same: only a failure's counts. */
	struct error err = { 0 };
	bool failed = steps_run(job, steps, count, &err) < 0;
	job->err = failed ? err : (struct error){ 0 };
}
