/* Starting, stopping and changing a running VM. */
#include "exec/handles.h"
#include "exec/job.h"
#include "base/fs.h"
#include "guest/guest.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define START_TIMEOUT_MS 15000
#define AGENT_TIMEOUT_MS 4000
#define SSH_TIMEOUT_MS	 8000
#define KILL_TIMEOUT_MS	 10000

/* --- start --- */

static int open_directory(struct job *job, struct error *err)
{
	if (job->dirfd >= 0)
		return 0;
	job->dirfd = open(job->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (job->dirfd < 0)
		return error_sys(err, "cannot open '%s'", job->dir);
	return 0;
}

static int take_address(struct job *job, struct error *err)
{
	char free_now[16];
	if (job->address)
		return net_user_ports_free(job->address, &job->want->ports, err);
	/* The daemon found none that is free; this says why not. */
	if (net_user_address(job->id, NULL, 0, free_now, err) < 0)
		return -1;
	return error_set(err, ERROR_BUSY, "no loopback address was free a moment ago");
}

static int find_kernel(struct job *job, struct kernel *ret, struct error *err)
{
	const char *name = job->want->kernel;
	struct image image = { 0 };
	if (!name[0]) {
		if (image_find(&job->host->images,
			       job->image_digest_used[0] ? job->image_digest_used
			       : job->image_digest	 ? job->image_digest
							 : job->want->image,
			       &image, err) < 0)
			return -1;
		str_copy(job->image_digest_used, sizeof(job->image_digest_used), image.digest);
		name = image.kernel;
	}
	int failed = kernel_find(&job->host->images, name, ret, err);
	image_clear(&image);
	if (failed == 0)
		str_copy(job->kernel_digest_used, sizeof(job->kernel_digest_used), ret->digest);
	return failed;
}

static int write_seed(struct job *job, struct error *err)
{
	struct kernel kernel = { 0 };
	if (find_kernel(job, &kernel, err) < 0)
		return -1;
	char mac[18];
	net_mac(job->id, mac);
	struct seed seed = {
		.id = job->id,
		.name = job->name,
		.spec = job->want,
		.mac = mac,
		.address = "10.0.2.15/24",
		.gateway = "10.0.2.2",
		.dns = "10.0.2.3",
		.client_key = job->host->client_key,
		.vm_dirfd = job->dirfd,
	};
	int failed = seed_write_initrd(&seed, kernel.modules, job->host->agent_cpio, err);
	kernel_clear(&kernel);
	return failed < 0 ? -1 : keys_known_hosts(job->dirfd, job->id, err);
}

static int launch(struct job *job, const struct kernel *kernel, struct error *err)
{
	char mac[18];
	net_mac(job->id, mac);
	uint64_t size;
	struct vm_machine machine = {
		.id = job->id,
		.name = job->name,
		.dir = job->dir,
		.dirfd = job->dirfd,
		.vcpus = job->want->vcpus,
		.memory = job->want->memory,
		.kernel = kernel->boot,
		.kernel_args = job->want->kernel_args,
		.has_work_disk = job->want->work_disk > 0,
		.mac = mac,
		.address = job->address,
		.nat = job->want->nat,
		.ports = &job->want->ports,
		.accel = job->accel,
	};
	if (disk_root_stat(job->dirfd, &size, &machine.root_is_qcow2, err) < 0)
		return -1;
	if (job->host->hv->start(&machine, START_TIMEOUT_MS, &job->started_pid, &job->started_pidfd,
				 err) < 0)
		return -1;
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0 || proc_start_ticks(proc, job->started_pid, &job->started_ticks) < 0)
		job->started_ticks = 0;
	return 0;
}

static int start_hypervisor(struct job *job, struct error *err)
{
	struct kernel kernel = { 0 };
	auto_buf struct buf why = BUF_INIT;
	if (accel_choose(job->host->cache, &job->accel, &why, err) < 0 ||
	    find_kernel(job, &kernel, err) < 0)
		return -1;
	int failed = launch(job, &kernel, err);
	kernel_clear(&kernel);
	return failed;
}

static void kill_started(struct job *job)
{
	if (job->started_pidfd < 0)
		return;
	proc_signal(job->started_pidfd, SIGKILL);
	proc_wait_gone(job->started_pidfd, KILL_TIMEOUT_MS);
	close(take_fd(&job->started_pidfd));
	job->started_pid = 0;
}

static int note_handles(struct job *job, struct error *err)
{
	struct handles handles = {
		.pid = job->started_pid,
		.start_ticks = job->started_ticks,
		.started_ms = clock_wall_ms(),
	};
	return handles_write(job->dirfd, &handles, err);
}

const struct step steps_start[] = {
	{ "directory", open_directory, NULL }, { "address", take_address, NULL },
	{ "seed", write_seed, NULL },	       { "hypervisor", start_hypervisor, kill_started },
	{ "handles", note_handles, NULL },     { 0 },
};

/* --- stop: agent, then SSH, then wait, then kill; no fresh write is lost while the guest helps ---
 */

/* In slices, so that a daemon that ends does not wait for a guest that takes its time. */
static bool gone_within(struct job *job, uint64_t timeout_ms)
{
	const uint64_t slice_ms = 200;
	for (uint64_t waited = 0;; waited += slice_ms) {
		uint64_t left = timeout_ms > waited ? timeout_ms - waited : 0;
		if (proc_wait_gone(job->pidfd, left < slice_ms ? left : slice_ms) == 0)
			return true;
		if (left <= slice_ms || atomic_load(&job->cancel))
			return false;
	}
}

static bool ask_over_ssh(struct job *job)
{
	if (!job->address)
		return false;
	struct ssh_target target = {
		.address = job->address,
		.port = USER_SSH_PORT,
		.identity = job->host->identity,
		.vm_dirfd = job->dirfd,
	};
	struct error ignored;
	int status;
	job_stage(job, "stop", "asking over ssh");
	/* The answer is out before the guest ends its SSH server, or it would not count. */
	return ssh_run(&target, "sync; (sleep 0.3; poweroff) > /dev/null 2>&1 < /dev/null &",
		       SSH_TIMEOUT_MS, &status, NULL, &ignored) == 0;
}

static int stop_hypervisor(struct job *job, struct error *err)
{
	if (gone_within(job, 0))
		return 0;
	if (open_directory(job, err) == 0 && !job->kill_now) {
		struct error ignored;
		job_stage(job, "stop", "asking the agent");
		if (agent_call(job->dirfd, "poweroff", NULL, AGENT_TIMEOUT_MS, NULL, &ignored) ==
			    0 ||
		    gone_within(job, 0) || ask_over_ssh(job)) {
			job_stage(job, "stop", "waiting for the guest");
			if (gone_within(job, job->host->stop_timeout_ms))
				return 0;
		}
		/* Killing is only for a guest that had its time. */
		if (atomic_load(&job->cancel))
			return error_set(err, ERROR_CANCELLED, "given up: superseded");
	}
	struct error ignored;
	job_stage(job, "stop", "ending the hypervisor");
	if (job->dirfd >= 0 && job->host->hv->quit(job->dirfd, 2000, &ignored) == 0 &&
	    gone_within(job, 3000))
		return 0;
	proc_signal(job->pidfd, SIGKILL);
	if (!gone_within(job, KILL_TIMEOUT_MS))
		return error_set(err, ERROR_TIMEOUT,
				 "the hypervisor does not end after SIGKILL, is its disk hanging?");
	return 0;
}

static int clear_sockets(struct job *job, struct error *err)
{
	static const char *const names[] = { VM_FILE_MONITOR, VM_FILE_AGENT, VM_FILE_EXEC,
					     VM_FILE_CONSOLE, VM_FILE_PID,   VM_FILE_INITRD,
					     VM_FILE_HANDLES };
	job->stopped = true;
	if (job->dirfd < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (fs_unlink(job->dirfd, names[i], err) < 0)
			return -1;
	return 0;
}

const struct step steps_stop[] = {
	{ "stop", stop_hypervisor, NULL },
	{ "sockets", clear_sockets, NULL },
	{ 0 },
};

/* --- live changes --- */

static int change_ports(struct job *job, struct error *err)
{
	if (open_directory(job, err) < 0)
		return -1;
	return job->host->hv->set_ports(job->dirfd, &job->have->ports, &job->want->ports, err);
}

static void change_ports_back(struct job *job)
{
	struct error ignored;
	job->host->hv->set_ports(job->dirfd, &job->want->ports, &job->have->ports, &ignored);
}

static bool same_keys(const struct string_list *a, const struct string_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->at[i], b->at[i]))
			return false;
	return true;
}

static int change_keys(struct job *job, struct error *err)
{
	if (same_keys(&job->have->ssh_keys, &job->want->ssh_keys))
		return 0;
	auto_json cJSON *params = cJSON_CreateObject();
	cJSON *keys = cJSON_AddArrayToObject(params, "keys");
	cJSON_AddItemToArray(keys, cJSON_CreateString(job->host->client_key));
	for (size_t i = 0; i < job->want->ssh_keys.count; i++)
		cJSON_AddItemToArray(keys, cJSON_CreateString(job->want->ssh_keys.at[i]));
	return agent_call(job->dirfd, "authorized_keys", params, AGENT_TIMEOUT_MS, NULL, err);
}

static int resume_guest(struct job *job, struct error *err)
{
	return job->resume ? job->host->hv->resume(job->dirfd, err) : 0;
}

const struct step steps_live[] = {
	{ "ports", change_ports, change_ports_back },
	{ "ssh keys", change_keys, NULL },
	{ "resume", resume_guest, NULL },
	{ 0 },
};
