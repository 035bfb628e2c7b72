/* A VM in memory. The row is intent and identity; everything about the process was seen on the
 * host. */
#include "daemon/sets.h"
#include "base/fs.h"
#include "base/log.h"
#include "exec/handles.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

/* The file that a spec was read from is kept beside it: it is no part of its meaning. */
#define FILE_KEY "file"

struct vm_spec *spec_from_text(const char *text, char **ret_file, struct error *err)
{
	auto_json cJSON *json = json_parse(text, strlen(text), err);
	if (!json)
		return NULL;
	auto_json cJSON *file = cJSON_DetachItemFromObject(json, FILE_KEY);
	if (ret_file)
		*ret_file = cJSON_IsString(file) ? xstrdup(file->valuestring) : NULL;
	return vm_spec_from_json(json, err);
}

char *spec_to_text(const struct vm_spec *spec, const char *file)
{
	auto_json cJSON *json = vm_spec_to_json(spec);
	if (file)
		json_add_str(json, FILE_KEY, file);
	return json_print(json);
}

static size_t vm_position(const struct bangerd *d, const char *name, bool *ret_found)
{
	size_t low = 0, high = d->vm_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(d->vms[middle]->row.name, name);
		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = false;
	return low;
}

struct vm *vm_find(struct bangerd *d, const char *name)
{
	bool found;
	size_t at = vm_position(d, name, &found);
	return found ? d->vms[at] : NULL;
}

size_t vms_from(const struct bangerd *d, const char *name)
{
	bool ignored;
	return vm_position(d, name, &ignored);
}

struct vm *vm_find_id(struct bangerd *d, const char *id)
{
	for (size_t i = 0; i < d->vm_count; i++)
		if (!strcmp(d->vms[i]->row.id, id))
			return d->vms[i];
	return NULL;
}

static void vm_insert(struct bangerd *d, struct vm *vm)
{
	bool found;
	size_t at = vm_position(d, vm->row.name, &found);
	if (found)
		BUG("two VMs called '%s'", vm->row.name);
	if (d->vm_count == d->vm_room) {
		d->vm_room = d->vm_room ? d->vm_room * 2 : 64;
		d->vms = xreallocarray(d->vms, d->vm_room, sizeof(*d->vms));
	}
	memmove(&d->vms[at + 1], &d->vms[at], (d->vm_count++ - at) * sizeof(*d->vms));
	d->vms[at] = vm;
}

static struct vm *vm_blank(struct bangerd *d)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));
	vm->d = d;
	vm->pidfd = vm->dirfd = -1;
	vm->monitor.fd = vm->agent.fd = vm->console_link.fd = vm->console.log_fd = -1;
	return vm;
}

struct vm *vm_new(struct bangerd *d, struct store_vm *row, struct error *err)
{
	struct vm *vm = vm_blank(d);
	vm->row = *row;
	*row = (struct store_vm){ 0 };
	vm->want = spec_from_text(vm->row.spec, &vm->file, err);
	if (vm->want && vm->row.applied)
		vm->applied = spec_from_text(vm->row.applied, NULL, err);
	if (!vm->want || (vm->row.applied && !vm->applied)) {
		error_wrap(err, "vm '%s': its stored spec", vm->row.name);
		vm_free(vm);
		return NULL;
	}
	vm_compare(vm);
	vm_insert(d, vm);
	return vm;
}

static int fresh_id(struct bangerd *d, char id[VM_ID_LEN + 1], struct error *err)
{
	do {
		uint64_t random;
		if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
			return error_sys(err, "cannot get random bytes");
		snprintf(id, VM_ID_LEN + 1, "%010llx",
			 (unsigned long long)(random & 0xffffffffffULL));
	} while (vm_find_id(d, id));
	return 0;
}

struct vm *vm_create(struct bangerd *d, const char *stack, const struct vm_spec *spec,
		     struct error *err)
{
	char id[VM_ID_LEN + 1];
	return fresh_id(d, id, err) < 0 ? NULL : vm_create_as(d, id, stack, spec);
}

struct vm *vm_create_as(struct bangerd *d, const char *id, const char *stack,
			const struct vm_spec *spec)
{
	struct vm *vm = vm_blank(d);
	str_copy(vm->row.id, sizeof(vm->row.id), id);
	vm->row.name = xstrdup(spec->name);
	vm->row.stack = xstrdup(stack);
	vm->row.created_ms = clock_wall_ms();
	vm_want(vm, spec);
	vm_insert(d, vm);
	return vm;
}

void vm_want(struct vm *vm, const struct vm_spec *spec)
{
	bool same = vm->want && vm_spec_equal(vm->want, spec);
	struct vm_spec *copy = vm_spec_copy(spec);
	free(vm->file);
	vm->file = xstrdup(spec->file);
	char *text = spec_to_text(copy, vm->file);
	if (!same) {
		vm->row.revision++;
		vm->row.allow_data_loss = false;
		vm->change_failed = false;
		free(vm->row.rollback);
		vm->row.rollback = NULL;
	}
	vm_spec_free(vm->want);
	free(vm->row.spec);
	vm->want = copy;
	vm->row.spec = text;
	vm_compare(vm);
}

void vm_revive(struct vm *vm)
{
	vm->row.deleting = false;
	vm->row.hold = HOLD_NONE;
	free(vm->row.exit_reason);
	vm->row.exit_reason = NULL;
	free(vm->row.workspace);
	vm->row.workspace = NULL;
	vm->row.ephemeral = false;
	vm->row.expired_revision = 0;
	vm->row.created_ms = clock_wall_ms();
	vm->restart_asked = vm->reimage_asked = vm->forget_on_failure = false;
	vm->restarts = 0;
	if (vm->op)
		vm_begin_op(vm, "create");
}

int vm_save(struct vm *vm, struct error *err)
{
	ssh_config_stale(vm->d);
	return store_vm_put(vm->d->store, &vm->row, err);
}

void vm_save_or_log(struct vm *vm)
{
	struct error err = { 0 };
	if (vm_save(vm, &err) < 0)
		log_error(vm->row.name, "cannot save it: %s", err.text);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_not_running(vm);
	loop_timer_free(vm->retry);
	loop_timer_free(vm->ready_timer);
	loop_timer_free(vm->resume);
	store_vm_clear(&vm->row);
	vm_spec_free(vm->want);
	vm_spec_free(vm->applied);
	free(vm->file);
	adopted_free(vm->adopted);
	free(vm->failure);
	free(vm);
}

struct error *vm_failure(struct vm *vm)
{
	if (!vm->failure)
		vm->failure = xcalloc(1, sizeof(*vm->failure));
	return vm->failure;
}

const char *vm_failure_text(const struct vm *vm)
{
	return vm->failure ? vm->failure->text : "";
}

void vm_forgive(struct vm *vm)
{
	free(take_ptr(&vm->failure));
}

void vm_forget(struct vm *vm)
{
	struct bangerd *d = vm->d;
	struct error err = { 0 };
	ssh_config_stale(d);
	if (vm->op) {
		error_set(&err, ERROR_CANCELLED, "vm '%s' is gone", vm->row.name);
		vm_op_done(vm, &err);
	}
	if (store_vm_remove(d->store, vm->row.id, &err) < 0)
		log_error(vm->row.name, "cannot forget it: %s", err.text);
	bool found;
	size_t at = vm_position(d, vm->row.name, &found);
	if (found)
		memmove(&d->vms[at], &d->vms[at + 1], (--d->vm_count - at) * sizeof(*d->vms));
	d->any_dirty |= d->any_gated; /* somebody may have waited for it */
	vm_free(vm);
}

uint64_t vm_memory_now(const struct vm *vm)
{
	return vm->pid ? vm->seen_memory + vm->seen_plugged : 0;
}

/* What is plugged when the guest has all that was asked for. */
static uint64_t plugged_for(const struct vm *vm, uint64_t memory)
{
	uint64_t block = vm->hv ? vm->hv->memory_block : 0;
	uint64_t more = memory > vm->seen_memory ? memory - vm->seen_memory : 0;
	return block ? more / block * block : more;
}

/* Until the monitor has told, and while a guest boots (which plugs its memory anew), the record's
 * word is taken, if it can be true. */
static uint64_t have_memory(const struct vm *vm)
{
	uint64_t recorded = vm->applied->memory;
	bool possible = recorded >= vm->seen_memory && recorded <= vm->seen_memory_max;
	bool told = vm->plugged_told && vm->ready;
	if (possible && (!told || vm->seen_plugged == plugged_for(vm, recorded)))
		return recorded;
	return vm_memory_now(vm);
}

static bool is_larger(uint64_t seen, uint64_t recorded)
{
	return seen && seen > recorded;
}

bool vm_growth_is_pending(const struct vm *vm)
{
	return vm->pid && vm->applied &&
	       (is_larger(vm->seen_system_disk, vm->applied->system_disk) ||
		is_larger(vm->seen_work_disk, vm->applied->work_disk));
}

/* What the VM is made of: the records, corrected by what its process and its files show. */
static struct vm_spec *have_spec(const struct vm *vm)
{
	if (!vm->pid || !vm->applied || !vm->seen_vcpus)
		return NULL;
	struct vm_spec have = *vm->applied;
	have.vcpus = vm->seen_vcpus;
	have.memory = have_memory(vm);
	if (vm_spec_memory_max(vm->applied) > vm->seen_memory_max)
		have.memory_max = vm->seen_memory_max;
	if (is_larger(vm->seen_system_disk, have.system_disk))
		have.system_disk = vm->seen_system_disk;
	if (is_larger(vm->seen_work_disk, have.work_disk))
		have.work_disk = vm->seen_work_disk;
	return vm_spec_equal(&have, vm->applied) ? NULL : vm_spec_copy(&have);
}

void vm_state(const struct vm *vm, struct plan_vm_state *ret, struct vm_spec **ret_have)
{
	*ret_have = have_spec(vm);
	*ret = (struct plan_vm_state){
		.exists = true,
		.disks_made = vm->row.image_digest != NULL,
		.running = vm->pid != 0,
		.adopted = vm->adopted != NULL,
		.have = *ret_have ? *ret_have : vm->applied,
		.bridged = !net_address_is_user(vm->row.address),
		.memory_floor = vm->seen_memory,
		.memory_ceiling = vm->seen_memory_max,
		.stack = vm->row.stack,
		.hold = vm->d->draining ? HOLD_STOP : (enum hold_kind)vm->row.hold,
		.exit = vm->row.exit_reason ? exit_reason_parse(vm->row.exit_reason) : EXIT_NONE,
		.exit_current = vm->row.exit_reason && vm->row.exit_revision == vm->row.revision,
		.expired = vm->row.expired_revision != 0,
		.expired_current = vm->row.expired_revision == vm->row.revision,
		.image_outdated = vm->reimage_asked,
		.boot_ms = vm_expected_boot(vm),
	};
}

/* The pidfd is readable: the process ended. What it said last is read before the judgement. */
static void vm_is_gone(void *data, uint32_t events)
{
	struct vm *vm = data;
	(void)events;
	links_drain_monitor(vm);
	vm_exited(vm);
}

void vm_running(struct vm *vm, const struct hv_driver *hv, pid_t pid, int pidfd,
		uint64_t start_ticks, int64_t started_ms)
{
	vm_not_running(vm);
	struct error err = { 0 };
	auto_free char *dir = xasprintf("%s/%s", vm->d->vms_dir, vm->row.id);
	vm->hv = hv;
	vm->pid = pid;
	vm->pidfd = pidfd;
	vm->start_ticks = start_ticks;
	vm->started_ms = started_ms;
	vm->exit_hint = EXIT_UNKNOWN;
	vm->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (vm->dirfd < 0)
		log_warn(vm->row.name, "cannot open '%s': %s", dir, strerror(errno));
	vm->gone_watch = loop_watch(vm->d->loop, vm->pidfd, EPOLLIN, vm_is_gone, vm, &err);
	if (!vm->gone_watch)
		log_error(vm->row.name, "cannot watch its process: %s", err.text);
	links_open(vm);
	reserve_watch(vm);
}

void vm_not_running(struct vm *vm)
{
	links_close(vm);
	loop_unwatch(vm->gone_watch);
	vm->gone_watch = NULL;
	cleanup_close(&vm->pidfd);
	cleanup_close(&vm->dirfd);
	vm->pidfd = vm->dirfd = -1;
	vm->pid = 0;
	vm->seen_vcpus = 0;
	vm->seen_memory = vm->seen_memory_max = vm->seen_plugged = 0;
	vm->seen_system_disk = vm->seen_work_disk = 0;
	vm->plugged_told = false;
	vm->ready = vm->booting = false;
	vm->resets = 0;
	vm->started_ms = 0;
	if (vm->paused)
		vm_paused(vm, false);
	if (vm->ready_timer)
		loop_timer_stop(vm->ready_timer);
}
