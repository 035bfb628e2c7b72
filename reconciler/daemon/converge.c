/* From "dirty" to "as wanted".
 *
 * Theory of operation: whatever happens (a request, a saved file, a death, a timer) only marks a
 * VM. Before the loop sleeps, every marked VM is looked at once: its wanted spec and its observed
 * state go through plan_vm(), the action that comes out becomes a job of the worker pool, one job a
 * VM at a time. When the job is done its result is recorded (outcome.c) and the VM is marked again,
 * until the plan says "none". A failed action keeps its error and backs off (1 s ... 5 min,
 * jittered); any change of what is wanted forgets that.
 *
 * An operation ends by success here only, when the plan has nothing more to do: a job that was
 * already under way when somebody asked for something else says nothing about what was asked. */
#include "daemon/sets.h"
#include "exec/capability.h"
#include "base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS	 300000 /* five minutes */
#define ROUNDS_MAX	 8

struct capabilities vm_capabilities(const struct bangerd *d)
{
	(void)d;
	struct capabilities can = hv_qemu.can; /* Firecracker's are the same */
	can.live_ssh_keys = true;	       /* the agent's doing, whatever the hypervisor */
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
	vm->change_failed = false;
	vm_forgive(vm);
	vm->stuck = false;
	vm->touched = true;
	vm->waiting[0] = '\0';
	if (vm->retry)
		loop_timer_stop(vm->retry);
	vm_mark(vm);
}

static void retry_now(void *data)
{
	vm_mark(data);
}

void vm_back_off(struct vm *vm)
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
	vm->retry_at_ms = clock_wall_ms() + (int64_t)wait;
	log_info(vm->row.name, "next try in %" PRIu64 " ms", wait);
	vm_event(vm, EVENT_BACKOFF, "next try in %" PRIu64 " s", (wait + 999) / 1000);
}

/* --- decisions --- */

/* What is made of it now. */
static const struct vm_spec *target_of(const struct vm *vm)
{
	return vm->keeps_old ? vm->applied : vm->want;
}

static bool needs_address(const struct vm *vm, enum action_kind kind)
{
	if (kind == ACTION_STOP || kind == ACTION_DELETE || kind == ACTION_LIVE)
		return false;
	/* A VM that was adopted runs without one. */
	return target_of(vm)->state == STATE_RUNNING && (!vm->pid || vm->adopted);
}

/* Chosen here and not by the job, and written down before it begins: two jobs never take one
 * address, and a daemon that dies while the VM starts knows it again. When all are taken (somebody
 * listens on 0.0.0.0) the job finds that out once more and says so. It stays as long as the VM
 * does, unless that moves to another network. */
static void reserve_address(struct vm *vm)
{
	struct bangerd *d = vm->d;
	struct error ignored;
	char address[16];
	bool bridge = d->host.subnet && job_wants_bridge(&d->host, target_of(vm));
	const char *old = vm->row.address;
	if (old && (bridge ? net_subnet_has(d->host.subnet, old) : net_address_is_user(old)))
		return;
	free(take_ptr(&vm->row.address));
	auto_free const char **taken = xcalloc(d->vm_count + 1, sizeof(*taken));
	size_t count = 0;
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i] != vm && d->vms[i]->row.address)
			taken[count++] = d->vms[i]->row.address;
	int found = bridge ? net_bridge_address(d->host.subnet, vm->row.id, taken, count, address,
						&ignored)
			   : net_user_address(vm->row.id, taken, count, address, &ignored);
	if (found == 0)
		vm->row.address = xstrdup(address);
	vm_save_or_log(vm);
}

static void job_run_work(struct work *work)
{
	job_run((struct job *)work);
}

static void submit(struct vm *vm, enum action_kind kind, enum change_class worst)
{
	struct bangerd *d = vm->d;
	if (needs_address(vm, kind))
		reserve_address(vm);
	struct job *job = job_new(&d->host, kind, vm->row.id, vm->row.name);
	job->work = (struct work){ .run = job_run_work, .done = job_done };
	job->owner = vm;
	job->loop = d->loop;
	job->on_progress = job_progressed;
	job->kill_now = kind == ACTION_DELETE;
	/* What could not be tidied up goes with it, or nobody would ever look for it again. */
	job->tidy = kind == ACTION_DELETE && vm_run_is_marked(d->vms_dir, vm->row.id);
	job->remake_work_disk = worst == CLASS_DATA_LOSS && vm->row.allow_data_loss;
	job->resume = vm->paused;
	job->adopted = vm->adopted != NULL;
	job->plugs_memory = vm->seen_memory_max > vm->seen_memory;
	job->disks_made = vm->row.image_digest != NULL;
	job->address = xstrdup(vm->row.address);
	if (kind != ACTION_CREATE && kind != ACTION_REIMAGE)
		job->image_digest = xstrdup(vm->row.image_digest);
	if (kind != ACTION_DELETE) {
		job->want = vm_spec_copy(target_of(vm));
		job->have = vm->applied ? vm_spec_copy(vm->applied) : NULL;
	}
	if (vm->pidfd >= 0)
		job->pidfd = fcntl(vm->pidfd, F_DUPFD_CLOEXEC, 0);
	job->ran_by = vm->hv;
	links_lend(vm);
	vm->job = job;
	vm->tried = kind;
	vm->tried_ms = clock_wall_ms();
	vm->restart_asked = vm->touched = false;
	if (kind == ACTION_REIMAGE || kind == ACTION_CREATE)
		vm->reimage_asked = false;
	vm->waiting[0] = '\0';
	if (!vm->op || kind == ACTION_DELETE)
		vm_begin_op(vm, action_kind_name(kind));
	op_stage(d, vm->op, action_kind_name(kind), "");
	log_info(vm->row.name, "%s", action_kind_name(kind));
	pool_submit(d->pool, &job->work);
}

static void tidied(struct work *work)
{
	struct job *job = (struct job *)work;
	struct vm *vm = job->owner;
	vm->job = NULL;
	if (job->err.code != ERROR_NONE)
		log_warn(vm->row.name, "what is left of its last run stays: %s", job->err.text);
	job_free(job);
	vm_mark(vm);
}

/* The daemon before us died while the VM stopped, or the hypervisor while no daemon ran. */
static void tidy(struct vm *vm)
{
	struct job *job = job_new(&vm->d->host, ACTION_STOP, vm->row.id, vm->row.name);
	job->work = (struct work){ .run = job_run_work, .done = tidied };
	job->owner = vm;
	job->tidy = true;
	vm->untidy = false;
	vm->job = job;
	pool_submit(vm->d->pool, &job->work);
}

/* The image or kernel could not be had. */
static void pull_failed(struct vm *vm, const struct error *failure)
{
	/* Once for each: all that want an image come here again with every try of it. */
	if (strcmp(vm_failure_text(vm), failure->text) != 0)
		vm_event(vm, EVENT_FAILED, "%s", failure->text);
	vm->change_failed = vm->applied != NULL;
	*vm_failure(vm) = *failure;
	if (error_retry(failure->code) == RETRY_BACKOFF)
		vm_back_off(vm);
	else
		vm->stuck = true;
	vm_op_done(vm, vm->failure);
	if (vm->forget_on_failure && !vm->row.image_digest)
		vm_forget(vm);
}

/* A creation waits for its image, together with all others that want it. */
static bool waits_for_pull(struct vm *vm, enum action_kind kind)
{
	if (kind == ACTION_STOP || kind == ACTION_DELETE || kind == ACTION_LIVE)
		return false;
	bool by_name = kind == ACTION_CREATE || kind == ACTION_REIMAGE;
	struct error failure = { 0 };
	struct pull *pull =
		pull_need(vm->d, target_of(vm), by_name ? NULL : vm->row.image_digest, &failure);
	if (failure.code != ERROR_NONE) {
		pull_failed(vm, &failure);
		return true;
	}
	if (!pull)
		return false;
	snprintf(vm->waiting, sizeof(vm->waiting), "pulling image '%s'", target_of(vm)->image);
	if (!vm->op)
		vm_begin_op(vm, action_kind_name(kind));
	op_stage(vm->d, vm->op, "pull", pull_op(pull)->stage);
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
	state.image_outdated &= !vm->keeps_old;
	plan_vm(vm->row.name, target_of(vm), &state, &policy, &plan);
	bool unfinished = vm_may_resume(vm) || vm_growth_is_pending(vm);
	enum action_kind kind = plan.kind == ACTION_NONE && unfinished ? ACTION_LIVE : plan.kind;
	*ret_worst = plan.worst;
	/* A restart carries smaller changes with it, and never hides a larger one. */
	if (vm->restart_asked && state.running && (kind == ACTION_NONE || kind == ACTION_LIVE))
		kind = ACTION_RESTART;
	snprintf(vm->waiting, sizeof(vm->waiting), "%s", plan.reason);
	if (kind == ACTION_REFUSE) {
		if (!vm->stuck)
			vm_event(vm, EVENT_REFUSED, "%s", plan.reason);
		error_set(vm_failure(vm), ERROR_CONFLICT, "vm '%s': %s", vm->row.name, plan.reason);
		vm->stuck = true;
	}
	vm_plan_clear(&plan);
	return kind;
}

/* Whoever waited is told so; while it boots, by its readiness, its end or the time that is set. */
static void nothing_to_do(struct vm *vm)
{
	vm->restart_asked = false;
	/* A guest may come round by itself after all. */
	if (!vm->stuck && vm->ready)
		vm_forgive(vm);
	rollback_forget_if_done(vm);
	if (vm->d->draining && vm->op && strcmp(vm->op->kind, "stop") != 0) {
		struct error err;
		error_set(&err, ERROR_CONFLICT,
			  "vm '%s': bangerd stops all VMs and ends, the next one goes on",
			  vm->row.name);
		vm_op_done(vm, &err);
		return;
	}
	if (vm->op && vm->pid && !vm->ready)
		vm_expect_ready(vm);
	else
		vm_op_done(vm, vm->stuck ? vm->failure : NULL);
}

/* Other VMs come first. Whoever waits for one that will not come is told so. */
static bool is_gated(struct vm *vm, enum gate gate)
{
	struct error err;
	vm->gate = gate;
	if (gate == GATE_OPEN)
		return false;
	vm->d->any_gated = true;
	if (gate == GATE_WAIT) {
		op_stage(vm->d, vm->op, "wait", vm->waiting);
		return true;
	}
	vm->restart_asked = false;
	error_set(&err, ERROR_SYSTEM, "vm '%s': %s", vm->row.name, vm->waiting);
	vm_op_done(vm, &err);
	return true;
}

/* A replica whose turn it is not: kept going by what it was made from. */
static bool waits_for_its_turn(struct vm *vm, enum action_kind *kind, enum change_class *worst)
{
	char why[sizeof(vm->waiting)];
	enum gate gate = roll_gate(vm, *kind);
	if (gate == GATE_OPEN)
		return false;
	memcpy(why, vm->waiting, sizeof(why));
	vm->keeps_old = true;
	*kind = decide(vm, worst);
	memcpy(vm->waiting, why, sizeof(why));
	return is_gated(vm, gate);
}

static bool is_idle(enum action_kind kind)
{
	return kind == ACTION_NONE || kind == ACTION_WAIT || kind == ACTION_KEEP ||
	       kind == ACTION_ADOPT || kind == ACTION_REFUSE;
}

static void look_at(struct vm *vm)
{
	vm->dirty = false;
	vm->gate = GATE_OPEN;
	if (vm->job) {
		/* A job that no longer leads where we want ends at its next step. To tidy up is
		 * on the way. */
		if (vm->row.deleting && vm->job->kind != ACTION_DELETE && !vm->job->tidy)
			atomic_store(&vm->job->cancel, true);
		return;
	}
	if (vm->untidy && !vm->pid) {
		tidy(vm);
		return;
	}
	if (rollback_if_due(vm))
		return;
	if (vm->retry && loop_timer_is_set(vm->retry) && !vm->row.deleting)
		return;
	enum change_class worst;
	vm->keeps_old = false;
	enum action_kind kind = decide(vm, &worst);
	bool waits = waits_for_its_turn(vm, &kind, &worst);
	if (is_idle(kind)) {
		if (!waits)
			nothing_to_do(vm);
		return;
	}
	if (vm->stuck && kind != ACTION_DELETE)
		return;
	if (!waits_for_pull(vm, kind) && (waits || !is_gated(vm, order_gate(vm, kind))))
		submit(vm, kind, worst);
}

static void look_at_all(struct bangerd *d, bool (*is_due)(const struct vm *vm))
{
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		if (!is_due(vm))
			continue;
		look_at(vm);
		if (i < d->vm_count && d->vms[i] != vm)
			i--; /* it was forgotten */
	}
}

static bool is_dirty(const struct vm *vm)
{
	return vm->dirty;
}

static bool is_waiting(const struct vm *vm)
{
	return vm->gate != GATE_OPEN;
}

void converge(void *bangerd)
{
	struct bangerd *d = bangerd;
	/* A look may mark others: a rollback does, whoever is forgotten may have been waited for.
	 */
	for (int round = 0; d->any_dirty && round < ROUNDS_MAX; round++) {
		d->any_dirty = false;
		look_at_all(d, is_dirty);
		/* Those that wait for others are judged by what the others do now. */
		if (!d->any_gated)
			continue;
		d->any_gated = false;
		look_at_all(d, is_waiting);
	}
	if (drain_is_over(d))
		loop_quit(d->loop);
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
	vm_event(vm, EVENT_STOPPED, "its ttl has passed, it is deleted");
	vm->row.expired_revision = vm->row.revision;
	if (!vm->row.stack[0])
		vm->row.deleting = true;
	vm_save_or_log(vm);
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
