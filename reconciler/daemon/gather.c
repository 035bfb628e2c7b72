/* Start-up: what is wanted from the store, what is there from the host; nothing else decides. */
#include "daemon/bangerd.h"
#include "base/log.h"
#include "exec/capability.h"
#include "exec/handles.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define UNBORN_MS 2000

/* What only its directory knows: a process that was adopted; and that its creation was complete,
 * when the daemon died before it could say so in the store. */
static void recall(struct bangerd *d, struct vm *vm)
{
	char digest[65];
	auto_free char *dir = xasprintf("%s/%s", d->vms_dir, vm->row.id);
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	vm->adopted = adopted_read(fd);
	if (vm->row.image_digest || made_read(fd, digest) < 0)
		return;
	vm->row.image_digest = xstrdup(digest);
	if (!vm->applied) {
		vm->applied = vm_spec_copy(vm->want);
		vm->row.applied = xstrdup(vm->row.spec);
	}
}

int gather_store(struct bangerd *d, struct error *err)
{
	struct store_vm_vec rows = { 0 };
	if (store_vms(d->store, &rows, err) < 0 || store_stacks(d->store, &d->stacks, err) < 0)
		return -1;
	for (size_t i = 0; i < rows.count; i++) {
		struct error bad = { 0 };
		struct vm *vm = vm_new(d, &rows.at[i], &bad);
		if (!vm)
			log_error(NULL, "%s, leaving it alone", bad.text);
		else
			recall(d, vm);
		if (vm)
			vm->untidy = vm_run_is_marked(d->vms_dir, vm->row.id);
	}
	store_vms_clear(&rows);
	return 0;
}

/* When did it start? The cache knows the wall clock; its word counts only if it fits the process.
 */
static int64_t started_ms(struct bangerd *d, const struct hv_process *process)
{
	auto_free char *dir = xasprintf("%s/%s", d->vms_dir, process->id);
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct handles handles;
	if (fd >= 0 && handles_read(fd, &handles) == 0 && handles.pid == process->pid &&
	    handles.start_ticks == process->start_ticks)
		return handles.started_ms;
	return proc_started_ms(process->start_ticks);
}

/* The files of a VM that runs cannot be smaller than its records; larger, a daemon before us died
 * on the way. */
static void look_at_disks(struct vm *vm)
{
	struct error err = { 0 };
	bool qcow2;
	if (vm->dirfd < 0)
		return;
	if (disk_root_stat(vm->dirfd, &vm->seen_system_disk, &qcow2, &err) < 0 ||
	    disk_work_stat(vm->dirfd, &vm->seen_work_disk, &err) < 0)
		log_warn(vm->row.name, "%s", err.text);
}

static void recall_rules(const struct vm *vm)
{
	char mac[18];
	const struct vm_spec *spec = vm->applied ? vm->applied : vm->want;
	if (!vm->d->host.rules || net_address_is_user(vm->row.address))
		return;
	net_mac(vm->row.id, mac);
	const struct net_rule rule = { vm->row.id, vm->row.address, mac, spec->nat, &spec->ports };
	net_rules_found(vm->d->host.rules, &rule);
}

/* Nobody will ever tell it what machine to be: no guest has run in it. */
static void end_unborn(struct vm *vm, struct hv_process *process)
{
	log_warn(vm->row.name, "its start was cut short: ending pid %d, which no guest runs in",
		 (int)process->pid);
	proc_signal(process->pidfd, SIGKILL);
	proc_wait_gone(process->pidfd, UNBORN_MS);
	vm->untidy = true;
	vm_mark(vm);
}

static void take_process(struct bangerd *d, struct hv_process *process)
{
	struct vm *vm = vm_find_id(d, process->id);
	if (!vm) {
		log_warn(NULL, "process %d runs VM '%s', which is in no record of ours, ignoring",
			 (int)process->pid, process->id);
		return;
	}
	if (vm->pid == process->pid || vm->job)
		return;
	if (process->unborn) {
		end_unborn(vm, process);
		return;
	}
	log_info(vm->row.name, "found running: pid %d", (int)process->pid);
	vm_running(vm, process->hv, process->pid, take_fd(&process->pidfd), process->start_ticks,
		   started_ms(d, process));
	vm->seen_vcpus = process->vcpus;
	vm->seen_memory = process->memory;
	vm->seen_memory_max = process->memory_max;
	look_at_disks(vm);
	recall_rules(vm);
	vm->accel = process->accel;
	if (process->stopped && process->hv->stands_by_signal)
		vm_paused(vm, true); /* by a daemon before us */
	vm->ready = vm->want->ready.kind == READY_NONE;
	if (!vm->ready)
		vm_ready_changed(vm); /* its agent will say so at once, if it is */
	vm_mark(vm);
}

static void take_adopted(struct vm *vm)
{
	struct hv_process process;
	const struct adopted *adopted = vm->adopted;
	if (!adopted || vm->pid || vm->job ||
	    !qemu_recognise(adopted->pid, adopted->start_ticks, adopted->mark, &process))
		return;
	log_info(vm->row.name, "found running, adopted: pid %d", (int)process.pid);
	vm_running(vm, &hv_qemu, process.pid, process.pidfd, process.start_ticks,
		   proc_started_ms(process.start_ticks));
	vm->ready = true; /* nobody could tell */
	vm_mark(vm);
}

int gather_host(struct bangerd *d, struct error *err)
{
	struct hv_process_vec found = { 0 };
	if (hv_find_all(d->vms_dir, &found, err) < 0)
		return -1;
	for (size_t i = 0; i < found.count; i++)
		take_process(d, &found.at[i]);
	hv_processes_clear(&found);
	for (size_t i = 0; i < d->vm_count; i++)
		take_adopted(d->vms[i]);
	return 0;
}
