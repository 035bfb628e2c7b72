/* The hypervisor's process: started last, asked to end first. */
#include "exec/capability.h"
#include "driver/adopt.h"
#include "guest/guest.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <signal.h>

#define AGENT_TIMEOUT_MS 4000
#define SSH_TIMEOUT_MS	 20000 /* a busy host, and a guest's slow sshd on it */
#define KILL_TIMEOUT_MS	 10000

/* --- start --- */

/* All that is missing at once, not one thing a try. */
static int check_host(const struct job *job, const struct hv_driver *hv, const char *accel,
		      struct error *err)
{
	struct error probed = { 0 };
	auto_buf struct buf missing = BUF_INIT, detail = BUF_INIT;
	if (!hv->needs_kvm && !hv->needs_tap)
		return 0; /* its start says what is wrong */
	if (hv->probe(&detail, &probed) < 0)
		buf_addf(&missing, "; %s", probed.text);
	if (hv->needs_kvm && job->accel != ACCEL_KVM)
		buf_addf(&missing, "; it needs KVM: %s", accel);
	if (hv->needs_tap && !job->machine.tap)
		buf_add(&missing, "; it needs the network 'bridge', which user networking is not");
	if (!missing.len)
		return 0;
	return error_set(err, ERROR_CONFLICT, "hypervisor '%s' cannot run here: %s", hv->name,
			 missing.data + 2);
}

static int start_hypervisor(struct job *job, struct error *err)
{
	const struct hv_driver *hv = hv_driver_for(job->want->hypervisor);
	auto_buf struct buf why = BUF_INIT;
	if (accel_choose(job->host->cache, &job->accel, &why, err) < 0 ||
	    check_host(job, hv, why.data, err) < 0)
		return -1;
	struct vm_machine *machine = &job->machine;
	if (job->user.uid &&
	    vm_user_fill(job->user.uid, job->accel == ACCEL_KVM, &job->user, err) < 0)
		return -1;
	machine->user = job->user.uid ? &job->user : NULL;
	machine->id = job->id;
	machine->name = job->name;
	machine->dir = job->dir;
	machine->dirfd = job->dirfd;
	machine->vcpus = job->want->vcpus;
	machine->memory = job->want->memory;
	machine->memory_max = vm_spec_memory_max(job->want);
	machine->accel = job->accel;
	if (hv->start(machine, job->host->start_timeout_ms, &job->started_pid, &job->started_pidfd,
		      err) < 0)
		return -1;
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0 || proc_start_ticks(proc, job->started_pid, &job->started_ticks) < 0)
		job->started_ticks = 0;
	return 0;
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
		.port = (uint16_t)net_ssh_port(job->address),
		.identity = job->host->identity,
		.vm_dirfd = job->dirfd,
	};
	struct error ignored;
	int status;
	job_stage(job, "stop", "asking over ssh");
	/* The answer is out before the guest ends its SSH server, or it would not count. */
	auto_free char *command = xasprintf("sync; (sleep 0.3; %s) > /dev/null 2>&1 < /dev/null &",
					    job->ran_by->ends_by_reset ? "reboot" : "poweroff");
	return ssh_run(&target, command, SSH_TIMEOUT_MS, &status, NULL, &ignored) == 0;
}

/* Nobody saw its end: it is over when nobody holds the lock. */
static int check_ended(struct job *job, struct error *err)
{
	if (job_open_directory(job, err) < 0)
		return -1;
	if (lock_is_held(job->dirfd, VM_FILE_LOCK))
		return error_set(err, ERROR_BUSY, "a hypervisor still holds '%s'", job->dir);
	return 0;
}

/* Nobody of ours is in a guest that was adopted: the button is all there is. Only QEMUs are. */
static bool press_button(struct job *job)
{
	struct error ignored;
	job_stage(job, "stop", "pressing the power button");
	return qemu_power_button(job->dirfd, AGENT_TIMEOUT_MS, &ignored) == 0;
}

static bool ask_agent(struct job *job)
{
	struct error ignored;
	job_stage(job, "stop", "asking the agent");
	return agent_call(job->dirfd, "poweroff", NULL, AGENT_TIMEOUT_MS, NULL, &ignored) == 0;
}

static int end_hypervisor(struct job *job, struct error *err)
{
	if (job->pidfd < 0)
		return check_ended(job, err);
	if (gone_within(job, 0))
		return 0;
	if (job_open_directory(job, err) == 0 && !job->kill_now) {
		if (job->adopted ? press_button(job)
				 : ask_agent(job) || gone_within(job, 0) || ask_over_ssh(job)) {
			job_stage(job, "stop", "waiting for the guest");
			if (gone_within(job, job->host->stop_timeout_ms))
				return 0;
		}
		/* Killing is only for a guest that had its time. */
		if (atomic_load(&job->cancel))
			return error_set(err, ERROR_CANCELLED, "given up: superseded");
		job->forced = true;
	}
	struct error ignored;
	job_stage(job, "stop", "ending the hypervisor");
	if (job->dirfd >= 0 && job->ran_by->quit(job->dirfd, 2000, &ignored) == 0 &&
	    gone_within(job, 3000))
		return 0;
	proc_signal(job->pidfd, SIGKILL);
	if (!gone_within(job, KILL_TIMEOUT_MS))
		return error_set(err, ERROR_TIMEOUT,
				 "the hypervisor does not end after SIGKILL, is its disk hanging?");
	return 0;
}

static int stop_hypervisor(struct job *job, struct error *err)
{
	if (end_hypervisor(job, err) < 0)
		return -1;
	job->stopped = true;
	return 0;
}

const struct capability cap_hypervisor = {
	.name = "hypervisor",
	.steps = { [PHASE_PREPARE] = { "hypervisor", start_hypervisor, kill_started },
		   [PHASE_RELEASE] = { "stop", stop_hypervisor, NULL } },
};
