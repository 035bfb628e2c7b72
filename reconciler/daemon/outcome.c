/* What came of it: a job that ended, a guest that became ready or did not, a process that died.
 *
 * Each is written down and the VM marked; what follows is decided in converge.c. A job's failure
 * ends the operation it worked for and no other, and holds nothing up that was asked while it
 * ran. */
#include "daemon/bridge.h"
#include "daemon/sets.h"
#include "base/log.h"
#include "base/units.h"
#include "exec/handles.h"
#include "sys/proc.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SETTLED_MS 60000 /* a VM that ran so long starts anew at the first backoff step */

/* --- readiness --- */

static void not_ready_in_time(void *data)
{
	struct vm *vm = data;
	const struct agent_state *state = vm->feed ? agent_feed_state(vm->feed) : NULL;
	/* The operation is the job's now; what becomes of it is looked at after it. */
	if (vm->job)
		return;
	error_set(vm_failure(vm), ERROR_TIMEOUT,
		  "vm '%s' runs but is not ready after %" PRIu64
		  " s (it reached '%s'), see banger logs %s",
		  vm->row.name, vm->want->ready.timeout_ms / 1000,
		  state && state->phase[0] ? state->phase : "nothing", vm->row.name);
	log_warn(vm->row.name, "%s", vm_failure_text(vm));
	vm_event(vm, EVENT_NOT_READY, "%s", vm_failure_text(vm));
	vm_op_done(vm, vm->failure);
	vm_mark(vm); /* for those that wait for it */
}

static void ready_timer_start(struct vm *vm)
{
	if (!vm->ready_timer)
		vm->ready_timer = loop_timer_new(vm->d->loop, not_ready_in_time, vm);
	loop_timer_set(vm->ready_timer, vm->want->ready.timeout_ms);
}

void vm_expect_ready(struct vm *vm)
{
	/* Under way already; when it has passed, a new operation gets a new one. */
	if (!vm->ready_timer || !loop_timer_is_set(vm->ready_timer))
		ready_timer_start(vm);
	const struct agent_state *state = vm->feed ? agent_feed_state(vm->feed) : NULL;
	op_stage(vm->d, vm->op, "boot", state ? state->phase : "");
}

void vm_ready_changed(struct vm *vm)
{
	vm_mark(vm);
	if (!vm->ready) {
		ready_timer_start(vm);
		op_stage(vm->d, vm->op, "boot", "");
		return;
	}
	if (vm->ready_timer)
		loop_timer_stop(vm->ready_timer);
	if (!vm->stuck)
		vm_forgive(vm);
	if (good_proven(vm))
		vm_save_or_log(vm);
	if (!vm->booting) { /* it was found running */
		log_info(vm->row.name, "ready");
		vm_event(vm, EVENT_READY, "ready, found running");
		return;
	}
	vm->booting = false;
	vm->boot_ms = (uint64_t)(clock_wall_ms() - vm->started_ms);
	log_info(vm->row.name, "ready after %" PRIu64 " ms", vm->boot_ms);
	vm_note_boot(vm, vm->boot_ms);
	vm_event(vm, EVENT_READY, "ready after %.1f s", (double)vm->boot_ms / 1000);
}

/* --- results --- */

void job_progressed(struct job *job)
{
	struct vm *vm = job->owner;
	char stage[32], detail[128];
	job_progress(job, stage, detail);
	if (!vm->touched)
		op_stage(vm->d, vm->op, stage, detail);
}

/* A record says what lies on a disk of the guest; it goes with the disk. */
static void forget_workspace(struct vm *vm, const struct job *job)
{
	struct error ignored;
	if (!vm->row.workspace)
		return;
	auto_json cJSON *record =
		json_parse(vm->row.workspace, strlen(vm->row.workspace), &ignored);
	bool on_work_disk = job->want->work_disk &&
			    !strncmp(json_str(record, "path", WORKSPACE_PATH), "/root/", 6);
	bool had_work_disk = job->have && job->have->work_disk;
	if (on_work_disk ? had_work_disk && !job->remake_work_disk
			 : job->kind != ACTION_REIMAGE && job->kind != ACTION_CREATE)
		return;
	free(vm->row.workspace);
	vm->row.workspace = NULL;
}

static void record_success(struct vm *vm, struct job *job)
{
	if (job->kind == ACTION_STOP)
		return;
	forget_workspace(vm, job);
	if (job->image_digest_used[0]) {
		free(vm->row.image_digest);
		vm->row.image_digest = xstrdup(job->image_digest_used);
	}
	if (job->kernel_digest_used[0]) {
		free(vm->row.kernel_digest);
		vm->row.kernel_digest = xstrdup(job->kernel_digest_used);
	}
	good_unproven(vm);
	vm_spec_free(vm->applied);
	vm->applied = take_ptr(&job->want);
	free(vm->row.applied);
	auto_json cJSON *json = vm_spec_to_json(vm->applied);
	vm->row.applied = json_print(json);
	if (vm->pid && vm->ready && !job->stopped)
		good_proven(vm);
	vm_compare(vm);
}

static void record_gone(struct vm *vm)
{
	free(vm->row.image_digest);
	free(vm->row.applied);
	free(vm->row.good);
	free(vm->row.rollback);
	vm->row.image_digest = vm->row.applied = vm->row.good = vm->row.rollback = NULL;
	vm_spec_free(vm->applied);
	vm->applied = NULL;
	vm_compare(vm);
}

static void process_started(struct vm *vm, struct job *job)
{
	adopted_free(vm->adopted);
	vm->adopted = NULL;
	vm_running(vm, hv_driver_for(vm->applied->hypervisor), job->started_pid,
		   take_fd(&job->started_pidfd), job->started_ticks, clock_wall_ms());
	log_info(vm->row.name, "hypervisor started: pid %d", (int)vm->pid);
	vm->accel = job->accel;
	vm->seen_vcpus = vm->applied->vcpus;
	vm->seen_memory = vm->applied->memory;
	vm->seen_memory_max = vm_spec_memory_max(vm->applied);
	free(vm->row.exit_reason);
	vm->row.exit_reason = NULL;
	vm->booting = true;
	vm->ready = vm->want->ready.kind == READY_NONE;
	vm_ready_changed(vm);
}

/* Nobody waits for an agent any more that the spec does not ask for. */
static void readiness_may_have_changed(struct vm *vm)
{
	if (!vm->pid || vm->ready || vm->want->ready.kind != READY_NONE)
		return;
	vm->ready = true;
	vm_ready_changed(vm);
}

/* A process that we know nothing of may hold what the job needed: a daemon before us was killed
 * while it started it. */
static void look_for_holder(struct vm *vm, bool port)
{
	struct error err = { 0 };
	if (gather_host(vm->d, &err) < 0)
		log_error(NULL, "cannot look at the host: %s", err.text);
	/* Perhaps it is the address: one that was never started with may be another the next time.
	 */
	if (!port || vm->pid || vm->row.kernel_digest)
		return;
	free(vm->row.address);
	vm->row.address = NULL;
}

static void job_failed(struct vm *vm, struct job *job)
{
	bool cancelled = job->err.code == ERROR_CANCELLED;
	/* Superseded: whoever changed what is wanted has marked the VM already. */
	if (cancelled && atomic_load(&job->cancel))
		return;
	if (cancelled)
		job->err.code = ERROR_SYSTEM; /* not by us: its process ended */
	log_error(vm->row.name, "%s failed: %s", action_kind_name(job->kind), job->err.text);
	vm_event(vm, EVENT_FAILED, "%s failed: %s", action_kind_name(job->kind), job->err.text);
	if (vm->touched)
		return; /* something was asked for since: that is tried at once */
	if (vm->may_restart && job->kind == ACTION_LIVE && !cancelled) {
		log_info(vm->row.name, "restarting it, as was allowed");
		vm->may_restart = false;
		vm->restart_asked = true;
		return;
	}
	vm->change_failed = vm->applied && !vm_spec_equal(vm->applied, vm->want);
	*vm_failure(vm) = job->err;
	auto_free char *who = xasprintf("vm '%s': %s", vm->row.name, action_kind_name(job->kind));
	error_wrap(vm->failure, "%s", who);
	vm_op_done(vm, vm->failure);
	if (job->err.code == ERROR_BUSY && !vm->pid)
		look_for_holder(vm, job->err.sys == EADDRINUSE);
	if (error_retry(job->err.code) == RETRY_BACKOFF)
		vm_back_off(vm);
	else
		vm->stuck = true;
}

/* `create` and a failed first creation: nothing stays, not even the row; unless somebody wanted
 * something of it meanwhile. */
static bool forget_failed_creation(struct vm *vm, const struct job *job)
{
	if (!vm->forget_on_failure || vm->touched || job->kind != ACTION_CREATE ||
	    job->err.code == ERROR_NONE || vm->row.image_digest)
		return false;
	vm_forget(vm);
	return true;
}

static void deleted(struct vm *vm)
{
	log_info(vm->row.name, "deleted");
	vm_event(vm, EVENT_DELETED, "deleted with its disks");
	vm_op_done(vm, NULL);
	vm_forget(vm);
}

static void say_forced(const struct vm *vm)
{
	static const char text[] = "its guest did not shut down in time: ended by force, what it "
				   "had not synced is lost";
	log_warn(vm->row.name, "%s", text);
	vm_event(vm, EVENT_STOPPED, "%s", text);
}

static void process_after(struct vm *vm, const struct job *job)
{
	if (job->stopped && job->forced)
		say_forced(vm);
	if (job->stopped)
		vm_not_running(vm);
	else if (vm->pid && proc_wait_gone(vm->pidfd, 0) == 0)
		vm_exited(vm); /* it died while a job that did not mean to end it was under way */
	else if (vm->pid)
		links_open(vm);
}

/* What a job was good for, in what it is told as; changed: the fields, as a plan shows them. */
static void say_done(const struct vm *vm, const struct job *job, const char *changed)
{
	static const struct {
		enum event_kind kind;
		const char *text;
	} said[ACTION_COUNT_] = {
		[ACTION_CREATE] = { EVENT_CREATED, "created" },
		[ACTION_STOP] = { EVENT_STOPPED, "stopped" },
		[ACTION_LIVE] = { EVENT_LIVE, "changed" },
		[ACTION_RESTART] = { EVENT_RESTARTED, "restarted" },
		[ACTION_REIMAGE] = { EVENT_REIMAGED, "has a new system disk" },
		[ACTION_DELETE] = { EVENT_DELETED, "its disks are deleted" },
	};
	if (said[job->kind].text)
		vm_event(vm, said[job->kind].kind, "%s%s%s", said[job->kind].text,
			 changed[0] ? ": " : "", changed);
	if (job->started_pid)
		vm_event(vm, EVENT_STARTED, "hypervisor started, pid %d", (int)job->started_pid);
}

static void succeeded(struct vm *vm, struct job *job)
{
	auto_buf struct buf changed = BUF_INIT;
	changes_text(vm->d, vm->applied, job->want, &changed);
	say_done(vm, job, changed.data);
	vm->stuck = vm->change_failed = false;
	vm_forgive(vm);
	if (job->kind == ACTION_DELETE)
		record_gone(vm); /* it is wanted again meanwhile, or its ttl has passed */
	else
		record_success(vm, job);
	if (job->resume && job->kind == ACTION_LIVE) {
		log_info(vm->row.name, "the guest goes on");
		vm_paused(vm, false); /* if not, the monitor says so when we are back */
	}
	if (job->started_pid)
		process_started(vm, job);
	else
		readiness_may_have_changed(vm);
}

void job_done(struct work *work)
{
	struct job *job = (struct job *)work; /* work is its first member */
	struct vm *vm = job->owner;
	bool failed = job->err.code != ERROR_NONE;
	vm->job = NULL;
	process_after(vm, job);
	bridge_settle(vm->d);
	if (!failed && job->kind == ACTION_DELETE && vm->row.deleting) {
		deleted(vm);
		job_free(job);
		return;
	}
	if (failed)
		job_failed(vm, job);
	else
		succeeded(vm, job);
	if (!forget_failed_creation(vm, job)) {
		vm_save_or_log(vm);
		vm_mark(vm);
	}
	job_free(job);
}

/* --- a guest that stands still --- */

#define RESUME_MS    2000
#define RESUME_SPACE (64 * MIB)

bool vm_may_resume(const struct vm *vm)
{
	struct error err;
	return vm->paused && vm->pid &&
	       disk_check_space(vm->d->vms_dir, RESUME_SPACE + reserve_wanted(vm), &err) == 0;
}

static void try_resume(void *data)
{
	struct vm *vm = data;
	if (!vm->paused || !vm->pid)
		return;
	loop_timer_set(vm->resume, RESUME_MS);
	if (vm_may_resume(vm))
		vm_mark(vm);
}

void vm_paused(struct vm *vm, bool paused)
{
	if (vm->paused != paused)
		vm_event(vm, paused ? EVENT_PAUSED : EVENT_RESUMED, "%s",
			 paused ? "the host's disk is full, the guest stands still"
				: "the guest goes on");
	vm->paused = paused;
	if (!vm->resume)
		vm->resume = loop_timer_new(vm->d->loop, try_resume, vm);
	if (paused)
		loop_timer_set(vm->resume, RESUME_MS);
	else
		loop_timer_stop(vm->resume);
}

/* --- a death --- */

static void record_exit(struct vm *vm, enum exit_reason reason, bool was_ready)
{
	free(vm->row.exit_reason);
	vm->row.exit_reason = xstrdup(exit_reason_name(reason));
	vm->row.exit_revision = vm->row.revision;
	vm->restarts++;
	if (!was_ready && !vm->failure)
		error_set(vm_failure(vm), ERROR_SYSTEM,
			  "vm '%s' ended before it was ready (%s), see banger logs %s",
			  vm->row.name, exit_reason_name(reason), vm->row.name);
	if (vm->failure)
		vm_op_done(vm, vm->failure);
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
	bool asked = vm->row.hold != HOLD_NONE || vm->row.deleting || vm->d->draining;
	vm_event(vm, asked ? EVENT_STOPPED : EVENT_DIED, "its hypervisor (pid %d) ended: %s",
		 (int)pid, exit_reason_name(reason));
	vm_not_running(vm);
	vm->untidy = true;
	vm->stuck = false; /* what could not be done to the process that is gone */
	vm_mark(vm);
	if (asked) {
		vm_save_or_log(vm);
		return;
	}
	record_exit(vm, reason, was_ready);
	vm_save_or_log(vm);
	/* The first death is answered at once; a VM that keeps dying waits longer each time. */
	if (long_lived)
		vm->failures = 0;
	if (vm->failures > 0 || !was_ready)
		vm_back_off(vm);
	else
		vm->failures = 1;
}
