/* daemon/bangerd.h - the state of the controller; the loop thread owns all of it.
 *
 * vm.c       a VM in memory: row, specs, what is known of its process
 * ask.c      questions to its guest
 * links.c    the connections to a running VM: monitor, agent, console
 * converge.c dirty VMs -> plan -> job
 * drain.c    the end of all VMs, and then of the daemon
 * order.c    who starts after whom, who stops before whom
 * outcome.c  what came of a job, a boot, a death
 * gather.c   start-up: store, then the host
 * op.c       operations people wait for
 * stack.c    a spec set against the store: plan, intent
 * pull.c     image pulls, one a name
 * watch.c    watched directories
 * record.h   what happened and what was wanted: events, revisions
 * ballast.c  space for the moment when there is none
 * conn.c     RPC connections; rpc_*.c the handlers
 * rpc_host.c the ledger: what is on the host, and orphans
 * rpc_adopt.c hypervisors that somebody else started
 * lease.c    what lasts as long as a connection: ephemeral VMs, work in a guest
 * roll.c     replicas that are changed a few at a time
 * rollback.c what a failed change returns to
 * ssh_config.c the file for plain ssh
 * bridge.h   names and rules, as long as there is a bridge */
#ifndef DAEMON_BANGERD_H
#define DAEMON_BANGERD_H

#include "daemon/record.h"
#include "exec/adopt.h"
#include "exec/job.h"
#include "guest/guest.h"
#include "plan/plan.h"
#include "rpc/rpc.h"
#include "source/dir.h"
#include "store/store.h"
#include "sys/loop.h"
#include "sys/paths.h"

#define RESYNC_MS 60000
#define OPS_KEPT  256

struct bangerd;
struct vm;
struct request;

/* --- op.c --- */
struct op {
	char id[24];
	char kind[16]; /* an action's name, or "pull" */
	char name[VM_NAME_MAX + 1];
	char stage[32], detail[128];
	int64_t started_ms, updated_ms;
	bool done, success;
	struct error err;
	uint64_t version; /* of one counter for all, taken anew at every change: a waiter misses
			     none */
	uint64_t progress_done, progress_total;
};

struct op *op_new(struct bangerd *d, const char *kind, const char *name);
void op_stage(struct bangerd *d, struct op *op, const char *stage, const char *detail);
void op_finish(struct bangerd *d, struct op *op, const struct error *err); /* NULL: success */
/* The operation of a VM that is about to be marked: the one under way when it leads the same way,
 * else a new one, and whoever waited for the old one is told. kind: an action's name, or a verb. */
struct op *vm_begin_op(struct vm *vm, const char *kind);
void vm_op_done(struct vm *vm, const struct error *err); /* NULL: success; no op: nothing */
struct op *op_find(struct bangerd *d, const char *id);
cJSON *op_to_json(const struct op *op);

/* --- vm.c --- */
struct link {
	int fd; /* -1: not connected */
	struct loop_watch *watch;
	struct loop_timer *retry;
	unsigned failures;
};

struct console {
	int log_fd;
	uint64_t log_size;
	uint64_t window_ms, window_bytes; /* how fast it may write */
};

struct vm {
	struct bangerd *d;
	struct store_vm row;
	struct vm_spec *want;	 /* row.spec */
	char *file;		 /* that says so; NULL: none */
	struct vm_spec *applied; /* row.applied, NULL: never made */

	/* the host's side; pid 0: not running */
	pid_t pid;
	int pidfd;
	uint64_t start_ticks;
	const struct hv_driver *hv; /* of that process */
	uint32_t seen_vcpus;
	uint64_t seen_memory, seen_memory_max; /* at its start, and what it has room for */
	uint64_t seen_plugged;		       /* since; only when the monitor told: */
	bool plugged_told;
	uint64_t seen_system_disk, seen_work_disk; /* of a VM that was found running; 0: unknown */
	enum accel accel;
	int64_t started_ms;
	struct adopted *adopted; /* its process was started by somebody else; NULL: by us */
	struct loop_watch *gone_watch;
	int dirfd; /* of a running VM */
	struct link monitor, agent, console_link;
	struct hv_monitor *monitor_parser;
	struct agent_feed *feed;
	struct ask *asks; /* questions to its agent that are open */
	struct console console;
	uint64_t log_dropped; /* bytes of the console's log that rotations took, since we began */
	enum exit_reason exit_hint; /* what the monitor or the agent said last */

	bool ready;
	bool booting;	  /* started by us, not ready yet */
	uint64_t boot_ms; /* start to ready, as last measured */
	struct loop_timer *ready_timer;

	struct job *job; /* lifecycle lane */
	bool untidy;	 /* something of a run that is over may be there */
	bool dirty, restart_asked, reimage_asked;
	bool may_restart;	/* if the guest does not go along with what was asked last */
	bool touched;		/* somebody asked for something since job began: it is past */
	bool forget_on_failure; /* made by `create`: a failed creation leaves nothing */
	struct error *failure;	/* of the last action; NULL: fine. vm_failure() makes one */
	bool stuck;		/* it will not go away by trying again */
	unsigned failures;
	struct loop_timer *retry; /* set: backing off */
	int64_t retry_at_ms;	  /* then until when, wall clock */
	unsigned restarts;
	unsigned resets;     /* the guest's own reboots since it was ready */
	bool paused;	     /* it stands still: the host's disk is full */
	bool reserve_failed; /* said already */
	struct loop_timer *resume;
	struct op *op;
	enum action_kind tried; /* last, and when; 0: nothing yet */
	int64_t tried_ms;
	char note[480];	   /* what a plan of its stack, or of another, leaves undone */
	char waiting[280]; /* why nothing happens, from the plan */
	/* What shall be done to it is put off: looked at again whenever another VM changed. */
	enum gate { GATE_OPEN, GATE_WAIT, GATE_BLOCKED } gate;
	bool behind;	    /* `want` differs from `applied` by what interrupts the guest */
	bool keeps_old;	    /* it waits for its turn: what is done to it now is by `applied` */
	bool change_failed; /* the last try to make it what is wanted */
};

struct vm *vm_new(struct bangerd *d, struct store_vm *row,
		  struct error *err); /* takes row's content */
void vm_free(struct vm *vm);
/* Its failure, to be filled in. On its own, as most VMs have none and an error is larger than all
 * the rest. */
struct error *vm_failure(struct vm *vm);
const char *vm_failure_text(const struct vm *vm); /* "": none */
void vm_forgive(struct vm *vm);
struct vm *vm_find(struct bangerd *d, const char *name);
struct vm *vm_find_id(struct bangerd *d, const char *id);
/* The index in d->vms of the first whose name is not before this one. */
size_t vms_from(const struct bangerd *d, const char *name);
/* A row for a name that has none; not saved yet. */
struct vm *vm_create(struct bangerd *d, const char *stack, const struct vm_spec *spec,
		     struct error *err);
struct vm *vm_create_as(struct bangerd *d, const char *id, const char *stack,
			const struct vm_spec *spec);
/* Sets what is wanted; a changed spec is a new revision. Not saved yet. */
void vm_want(struct vm *vm, const struct vm_spec *spec);
/* A spec as the store keeps it, with the file that it came from. */
char *spec_to_text(const struct vm_spec *spec, const char *file);
struct vm_spec *spec_from_text(const char *text, char **ret_file, struct error *err);
/* It was being deleted and is wanted again: a new VM of the same name. Not saved yet. */
void vm_revive(struct vm *vm);
int vm_save(struct vm *vm, struct error *err);
void vm_save_or_log(struct vm *vm);
void vm_forget(struct vm *vm); /* row, memory; the VM must be gone from the host */
void vm_state(const struct vm *vm, struct plan_vm_state *ret, struct vm_spec **ret_have);
/* Bytes that the guest has now; 0: it does not run. */
uint64_t vm_memory_now(const struct vm *vm);
/* A disk was enlarged, but nobody could write down that its file system was too. */
bool vm_growth_is_pending(const struct vm *vm);
const char *vm_phase_name(const struct vm *vm);
cJSON *vm_to_json(const struct vm *vm);
void vm_fill_reason(const struct vm *vm, char *reason, size_t size);
/* The process was found or started: hold it, connect to it. Takes pidfd. */
void vm_running(struct vm *vm, const struct hv_driver *hv, pid_t pid, int pidfd,
		uint64_t start_ticks, int64_t started_ms);
void vm_not_running(struct vm *vm);

/* --- links.c --- */
void links_open(struct vm *vm);
void links_close(struct vm *vm);
/* Before a worker speaks to monitor and agent, which take one client at a time. */
void links_lend(struct vm *vm);
/* The host has no room for what it writes. */
void links_stands_still(struct vm *vm);
void links_drain_monitor(struct vm *vm);
/* The agent's connection is of no more use: its questions end, it is made anew. */
void links_reopen_agent(struct vm *vm);

/* --- ask.c --- */
/* result NULL: err says why there is none. Called once, not before ask_guest() has returned. */
typedef void (*ask_fn)(void *arg, const cJSON *result, const struct error *err);
/* Asks the agent of a running VM without waiting. Not asked at all: -1, done is not called. */
int ask_guest(struct vm *vm, const char *method, uint64_t timeout_ms, ask_fn done, void *arg,
	      struct error *err);
void ask_replied(struct vm *vm); /* the feed has said AGENT_REPLY */
void asks_lost(struct vm *vm);	 /* the connection is closed */

/* --- converge.c --- */
void vm_mark(struct vm *vm);	 /* look at it before the next sleep */
void vm_mark_now(struct vm *vm); /* ... and forget backoff and errors: somebody changed something */
void vm_back_off(struct vm *vm);
void converge(void *bangerd); /* before-sleep hook */
void converge_schedule_ttl(struct bangerd *d);
struct capabilities vm_capabilities(const struct bangerd *d);

/* --- drain.c --- */
void drain_begin(struct bangerd *d);
bool drain_is_over(const struct bangerd *d); /* it was begun, and nothing runs any more */

/* --- outcome.c --- */
void job_done(struct work *work);
void job_progressed(struct job *job);
void vm_expect_ready(struct vm *vm); /* somebody waits for it */
void vm_ready_changed(struct vm *vm);
void vm_exited(struct vm *vm);
void vm_paused(struct vm *vm, bool paused);
bool vm_may_resume(const struct vm *vm);

/* --- reserve.c --- */
struct round;
void reserve_watch(struct vm *vm); /* it runs: room on the host's disk is held for what it writes */
uint64_t reserve_wanted(const struct vm *vm); /* bytes that are to be free before it may go on */
void reserve_free(struct round *round);

/* --- gather.c --- */
int gather_store(struct bangerd *d, struct error *err);
int gather_host(struct bangerd *d, struct error *err);

/* --- pull.c --- */
struct pull;
/* NULL when it is there; else the pull under way that will bring it (started when need be), or the
 * error of the last one in *failure, when that was not long ago and nothing changed since. */
struct pull *pull_need(struct bangerd *d, const struct vm_spec *spec, const char *digest,
		       struct error *failure);
const struct op *pull_op(const struct pull *pull);
struct op *pull_start(struct bangerd *d, const char *name, bool force);
void pull_forget_failures(struct bangerd *d);
void pulls_cancel(struct bangerd *d); /* the daemon ends: running ones give up */
void pulls_free(struct bangerd *d);

/* --- stack.c --- */
struct apply_options {
	bool prune, prune_all, adopt, take_over, allow_data_loss, update_images, watched;
	bool no_restart, may_restart; /* as in struct plan_policy */
	bool return_on_failure;	      /* what fails goes back to what was good */
	bool delete_named;	      /* `delete -f`: what the specs name goes */
	const cJSON *workspaces;      /* what the client found where they come from; may be NULL */
	struct actor by;
	int64_t rollback; /* to this revision; 0: none */
};
struct stack_plan { /* a plan and what it was made from */
	struct plan plan;
	struct plan_member *members;
	struct vm_spec **haves;
	size_t count;
};
/* specs sorted by name. complete false: what is absent is not gone (watch). */
int stack_plan_make(struct bangerd *d, const char *stack, const char *source,
		    const struct vm_spec *const *specs, size_t count, bool complete,
		    const struct apply_options *options, struct stack_plan *ret, struct error *err);
void stack_plan_clear(struct stack_plan *plan);
/* Writes the plan's intent in one transaction and marks its VMs. ops (may be NULL) gets
 * {name, op} for every VM that has work. */
int stack_plan_commit(struct bangerd *d, const char *stack, const char *source,
		      struct stack_plan *plan, const struct apply_options *options, cJSON *ops,
		      struct error *err);
struct spec_context stack_context(struct bangerd *d); /* valid as long as d */
/* The same for what a client sent. */
struct spec_context request_context(const struct request *request);
struct store_stack *stack_find(struct bangerd *d, const char *name);
int stack_put(struct bangerd *d, const char *name, const char *source, bool watched,
	      struct error *err);
int stack_remove(struct bangerd *d, const char *name, struct error *err);
size_t stack_size(const struct bangerd *d, const char *name);

/* --- plan_state.c --- */
struct plan_state { /* of what a plan was made; 16 hex digits each */
	char host[17], specs[17];
};
void plan_state(struct bangerd *d, const struct stack_plan *plan, const char *source,
		struct plan_state *ret);
/* CONFLICT when params has "host" or "specs" and they are others now. */
int plan_state_check(const struct plan_state *now, const cJSON *params, struct error *err);

/* --- boots.c --- */
void vm_note_boot(struct vm *vm, uint64_t ms);
uint64_t vm_expected_boot(const struct vm *vm); /* ms; 0: it was never ready yet */

/* --- why.c --- */
/* Remembers with each VM what this plan leaves undone of it. */
void vm_note_plan(struct bangerd *d, const struct plan *plan, const char *stack);

/* --- watch.c --- */
struct watch;
int watch_add(struct bangerd *d, const char *path, bool take_over, char **ret_stack,
	      struct error *err);
int watch_remove(struct bangerd *d, const char *path_or_stack, const struct actor *by,
		 size_t *ret_vms, struct error *err);
cJSON *watch_list(struct bangerd *d);
void watch_resume(struct bangerd *d); /* of the stacks that were watched */
void watches_drop_lost(struct bangerd *d);
void watch_resync(struct bangerd *d);
void watches_free(struct bangerd *d);
/* The directory says of this set that it has no replicas. */
bool watch_has_empty_set(const struct bangerd *d, const char *stack, const char *name);

/* --- ballast.c --- */
void ballast_take(struct bangerd *d); /* when there is plenty */
void ballast_give(struct bangerd *d); /* before something is written that must not fail */

/* --- conn.c --- */
struct conn;
struct request {
	struct bangerd *d;
	struct conn *conn;
	int64_t id;
	const char *method;
	const cJSON *params;
	int *fds; /* of this request, closed after the handler unless set to -1 */
	size_t fd_count;
};
/* A handler fills *ret (an object, then the conn's) or err; or keeps the request for later
 * (request_keep) and returns 1. */
typedef int (*rpc_handler)(struct request *request, cJSON **ret, struct error *err);
rpc_handler rpc_handler_find(const char *method);
bool rpc_is_for_root(const char *method); /* conn_check_trusted() */
int conns_listen(struct bangerd *d, struct error *err);
void conns_free(struct bangerd *d);
/* What waits is answered when this gives something; now: the time is over, and it must. */
typedef cJSON *(*park_fn)(struct bangerd *d, const cJSON *params, bool now);
/* op.wait and events park here. Returns 1. */
int conn_park(struct request *request, uint64_t timeout_ms, park_fn answer);
void conns_op_changed(struct bangerd *d);
/* An answer that comes later; the handler returns 1. Never NULL; to be answered exactly once, also
 * when the client has gone meanwhile, which it need not know. */
struct later *conn_later(struct request *request);
void later_answer(struct later *later, cJSON *result_taken);
void later_refuse(struct later *later, const struct error *err); /* the same, an error */
#define ASK_NAMES_MAX 16 /* VMs of one vm.stats, vm.ports, …: their answers fit a frame */
pid_t conn_peer(const struct conn *conn);
struct actor conn_actor(const struct conn *conn);
/* It is the daemon's own user, or root: what it may have done is what it could do itself. Else it
 * is a member of the machine's group, who may use VMs, and gets nothing of the host by that. */
bool conn_is_trusted(const struct conn *conn);
/* -1 with err: this is for root. */
int conn_check_trusted(const struct conn *conn, const char *what, struct error *err);

/* --- lease.c --- */
enum lease_kind {
	LEASE_LIFE,	 /* the VM is deleted when it ends */
	LEASE_WORKSPACE, /* somebody works on the guest's workspace: one at a time */
};
struct lease;
/* Who has it; 0: nobody. */
pid_t lease_holder(const struct vm *vm, enum lease_kind kind, const struct conn **ret_conn);
void lease_take(struct vm *vm, enum lease_kind kind, struct conn *conn);
void lease_give(struct vm *vm, enum lease_kind kind);
/* The connection ends: so do its leases, and the VMs that lived by them. */
void leases_end(struct bangerd *d, const struct conn *conn);
/* At the start: ephemeral VMs whose clients do not come back in time go. */
void leases_resume(struct bangerd *d);
void leases_free(struct bangerd *d);

/* --- rpc_workspace.c --- */
void workspace_steps_print(FILE *to); /* "prepare<TAB>workspace lease", … */

/* --- ssh_config.c --- */
void ssh_config_stale(struct bangerd *d);
void ssh_config_free(struct bangerd *d);

/* --- small things the handlers share: reply.c --- */
cJSON *fault_to_json(const struct fault *fault);
/* The plan's head and its VMs from offset on, as many as fit a frame, with `next`. */
cJSON *plan_page_to_json(const struct plan *plan, size_t offset);
/* The VM of this name, else the only one whose name begins so. Several: CONFLICT, naming them. */
struct vm *vm_named(struct bangerd *d, const char *name, struct error *err);
/* The same for what cannot be taken back: the whole name. */
struct vm *vm_named_whole(struct bangerd *d, const char *name, struct error *err);
/* {"items": [...]} with fn's result for every name of params.names: an operation (NULL: there was
 * nothing to do) or an error. */
/* whole: names may not be shortened. */
typedef int (*vm_verb)(struct request *request, struct vm *vm, const struct op **ret_op,
		       struct error *err);
cJSON *each_name(struct request *request, vm_verb verb, bool whole);
cJSON *error_to_json(const struct error *err);

/* --- handlers, by file --- */
#define HANDLER(name) int name(struct request *request, cJSON **ret, struct error *err)
HANDLER(rpc_ping);
HANDLER(rpc_shutdown);
HANDLER(rpc_doctor);
HANDLER(rpc_plan);
HANDLER(rpc_apply);
HANDLER(rpc_delete);
HANDLER(rpc_vm_list);
HANDLER(rpc_vm_show);
HANDLER(rpc_vm_create);
HANDLER(rpc_vm_set);
HANDLER(rpc_vm_start);
HANDLER(rpc_vm_stop);
HANDLER(rpc_vm_restart);
HANDLER(rpc_vm_kill);
HANDLER(rpc_vm_delete);
HANDLER(rpc_vm_prune);
HANDLER(rpc_vm_why);
HANDLER(rpc_vm_logs);
HANDLER(rpc_vm_ssh);
HANDLER(rpc_vm_exec);
HANDLER(rpc_vm_pidfd);
HANDLER(rpc_vm_stats);
HANDLER(rpc_vm_health);
HANDLER(rpc_vm_ports);
HANDLER(rpc_vm_ping);
HANDLER(rpc_vm_lease);
HANDLER(rpc_workspace_begin);
HANDLER(rpc_workspace_end);
HANDLER(rpc_op_list);
HANDLER(rpc_op_wait);
HANDLER(rpc_image_list);
HANDLER(rpc_image_show);
HANDLER(rpc_image_pull);
HANDLER(rpc_image_delete);
HANDLER(rpc_watch_add);
HANDLER(rpc_watch_list);
HANDLER(rpc_watch_remove);
HANDLER(rpc_events);
HANDLER(rpc_history);
HANDLER(rpc_history_show);
HANDLER(rpc_history_specs);
HANDLER(rpc_host_resources);
HANDLER(rpc_host_gc);
HANDLER(rpc_host_adopt);

struct round;
struct bangerd {
	struct paths paths;
	struct host host;
	struct net_subnet subnet; /* host.subnet, as root */
	char *vms_dir, *agent_cpio, *client_key, *identity;
	int runtime_fd, lock_fd, cancel_fd; /* cancel_fd: readable when the daemon ends */
	struct loop *loop;
	struct pool *pool;
	struct store *store;
	int64_t started_ms;
	struct vm **vms; /* sorted by name */
	size_t vm_count, vm_room;
	struct store_stack_vec stacks;
	struct op **ops; /* oldest first */
	size_t op_count;
	uint64_t op_next, op_version;
	struct events *events;
	char user[64];	      /* whose daemon this is */
	gid_t group;	      /* of the machine's users, 0: there is none */
	char *group_identity; /* the private key for them; NULL */
	struct pull *pulls;
	struct watch *watches;
	struct conn *conns;
	struct loop_watch *listen_watch;
	int listen_fd;
	struct loop_timer *resync, *ttl, *accept_again;
	struct lease *leases;
	struct adoption *adoptions; /* under way */
	struct host_look *looks;    /* ledgers that workers are making */
	struct names *names;
	struct rules_guard *rules_guard;
	struct loop_timer *lease_grace, *ssh_config;
	struct loop_timer *agents_grace, *reserve;
	bool agents_known;	     /* guests had time to answer since we began */
	struct round *reserve_round; /* under way */
	bool any_note;		     /* some VM had one once: they have to be taken back */
	bool any_dirty, any_gated, ops_moved, failed, swept;
	bool draining;		  /* it ends when no VM runs any more, and starts none */
	struct image_hint *hints; /* stack_context()'s */
	size_t hint_count;
};

#endif
