/* Image pulls: one at a time for a name, however many VMs wait; a failed one is not tried again
 * until something changes or its backoff is over. */
#include "daemon/bangerd.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#define PULL_RETRY_MS 30000

struct pull {
	struct work work;
	struct bangerd *d;
	struct pull *next;
	char name[64];
	bool is_kernel, force;
	bool running;
	struct op *op;
	struct error err;  /* of the last try */
	uint64_t ended_ms; /* of the last try; 0: none, or something changed since */
	/* written by the worker */
	pthread_mutex_t lock;
	char stage[32], detail[128];
	uint64_t done, total;
	_Atomic bool posted;
};

static void pull_progressed(void *data)
{
	struct pull *pull = data;
	atomic_store(&pull->posted, false);
	char stage[32], detail[128];
	pthread_mutex_lock(&pull->lock);
	memcpy(stage, pull->stage, sizeof(stage));
	memcpy(detail, pull->detail, sizeof(detail));
	pull->op->progress_done = pull->done;
	pull->op->progress_total = pull->total;
	pthread_mutex_unlock(&pull->lock);
	op_stage(pull->d, pull->op, stage, detail);
	char waiting_for[32 + sizeof(stage)];
	snprintf(waiting_for, sizeof(waiting_for), "pull %s", stage);
	for (size_t i = 0; i < pull->d->vm_count; i++) {
		struct vm *vm = pull->d->vms[i];
		if (vm->op && !vm->job && !vm->pid && !strcmp(vm->want->image, pull->name))
			op_stage(pull->d, vm->op, waiting_for, detail);
	}
}

static void pull_says(void *cookie, const char *stage, const char *detail, uint64_t done,
		      uint64_t total)
{
	struct pull *pull = cookie;
	pthread_mutex_lock(&pull->lock);
	snprintf(pull->stage, sizeof(pull->stage), "%s", stage);
	snprintf(pull->detail, sizeof(pull->detail), "%s", detail ? detail : "");
	pull->done = done;
	pull->total = total;
	pthread_mutex_unlock(&pull->lock);
	if (!atomic_exchange(&pull->posted, true))
		loop_post(pull->d->loop, pull_progressed, pull);
}

static void pull_run(struct work *work)
{
	struct pull *pull = (struct pull *)work;
	struct pull_progress progress = { .fn = pull_says,
					  .cookie = pull,
					  .cancel_fd = pull->d->cancel_fd };
	struct error err = { 0 };
	int failed = pull->is_kernel ? kernel_pull(&pull->d->host.images, pull->name, pull->force,
						   &progress, &err)
				     : image_pull(&pull->d->host.images, pull->name, pull->force,
						  &progress, &err);
	pull->err = failed < 0 ? err : (struct error){ 0 };
}

static void pull_done(struct work *work)
{
	struct pull *pull = (struct pull *)work;
	struct bangerd *d = pull->d;
	pull->running = false;
	pull->ended_ms = clock_monotonic_ms();
	if (pull->err.code != ERROR_NONE) {
		error_wrap(&pull->err, "cannot pull %s '%s'", pull->is_kernel ? "kernel" : "image",
			   pull->name);
		log_error(NULL, "%s", pull->err.text);
		event_add(d, EVENT_FAILED, NULL, "%s", pull->err.text);
	} else {
		event_add(d, EVENT_PULLED, NULL, "%s '%s'", pull->is_kernel ? "kernel" : "image",
			  pull->name);
		log_info(NULL, "pulled %s '%s'", pull->is_kernel ? "kernel" : "image", pull->name);
	}
	op_finish(d, pull->op, &pull->err);
	pull->op = NULL;
	for (size_t i = 0; i < d->vm_count; i++)
		vm_mark(d->vms[i]);
}

static struct pull *pull_find(struct bangerd *d, const char *name, bool is_kernel)
{
	for (struct pull *pull = d->pulls; pull; pull = pull->next)
		if (pull->is_kernel == is_kernel && !strcmp(pull->name, name))
			return pull;
	return NULL;
}

static struct pull *pull_begin(struct bangerd *d, const char *name, bool is_kernel, bool force)
{
	struct pull *pull = pull_find(d, name, is_kernel);
	if (pull && pull->running)
		return pull;
	if (!pull) {
		pull = xcalloc(1, sizeof(*pull));
		pull->d = d;
		pull->is_kernel = is_kernel;
		pthread_mutex_init(&pull->lock, NULL);
		snprintf(pull->name, sizeof(pull->name), "%s", name);
		pull->next = d->pulls;
		d->pulls = pull;
	}
	pull->work = (struct work){ .run = pull_run, .done = pull_done };
	pull->force = force;
	pull->running = true;
	pull->op = op_new(d, "pull", name);
	pool_submit(d->pool, &pull->work);
	return pull;
}

const struct op *pull_op(const struct pull *pull)
{
	return pull->op;
}

struct op *pull_start(struct bangerd *d, const char *name, bool force)
{
	return pull_begin(d, name, false, force)->op;
}

/* found: what the store says to its absence. A pull that brought something else (the image under
 * this name has moved on, a VM's disk is of the old one) does not help the next time either. */
static struct pull *need(struct bangerd *d, const char *name, bool is_kernel,
			 const struct error *found, struct error *failure)
{
	const struct pull *last = pull_find(d, name, is_kernel);
	if (!last || last->running || !last->ended_ms ||
	    clock_monotonic_ms() - last->ended_ms >= PULL_RETRY_MS)
		return pull_begin(d, name, is_kernel, false);
	if (last->err.code != ERROR_NONE)
		*failure = last->err;
	else
		error_set(failure, ERROR_SYSTEM, "%s '%s' was pulled, but: %s",
			  is_kernel ? "kernel" : "image", name, found->text);
	return NULL;
}

struct pull *pull_need(struct bangerd *d, const struct vm_spec *spec, const char *digest,
		       struct error *failure)
{
	struct image image = { 0 };
	struct kernel kernel = { 0 };
	struct error found;
	if (image_find(&d->host.images, digest ? digest : spec->image, &image, &found) < 0) {
		struct error ignored;
		if (!digest || image_find(&d->host.images, spec->image, &image, &ignored) < 0)
			return need(d, spec->image, false, &found, failure);
		/* The name is there and has moved on: no pull brings back what this VM was made
		 * from. Its start fails, and says so. */
		image_clear(&image);
		return NULL;
	}
	const char *name = spec->kernel[0] ? spec->kernel : image.kernel;
	struct pull *pull = NULL;
	if (kernel_find(&d->host.images, name, &kernel, &found) < 0)
		pull = need(d, name, true, &found, failure);
	image_clear(&image);
	kernel_clear(&kernel);
	return pull;
}

void pull_forget_failures(struct bangerd *d)
{
	for (struct pull *pull = d->pulls; pull; pull = pull->next)
		if (!pull->running)
			pull->ended_ms = 0;
}

void pulls_cancel(struct bangerd *d)
{
	eventfd_write(d->cancel_fd, 1);
}

void pulls_free(struct bangerd *d)
{
	while (d->pulls) {
		struct pull *next = d->pulls->next;
		pthread_mutex_destroy(&d->pulls->lock);
		free(d->pulls);
		d->pulls = next;
	}
}
