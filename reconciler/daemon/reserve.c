/* Theory of operation: a system disk by dm-snapshot is lost when its store cannot be written. So
 * while such guests run, a worker looks every second how full their stores are and reserves room
 * ahead (disk_driver.reserve). Where the host has none left, the guest is stopped over the monitor,
 * before it has used what was reserved; vm_may_resume() lets it go on when there is room again, by
 * the same way as a guest that QEMU itself has stopped. */
#include "daemon/bangerd.h"
#include "base/log.h"
#include "base/units.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define INTERVAL_MS 1000
#define HURRY_MS    250 /* when the host's disk fills up */
#define HURRY_SPACE (4 * GIB)

struct item {
	char id[16];
	int dirfd; /* owned */
	const struct disk_driver *driver;
	int result;
	struct error err;
};

struct round {
	struct work work;
	struct bangerd *d;
	size_t count;
	struct item items[];
};

static void look(struct work *work)
{
	struct round *round = (struct round *)work;
	for (size_t i = 0; i < round->count; i++) {
		struct item *item = &round->items[i];
		item->result = item->driver->reserve(item->id, item->dirfd, &item->err);
	}
}

/* Over the monitor, which tells when it does; or as a whole process, which does at once. */
static bool stop_guest(struct vm *vm)
{
	const struct hv_driver *hv = vm->hv;
	if (!hv->stands_by_signal)
		return hv->monitor_stop && vm->monitor.fd >= 0 &&
		       hv->monitor_stop(vm->monitor_parser, vm->monitor.fd);
	if (proc_signal(vm->pidfd, SIGSTOP) < 0)
		return false;
	links_stands_still(vm);
	return true;
}

static void stand_still(struct vm *vm)
{
	if (vm->paused)
		return;
	if (stop_guest(vm))
		log_warn(vm->row.name, "no space is left for its system disk, stopped in time");
	else if (!vm->reserve_failed)
		log_error(vm->row.name, "no space is left for its system disk and the guest cannot "
					"be stopped now: free some, or its disk is lost");
	vm->reserve_failed = true;
}

static void judge(struct bangerd *d, const struct item *item)
{
	struct vm *vm = vm_find_id(d, item->id);
	if (!vm || !vm->pid || vm->job)
		return;
	if (item->result > 0)
		stand_still(vm);
	/* Said once, until it is well again; a device that is gone belongs to a hypervisor that is
	 * going. */
	if (item->result == 0)
		vm->reserve_failed = false;
	if (item->result < 0 && item->err.code != ERROR_NOT_FOUND && !vm->reserve_failed) {
		vm->reserve_failed = true;
		log_error(vm->row.name, "%s", item->err.text);
	}
}

static void looked(struct work *work)
{
	struct round *round = (struct round *)work;
	struct bangerd *d = round->d;
	struct error err;
	d->reserve_round = NULL;
	for (size_t i = 0; i < round->count; i++)
		judge(d, &round->items[i]);
	bool plenty = disk_check_space(d->vms_dir, HURRY_SPACE, &err) == 0;
	loop_timer_set(d->reserve, plenty ? INTERVAL_MS : HURRY_MS);
	reserve_free(round);
}

void reserve_free(struct round *round)
{
	for (size_t i = 0; round && i < round->count; i++)
		cleanup_close(&round->items[i].dirfd);
	free(round);
}

static const struct disk_driver *needs_room(const struct vm *vm)
{
	const struct disk_driver *driver =
		vm->pid && vm->dirfd >= 0 ? disk_root_driver(vm->dirfd) : NULL;
	return driver && driver->reserve ? driver : NULL;
}

uint64_t reserve_wanted(const struct vm *vm)
{
	const struct disk_driver *driver = needs_room(vm);
	return driver ? driver->reserve_bytes : 0;
}

/* Nothing runs that needs it: no timer, until the next VM starts. */
static void due(void *data)
{
	struct bangerd *d = data;
	if (d->reserve_round)
		return;
	struct round *round = xcalloc(1, sizeof(*round) + d->vm_count * sizeof(struct item));
	for (size_t i = 0; i < d->vm_count; i++) {
		const struct vm *vm = d->vms[i];
		const struct disk_driver *driver = needs_room(vm);
		int fd = driver ? fcntl(vm->dirfd, F_DUPFD_CLOEXEC, 3) : -1;
		if (fd < 0)
			continue;
		struct item *item = &round->items[round->count++];
		*item = (struct item){ .dirfd = fd, .driver = driver };
		str_copy(item->id, sizeof(item->id), vm->row.id);
	}
	if (!round->count) {
		free(round);
		return;
	}
	round->work = (struct work){ .run = look, .done = looked };
	round->d = d;
	d->reserve_round = round;
	pool_submit(d->pool, &round->work);
}

void reserve_watch(struct vm *vm)
{
	struct bangerd *d = vm->d;
	vm->reserve_failed = false;
	if (!needs_room(vm))
		return;
	if (!d->reserve)
		d->reserve = loop_timer_new(d->loop, due, d);
	if (!d->reserve_round)
		loop_timer_set(d->reserve, HURRY_MS);
}
