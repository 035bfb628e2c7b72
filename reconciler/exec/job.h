/* exec/job.h - one action on one VM: a copy of all it needs goes in, a result comes out.
 *
 * The loop thread fills the input half, a worker runs job_run(), the loop thread reads the output
 * half. While it runs the job is the worker's alone, but for `cancel` and the progress slot. */
#ifndef EXEC_JOB_H
#define EXEC_JOB_H

#include "driver/driver.h"
#include "driver/net_bridge.h"
#include "driver/net_rules.h"
#include "driver/vm_user.h"
#include "exec/pool.h"
#include "image/image.h"
#include "plan/plan.h"

#include <pthread.h>
#include <stdatomic.h>

/* What is the same for every job of this process; made once, never changed. */
struct host {
	const char *state; /* paths.state */
	const char *cache;
	const char *vms_dir;	/* <state>/vms */
	const char *agent_cpio; /* <share>/agent.cpio */
	const char *client_key; /* banger's public key line */
	const char *identity;	/* path of its private half */
	struct image_store images;
	const struct disk_driver *const *disks; /* kinds of system disks, by preference */
	const struct net_subnet *subnet;	/* of the bridge; NULL: user networking is all */
	struct net_rules *rules;		/* there; NULL with it */
	bool vm_to_vm;				/* and its VMs may reach each other */
	bool own_users;		   /* every hypervisor has a user of its own: driver/vm_user.h */
	unsigned start_timeout_ms; /* how long a hypervisor may take to answer */
	unsigned stop_timeout_ms;  /* how long a guest may take to power off */
};

struct job {
	struct work work;
	const struct host *host;
	void *owner; /* the daemon's, untouched here */

	/* in */
	enum action_kind kind;
	bool tidy;	       /* STOP, DELETE: of a run whose process is gone already */
	bool kill_now;	       /* stop without asking the guest (delete, data is going anyway) */
	bool plugs_memory;     /* LIVE: it was started with room for more */
	bool adopted;	       /* what runs was started by somebody else: no agent, no key */
	bool resume;	       /* LIVE: the guest stands still, let it go on */
	bool remake_work_disk; /* its shrinking was allowed */
	char id[16];
	char name[VM_NAME_MAX + 1];
	struct vm_spec *want; /* owned; NULL for DELETE */
	struct vm_spec *have; /* owned; NULL when never made */
	bool disks_made;      /* a creation succeeded before: undo must not take its disks */
	char *address;	      /* owned; NULL: none could be had, or none is needed */
	char *image_digest;   /* owned; pinned, NULL: by name */
	int pidfd;	      /* owned; of the running hypervisor, -1 */
	const struct hv_driver *ran_by; /* that is its driver */

	/* in and out */
	_Atomic bool cancel;
	pthread_mutex_t progress_lock;
	char stage[32], detail[128];
	struct loop *loop;
	void (*on_progress)(struct job *job); /* loop thread, after stage or detail changed */
	_Atomic bool progress_posted;

	/* out */
	struct error err;  /* code ERROR_NONE: success */
	pid_t started_pid; /* 0: none was started */
	int started_pidfd; /* owned; -1 */
	uint64_t started_ticks;
	enum accel accel;
	char image_digest_used[65];
	char kernel_digest_used[65];
	bool stopped; /* the hypervisor that ran is gone now */
	bool forced;  /* its guest was asked and did not shut down in time */

	/* the steps' own */
	int dirfd;
	char *dir;
	char mac[18], tap[NET_TAP_MAX];
	struct proc_user user; /* whom the hypervisor runs as; uid 0: as we do */
	char root_device[DISK_DEVICE_MAX];
	struct kernel kernel;
	struct vm_machine machine; /* what a run needs, each step's part put in by it */
};

struct job *job_new(const struct host *host, enum action_kind kind, const char *id,
		    const char *name);
void job_free(struct job *job);
void job_run(struct job *job); /* worker thread */
/* Worker: says what it is doing; shown to whoever waits. */
void job_stage(struct job *job, const char *stage, const char *detail);
/* Loop: copies the progress slot. */
void job_progress(struct job *job, char stage[32], char detail[128]);

/* --- steps --- */
struct step {
	const char *name;
	int (*run)(struct job *job, struct error *err);
	void (*undo)(struct job *job); /* NULL: nothing to take back */
};
/* Each is idempotent. Ends with run NULL. The others stand in the rows of capability.h. */
extern const struct step steps_live[];

/* Runs one after another; on failure unwinds all that was begun, newest first. */
int steps_run(struct job *job, const struct step *const *steps, size_t count, struct error *err);

/* Is a VM of this spec, started here, to be on the bridge? */
bool job_wants_bridge(const struct host *host, const struct vm_spec *spec);
/* ... and is this job's run, if one ends, followed by one that is? */
bool job_stays_on_bridge(const struct job *job);
/* Those of a VM on the bridge, as want says; it runs, or is about to. */
int job_put_rules(struct job *job, const struct vm_spec *want, struct error *err);
/* What several steps need. */
int job_open_directory(struct job *job, struct error *err); /* -> job->dirfd */
/* The image it is made from: the pinned one, else the one of that name now, which it then is. */
int job_find_image(struct job *job, struct image *ret, struct error *err);

#endif
