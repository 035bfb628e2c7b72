/* From "dirty" to "as wanted".
 *
 * Theory of operation: whatever happens (a request, a saved file, a death, a timer) only marks a VM.
 * Before the loop sleeps, every marked VM is looked at once: its wanted spec and its observed state
 * go through plan_vm(), the action that comes out becomes a job of the worker pool, one job a VM at
 * a time. When the job is done its result is recorded and the VM is marked again, until the plan
 * says "none". A failed action keeps its error and backs off (1 s ... 5 min, jittered); any change
 * of what is wanted forgets that. */
#include "daemon/bangerd.h"
#include "base/log.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS   (300 * 1000)
#define SETTLED_MS       60000 /* a VM that ran so long starts anew at the first backoff step */

struct capabilities vm_capabilities(const struct bangerd *d)
{
	struct capabilities can = d->host.hv->can;
	can.live_ssh_keys = true; /* the agent's doing, whatever the hypervisor */
	return can;
}

void vm_mark(struct vm *vm)
{
	vm->dirty = true;
	vm->d->any_dirty = true;
}

void vm_mark_now(struct vm *vm)
{
	vm->failures = 0;
	vm->last_error = (struct error){ 0 };
	vm->stuck = false;
	vm->waiting[0] = '\0';
	if (vm->retry)
		loop_timer_stop(vm->retry);
	vm_mark(vm);
}

static void retry_now(void *data)
{
	vm_mark(data);
}

static void back_off(struct vm *vm)
{
	unsigned shift = vm->failures < 12 ? vm->failures : 12;
	uint64_t wait = (uint64_t)BACKOFF_FIRST_MS << shift;
	if (wait > BACKOFF_MAX_MS)
		wait = BACKOFF_MAX_MS;
	wait += (uint64_t)(clock_monotonic_ms() * 7919 % (wait / 4 + 1));
	vm->failures++;
	if (!vm->retry)
		vm->retry = loop_timer_new(vm->d->loop, retry_now, vm);
	loop_timer_set(vm->retry, wait);
	log_info(vm->row.name, "next try in %" PRIu64 " ms", wait);
}

static void save_or_log(struct vm *vm)
{
	struct error err = { 0 };
	if (vm_save(vm, &err) < 0)
		log_error(vm->row.name, "cannot save it: %s", err.text);
}

static void op_done(struct vm *vm, const struct error *err)
{
	if (!err)
		op_stage(vm->d, vm->op, vm_phase_name(vm), "");
	op_finish(vm->d, vm->op, err);
	vm->op = NULL;
}

static struct op *op_of(struct vm *vm, enum action_kind kind)
{
	if (!vm->op)
		vm->op = op_new(vm->d, action_kind_name(kind), vm->row.name);
	return vm->op;
}

/* --- readiness --- */

static void not_ready_in_time(void *data)
{
	struct vm *vm = data;
	const struct agent_state *state = vm->feed ? agent_feed_state(vm->feed) : NULL;
	error_set(&vm->last_error, ERROR_TIMEOUT,
		  "vm '%s' runs but is not ready after %" PRIu64
		  " s (it reached '%s'), see banger logs %s",
		  vm->row.name, vm->want->ready.timeout_ms / 1000,
		  state && state->phase[0] ? state->phase : "nothing", vm->row.name);
	log_warn(vm->row.name, "%s", vm->last_error.text);
	op_done(vm, &vm->last_error);
}

static void expect_ready(struct vm *vm)
{
	if (!vm->ready_timer)
		vm->ready_timer = loop_timer_new(vm->d->loop, not_ready_in_time, vm);
	loop_timer_set(vm->ready_timer, vm->want->ready.timeout_ms);
	op_stage(vm->d, vm->op, "boot", "");
}

void vm_ready_changed(struct vm *vm)
{
	if (!vm->ready) {
		expect_ready(vm);
		return;
	}
	if (vm->ready_timer)
		loop_timer_stop(vm->ready_timer);
	if (vm->booting) /* not one that was found running */
		vm->boot_ms = (uint64_t)(clock_wall_ms() - vm->started_ms);
	vm->booting = false;
	vm->last_error = (struct error){ 0 };
	log_info(vm->row.name, "ready after %" PRIu64 " ms", vm->boot_ms);
	if (!vm->job)
		op_done(vm, NULL);
}

/* --- results --- */

static void job_progressed(struct job *job)
{
	struct vm *vm = job->owner;
	char stage[32], detail[128];
	job_progress(job, stage, detail);
	op_stage(vm->d, vm->op, stage, detail);
}

static void record_success(struct vm *vm, struct job *job)
{
	if (job->kind == ACTION_STOP)
		return;
	free(vm->row.address);
	vm->row.address = take_ptr(&job->address);
	if (job->image_digest_used[0]) {
		free(vm->row.image_digest);
		vm->row.image_digest = xstrdup(job->image_digest_used);
	}
	if (job->kernel_digest_used[0]) {
		free(vm->row.kernel_digest);
		vm->row.kernel_digest = xstrdup(job->kernel_digest_used);
	}
	vm_spec_free(vm->applied);
	vm->applied = take_ptr(&job->want);
	free(vm->row.applied);
	auto_json cJSON *json = vm_spec_to_json(vm->applied);
	vm->row.applied = json_print(json);
}

static void record_gone(struct vm *vm)
{
	free(vm->row.image_digest);
	free(vm->row.applied);
	vm->row.image_digest = vm->row.applied = NULL;
	vm_spec_free(vm->applied);
	vm->applied = NULL;
}

static void process_started(struct vm *vm, struct job *job)
{
	vm_running(vm, job->started_pid, take_fd(&job->started_pidfd), job->started_ticks,
		   clock_wall_ms());
	log_info(vm->row.name, "hypervisor started: pid %d", (int)vm->pid);
	vm->accel = job->accel;
	vm->seen_vcpus = vm->applied->vcpus;
	vm->seen_memory = vm->applied->memory;
	free(vm->row.exit_reason);
	vm->row.exit_reason = NULL;
	vm->booting = true;
	vm->ready = vm->want->ready.kind == READY_NONE;
	if (vm->ready)
		vm_ready_changed(vm);
	else
		expect_ready(vm);
}

/* Whoever changed what is wanted has marked the VM already; how the job ended, even if by a fault of
 * its own before it saw that it was cancelled, is not the answer to the new wish. */
static bool was_superseded(const struct vm *vm, const struct job *job)
{
	return job->err.code == ERROR_CANCELLED || atomic_load(&job->cancel) ||
	       (vm->row.deleting && job->kind != ACTION_DELETE);
}

static void job_failed(struct vm *vm, struct job *job)
{
	if (was_superseded(vm, job))
		return;
	vm->last_error = job->err;
	auto_free char *who = xasprintf("vm '%s': %s", vm->row.name, action_kind_name(job->kind));
	error_wrap(&vm->last_error, "%s", who);
	log_error(vm->row.name, "%s failed: %s", action_kind_name(job->kind), job->err.text);
	op_done(vm, &vm->last_error);
	if (error_retry(job->err.code) == RETRY_BACKOFF)
		back_off(vm);
	else
		vm->stuck = true;
}

/* `create` and a failed first creation: nothing stays, not even the row. */
static bool forget_failed_creation(struct vm *vm, const struct job *job)
{
	if (!vm->forget_on_failure || job->kind != ACTION_CREATE ||
	    job->err.code == ERROR_NONE || vm->row.image_digest)
		return false;
	vm_forget(vm);
	return true;
}

static void job_done(struct work *work)
{
	struct job *job = (struct job *)work; /* work is its first member */
	struct vm *vm = job->owner;
	bool deleted = job->kind == ACTION_DELETE && job->err.code == ERROR_NONE;
	vm->job = NULL;
	if (job->stopped)
		vm_not_running(vm);
	else if (vm->pid && proc_wait_gone(vm->pidfd, 0) == 0)
		vm_exited(vm); /* it died while a job that did not mean to end it was under way */
	else if (vm->pid)
		links_open(vm);

	if (deleted && vm->row.deleting) {
		log_info(vm->row.name, "deleted");
		op_done(vm, NULL);
		vm_forget(vm);
		job_free(job);
		return;
	}
	if (deleted)
		record_gone(vm);
	else if (job->err.code == ERROR_NONE)
		record_success(vm, job);
	else
		job_failed(vm, job);
	if (forget_failed_creation(vm, job)) {
		job_free(job);
		return;
	}
	if (job->err.code == ERROR_NONE) {
		vm->stuck = false;
		if (job->resume) {
			log_info(vm->row.name, "the guest goes on");
			vm_paused(vm, false); /* if not, the monitor says so when we are back */
		}
		if (job->started_pid)
			process_started(vm, job);
		if (!vm->pid || vm->ready)
			op_done(vm, NULL);
	}
	save_or_log(vm);
	vm_mark(vm);
	job_free(job);
}

/* --- a guest that stands still --- */

#define RESUME_MS    2000
#define RESUME_SPACE (64 * 1024 * 1024)

static void try_resume(void *data)
{
	struct vm *vm = data;
	struct error err;
	if (!vm->paused || !vm->pid)
		return;
	loop_timer_set(vm->resume, RESUME_MS);
	if (disk_check_space(vm->d->vms_dir, RESUME_SPACE, &err) == 0)
		vm_mark(vm);
}

void vm_paused(struct vm *vm, bool paused)
{
	vm->paused = paused;
	if (!vm->resume)
		vm->resume = loop_timer_new(vm->d->loop, try_resume, vm);
	if (paused)
		loop_timer_set(vm->resume, RESUME_MS);
	else
		loop_timer_stop(vm->resume);
}

static bool may_resume(const struct vm *vm)
{
	struct error err;
	return vm->paused && vm->pid && disk_check_space(vm->d->vms_dir, RESUME_SPACE, &err) == 0;
}

void vm_exited(struct vm *vm)
{
	enum exit_reason reason = vm->exit_hint;
	pid_t pid = vm->pid;
	bool long_lived = vm->started_ms && clock_wall_ms() - vm->started_ms > SETTLED_MS;
	bool was_ready = vm->ready;
	if (vm->job) {
		/* The job that is under way stops it, or finds it gone. */
		loop_unwatch(vm->gone_watch);
		vm->gone_watch = NULL;
		return;
	}
	log_warn(vm->row.name, "its hypervisor (pid %d) ended: %s", (int)pid,
		 exit_reason_name(reason));
	vm_not_running(vm);
	if (vm->row.hold == HOLD_NONE && !vm->row.deleting) {
		free(vm->row.exit_reason);
		vm->row.exit_reason = xstrdup(exit_reason_name(reason));
		vm->row.exit_revision = vm->row.revision;
		vm->restarts++;
		if (!was_ready && vm->last_error.code == ERROR_NONE)
			error_set(&vm->last_error, ERROR_SYSTEM,
				  "vm '%s' ended before it was ready (%s), see banger logs %s",
				  vm->row.name, exit_reason_name(reason), vm->row.name);
	}
	if (vm->op) {
		struct error err = vm->last_error;
		if (vm->row.hold || vm->row.deleting)
			op_done(vm, NULL);
		else if (err.code != ERROR_NONE)
			op_done(vm, &err);
	}
	save_or_log(vm);
	/* The first death is answered at once; a VM that keeps dying waits longer each time. */
	if (long_lived)
		vm->failures = 0;
	if (vm->failures++ > 0 || !was_ready)
		back_off(vm);
	vm_mark(vm);
}

/* --- decisions --- */

static char **addresses_of_others(struct bangerd *d, const struct vm *self)
{
	char **list = xcalloc(d->vm_count + 1, sizeof(*list));
	size_t count = 0;
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i] != self && d->vms[i]->row.address)
			list[count++] = xstrdup(d->vms[i]->row.address);
	return list;
}

static void job_run_work(struct work *work)
{
	job_run((struct job *)work);
}

static void submit(struct vm *vm, enum action_kind kind, enum change_class worst)
{
	struct bangerd *d = vm->d;
	struct job *job = job_new(&d->host, kind, vm->row.id, vm->row.name);
	job->work = (struct work){ .run = job_run_work, .done = job_done };
	job->owner = vm;
	job->loop = d->loop;
	job->on_progress = job_progressed;
	job->kill_now = kind == ACTION_DELETE;
	job->remake_work_disk = worst == CLASS_DATA_LOSS && vm->row.allow_data_loss;
	job->resume = vm->paused;
	job->disks_made = vm->row.image_digest != NULL;
	job->address = xstrdup(vm->row.address);
	if (kind != ACTION_CREATE && kind != ACTION_REIMAGE)
		job->image_digest = xstrdup(vm->row.image_digest);
	if (kind != ACTION_DELETE) {
		job->want = vm_spec_copy(vm->want);
		job->have = vm->applied ? vm_spec_copy(vm->applied) : NULL;
		if (!job->address)
			job->taken_addresses = addresses_of_others(d, vm);
	}
	if (vm->pidfd >= 0)
		job->pidfd = fcntl(vm->pidfd, F_DUPFD_CLOEXEC, 0);
	links_lend(vm);
	vm->job = job;
	vm->restart_asked = false;
	if (kind == ACTION_REIMAGE)
		vm->reimage_asked = false;
	vm->waiting[0] = '\0';
	op_stage(d, op_of(vm, kind), action_kind_name(kind), "");
	log_info(vm->row.name, "%s", action_kind_name(kind));
	pool_submit(d->pool, &job->work);
}

/* A creation waits for its image, together with all others that want it. */
static bool waits_for_pull(struct vm *vm, enum action_kind kind)
{
	if (kind == ACTION_STOP || kind == ACTION_DELETE || kind == ACTION_LIVE)
		return false;
	bool by_name = kind == ACTION_CREATE || kind == ACTION_REIMAGE;
	const struct error *failure = pull_failure(vm->d, vm->want);
	if (failure) {
		vm->last_error = *failure;
		if (error_retry(failure->code) == RETRY_BACKOFF)
			back_off(vm);
		else
			vm->stuck = true;
		if (vm->op)
			op_done(vm, &vm->last_error);
		if (vm->forget_on_failure && !vm->row.image_digest)
			vm_forget(vm);
		return true;
	}
	struct pull *pull = pull_need(vm->d, vm->want, by_name ? NULL : vm->row.image_digest);
	if (!pull)
		return false;
	snprintf(vm->waiting, sizeof(vm->waiting), "pulling image '%s'", vm->want->image);
	op_stage(vm->d, op_of(vm, kind), "pull", pull_op(pull)->stage);
	return true;
}

static bool is_expired(const struct vm *vm)
{
	return vm->row.expired_revision && vm->row.expired_revision == vm->row.revision;
}

static enum action_kind decide(struct vm *vm, enum change_class *ret_worst)
{
	struct plan_policy policy = { .can = vm_capabilities(vm->d),
				      .allow_data_loss = vm->row.allow_data_loss };
	struct plan_vm_state state;
	struct vm_plan plan;
	auto_ptr(vm_spec) have = NULL;
	vm_state(vm, &state, &have);
	*ret_worst = CLASS_NONE;
	if (vm->row.deleting)
		return ACTION_DELETE;
	if (is_expired(vm) && (state.running || state.disks_made))
		return ACTION_DELETE;
	if (vm->restart_asked && state.running)
		return ACTION_RESTART;
	plan_vm(vm->row.name, vm->want, &state, &policy, &plan);
	enum action_kind kind = plan.kind == ACTION_NONE && may_resume(vm) ? ACTION_LIVE : plan.kind;
	*ret_worst = plan.worst;
	snprintf(vm->waiting, sizeof(vm->waiting), "%s", plan.reason);
	if (kind == ACTION_REFUSE) {
		error_set(&vm->last_error, ERROR_CONFLICT, "vm '%s': %s", vm->row.name, plan.reason);
		vm->stuck = true;
	}
	vm_plan_clear(&plan);
	return kind;
}

static void nothing_to_do(struct vm *vm)
{
	/* Whoever waited for an action that turned out to be needless is told so. */
	if (vm->op && (!vm->pid || vm->ready))
		op_done(vm, vm->stuck ? &vm->last_error : NULL);
}

static void look_at(struct vm *vm)
{
	vm->dirty = false;
	if (vm->job) {
		/* A job that no longer leads where we want ends at its next step. */
		if (vm->row.deleting && vm->job->kind != ACTION_DELETE)
			atomic_store(&vm->job->cancel, true);
		return;
	}
	if (vm->retry && loop_timer_is_set(vm->retry) && !vm->row.deleting)
		return;
	enum change_class worst;
	enum action_kind kind = decide(vm, &worst);
	switch (kind) {
	case ACTION_NONE:
	case ACTION_WAIT:
	case ACTION_KEEP:
	case ACTION_ADOPT:
	case ACTION_REFUSE:
		nothing_to_do(vm);
		return;
	default:
		break;
	}
	if (vm->stuck && kind != ACTION_DELETE)
		return;
	if (!waits_for_pull(vm, kind))
		submit(vm, kind, worst);
}

void converge(void *bangerd)
{
	struct bangerd *d = bangerd;
	if (!d->any_dirty)
		return;
	d->any_dirty = false;
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		if (!vm->dirty)
			continue;
		look_at(vm);
		if (i < d->vm_count && d->vms[i] != vm)
			i--; /* it was forgotten */
	}
}

/* --- ttl --- */

static void ttl_passed(struct vm *vm)
{
	if (vm->want->protect) {
		log_warn(vm->row.name, "its ttl has passed but it is protected, ignoring");
		vm->row.expired_revision = 0;
		return;
	}
	log_info(vm->row.name, "its ttl has passed, deleting it");
	vm->row.expired_revision = vm->row.revision;
	if (!vm->row.stack[0])
		vm->row.deleting = true;
	save_or_log(vm);
	vm_mark_now(vm);
}

void converge_schedule_ttl(struct bangerd *d)
{
	int64_t now = clock_wall_ms(), next = INT64_MAX;
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		if (!vm->want->ttl_ms || is_expired(vm) || vm->row.deleting)
			continue;
		int64_t at = vm->row.created_ms + (int64_t)vm->want->ttl_ms;
		if (at <= now && !vm->want->protect)
			ttl_passed(vm);
		else if (at > now && at < next)
			next = at;
	}
	if (next == INT64_MAX)
		loop_timer_stop(d->ttl);
	else
		loop_timer_set(d->ttl, (uint64_t)(next - now) + 1);
}
