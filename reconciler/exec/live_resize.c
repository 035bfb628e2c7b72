#include "exec/live_resize.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "guest/guest.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <inttypes.h>
#include <stdio.h>

/* A guest that does not come a block nearer for so long will not; one that does may take longer. */
#define STILL_MS      15000
#define MEMORY_MS     180000
#define GROW_MS	      60000 /* of the file system, which is quick but may have to wait for its disk */
#define DEVICE_MS     15000 /* until the guest has seen that its disk is larger */
#define PAUSE_MS      50
#define PAUSE_LAST_MS 500
#define BLOCK	      (4 * KIB) /* of ext4 */

/* Sleeps, unless there is no reason to wait any longer. */
static int pause_for(struct job *job, uint64_t ms, struct error *err)
{
	if (proc_wait_gone(job->pidfd, ms) == 0)
		return error_set(err, ERROR_CANCELLED, "its hypervisor ended");
	if (atomic_load(&job->cancel))
		return error_set(err, ERROR_CANCELLED, "given up: superseded");
	return 0;
}

/* --- memory --- */

static const char *how_far(const struct hv_memory *memory, char text[64])
{
	char now[UNITS_TEXT_MAX], goal[UNITS_TEXT_MAX];
	snprintf(text, 64, "%s, %s wanted", units_format_size(memory->now, now),
		 units_format_size(memory->goal, goal));
	return text;
}

static int memory_refused(const struct hv_memory *memory, uint64_t waited_ms, struct error *err)
{
	char text[64];
	bool more = memory->now < memory->goal;
	return error_set(err, ERROR_TIMEOUT,
			 "guest refused: it has %s, and nothing has moved for %" PRIu64 " s; %s",
			 how_far(memory, text), waited_ms / 1000,
			 more ? "its kernel needs the module virtio_mem, and some free memory to "
				"take more"
			      : "free some memory in it, or restart it");
}

int live_memory(struct job *job, struct error *err)
{
	struct hv_memory memory = { 0 };
	char text[64];
	if (!job->plugs_memory)
		return 0;
	uint64_t began = clock_monotonic_ms(), moved = began, last = UINT64_MAX;
	for (uint64_t pause = PAUSE_MS;; pause = pause < PAUSE_LAST_MS ? pause * 2 : pause) {
		if (job->ran_by->set_memory(job->dirfd, job->want->memory, &memory, err) < 0)
			return -1;
		if (memory.now == memory.goal)
			return 0;
		uint64_t now = clock_monotonic_ms();
		if (memory.now != last)
			moved = now;
		last = memory.now;
		if (now - moved >= STILL_MS || now - began >= MEMORY_MS)
			return memory_refused(&memory, now - moved, err);
		job_stage(job, "memory", how_far(&memory, text));
		if (pause_for(job, pause, err) < 0)
			return -1;
	}
}

/* --- disks --- */

static int grow_file_system(struct job *job, const char *target, uint64_t *ret_bytes,
			    struct error *err)
{
	auto_json cJSON *params = cJSON_CreateObject(), *result = NULL;
	json_add_str(params, "target", target);
	if (agent_call(job->dirfd, "grow", params, GROW_MS, &result, err) < 0)
		return -1;
	int64_t bytes = json_int(result, "bytes", 0);
	*ret_bytes = bytes > 0 ? (uint64_t)bytes : 0;
	return 0;
}

/* The guest hears of its larger disk a moment later; grown too soon, a file system gets the size
 * that the disk had. */
static int grow_until(struct job *job, const char *target, uint64_t size, struct error *err)
{
	uint64_t bytes = 0, began = clock_monotonic_ms();
	char have[UNITS_TEXT_MAX], want[UNITS_TEXT_MAX];
	for (uint64_t pause = PAUSE_MS;; pause = pause < PAUSE_LAST_MS ? pause * 2 : pause) {
		if (grow_file_system(job, target, &bytes, err) < 0)
			return -1;
		if (bytes >= size / BLOCK * BLOCK)
			return 0;
		if (clock_monotonic_ms() - began >= DEVICE_MS)
			return error_set(err, ERROR_TIMEOUT,
					 "guest refused: its file system has %s, %s wanted",
					 units_format_size(bytes, have),
					 units_format_size(size, want));
		if (pause_for(job, pause, err) < 0)
			return -1;
	}
}

/* now: what its file has; known: what it had when it was last as wanted. */
static int grow(struct job *job, enum hv_disk disk, uint64_t now, uint64_t known, uint64_t want,
		struct error *err)
{
	if (want <= known)
		return 0;
	if (!now)
		return error_set(err, ERROR_NOT_FOUND,
				 "the disk's file is gone, a restart makes it anew");
	if (now < want && job->ran_by->grow_disk(job->dirfd, disk, want, err) < 0)
		return -1;
	FAILPOINT("disk grown");
	return grow_until(job, disk == HV_DISK_WORK ? "work" : "root", want, err);
}

/* A device shows its file's new size before the hypervisor can look at it. */
static int grow_device(struct job *job, const struct disk_driver *driver, struct error *err)
{
	if (disk_root_grow(job->dirfd, job->dir, job->want->system_disk, err) < 0)
		return -1;
	return driver->refresh(job->id, job->dirfd, err);
}

int live_system_disk(struct job *job, struct error *err)
{
	const struct disk_driver *driver = disk_root_driver(job->dirfd);
	uint64_t now, known = job->have->system_disk, want = job->want->system_disk;
	bool qcow2, device = driver && driver->refresh && want > known;
	if ((device && grow_device(job, driver, err) < 0) ||
	    disk_root_stat(job->dirfd, &now, &qcow2, err) < 0)
		return -1;
	/* Whether the hypervisor has looked since is not known: it is told in any case. */
	if (device && job->ran_by->grow_disk(job->dirfd, HV_DISK_ROOT, now, err) < 0)
		return -1;
	return grow(job, HV_DISK_ROOT, now, known, want, err);
}

int live_work_disk(struct job *job, struct error *err)
{
	uint64_t now;
	if (disk_work_stat(job->dirfd, &now, err) < 0)
		return -1;
	return grow(job, HV_DISK_WORK, now, job->have->work_disk, job->want->work_disk, err);
}
