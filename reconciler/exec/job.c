/* Theory of operation: an action is a sequence of step arrays (the table below), each step has a
 * run and an undo and both are idempotent, because a crash may come between an effect and its
 * record. steps_run() is the only place that unwinds. What a creation made is unwound with it; what
 * was made by an earlier, finished creation (disks_made) is never touched by an undo. */
#include "exec/job.h"
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

/* A test build dies here: BANGER_FAILPOINT="before hypervisor". */
static void step_failpoint(const char *when, const struct step *step)
{
#ifdef BANGER_FAILPOINTS
	char name[64];
	snprintf(name, sizeof(name), "%s %s", when, step->name);
	failpoint_hit(name);
#else
	(void)when;
	(void)step;
#endif
}

#define STEPS_MAX 32

int steps_run(struct job *job, const struct step *const *lists, size_t count, struct error *err)
{
	const struct step *done[STEPS_MAX];
	size_t done_count = 0;
	bool failed = false;
	for (size_t i = 0; i < count && !failed; i++)
		for (const struct step *step = lists[i]; step->name; step++) {
			if (atomic_load(&job->cancel))
				failed = error_set(err, ERROR_CANCELLED, "given up: superseded");
			else {
				job_stage(job, step->name, NULL);
				step_failpoint("before", step);
				failed = step->run(job, err) < 0;
			}
			/* A failed step may have done a part of it: its own undo runs too. */
			if (done_count == STEPS_MAX)
				BUG("an action of more than %d steps", STEPS_MAX);
			done[done_count++] = step;
			if (failed) {
				if (err->code != ERROR_CANCELLED)
					error_wrap(err, "%s", step->name);
				break;
			}
			step_failpoint("after", step);
		}
	if (!failed)
		return 0;
	while (done_count-- > 0)
		if (done[done_count]->undo)
			done[done_count]->undo(job);
	return -1;
}

static const struct step nothing[] = { { NULL, NULL, NULL } };

void job_run(struct job *job)
{
	bool start = job->want && job->want->state == STATE_RUNNING;
	bool stop = job->pidfd >= 0;
	const struct step *const starting = start ? steps_start : nothing;
	const struct step *const stopping = stop ? steps_stop : nothing;
	const struct step *lists[4] = { nothing, nothing, nothing, nothing };
	switch (job->kind) {
	case ACTION_CREATE:
		lists[0] = stopping;
		lists[1] = steps_create;
		lists[2] = starting;
		break;
	case ACTION_START:
	case ACTION_RESTART:
		lists[0] = stopping;
		lists[1] = steps_resize;
		lists[2] = starting;
		break;
	case ACTION_REIMAGE:
		lists[0] = stopping;
		lists[1] = steps_reimage;
		lists[2] = steps_resize;
		lists[3] = starting;
		break;
	case ACTION_STOP:
		lists[0] = stopping;
		break;
	case ACTION_LIVE:
		lists[0] = stop ? steps_live : steps_resize;
		break;
	case ACTION_DELETE:
		lists[0] = stopping;
		lists[1] = steps_delete;
		break;
	default:
		BUG("'%s' is nothing to execute", action_kind_name(job->kind));
	}
	/* A step may scribble into its error and succeed all the same: only a failure's counts. */
	struct error err = { 0 };
	bool failed = steps_run(job, lists, ARRAY_COUNT(lists), &err) < 0;
	job->err = failed ? err : (struct error){ 0 };
}
