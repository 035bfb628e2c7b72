/* plan/plan.h - what has to happen, decided purely: no I/O, no clock, no log, no globals.
 *
 * Two questions, one judgement. plan_vm() looks at one VM: what is wanted, what is there, and
 * returns the action that brings them together; `diff` asks it about a file's specs, the daemon
 * asks it about stored intent. plan_stack() asks it for every VM of a stack and adds what only the
 * whole set can tell: what left the file, who owns a name, whether so much may be deleted. Output
 * order is by name. Both sides of every comparison are resolved specs.
 *
 * What an executor may rely on:
 *   - An action makes *everything* true that the spec says, its listed changes included; planned
 *     again afterwards, the VM has nothing to do. (ADOPT alone only takes ownership: the next look
 *     plans the rest.)
 *   - The kind says what is done to the guest. LIVE on a stopped VM writes records and resizes
 *     disks; REIMAGE on a stopped VM makes the system disk and, unless it shall run, leaves it off;
 *     START and STOP carry the pending changes with them.
 *   - worst == CLASS_DATA_LOSS, in whatever kind: it was allowed, and the work disk is made anew.
 *   - A hold on a running VM is an unfinished 'banger stop' and plans STOP. */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "schema/vm_spec.h"

#define ACTION_KINDS(X)		 /* name, wire, sign in the plan */                                \
	X(NONE, "none", ' ')	 /* as it should be */                                             \
	X(CREATE, "create", '+') /* make disks and start (or not, by state) */                     \
	X(START, "start", '~')                                                                     \
	X(STOP, "stop", '~')                                                                       \
	X(LIVE, "live", '~') /* applied to the running VM, or only to records */                   \
	X(RESTART, "restart", '~')                                                                 \
	X(REIMAGE, "reimage", '~') /* stop, new system disk, start */                              \
	X(DELETE, "delete", '-')                                                                   \
	X(ADOPT, "adopt", '~')	 /* an unowned VM joins the stack; needs --adopt */                \
	X(KEEP, "keep", ' ')	 /* left the file, kept because prune was not asked */             \
	X(WAIT, "wait", ' ')	 /* nothing now: hold, recorded exit, expired; see reason */       \
	X(REFUSE, "refuse", '!') /* must not be done; error says why */
enum action_kind {
#define X(name, wire, sign) ACTION_##name,
	ACTION_KINDS(X)
#undef X
		ACTION_COUNT_
};
const char *action_kind_name(enum action_kind kind);
char action_kind_sign(enum action_kind kind);

enum hold_kind { HOLD_NONE, HOLD_STOP, HOLD_KILL };

#define EXIT_REASONS(X) /* name, wire, counts as a failure */                                      \
	X(NONE, "none", false)                                                                     \
	X(POWEROFF, "guest-poweroff", false)                                                       \
	X(PANIC, "guest-panic", true)                                                              \
	X(KILLED, "killed", true)      /* a signal from outside */                                 \
	X(FAILED, "boot-failed", true) /* the agent said so */                                     \
	X(UNKNOWN, "unknown", true)
enum exit_reason {
#define X(name, wire, failure) EXIT_##name,
	EXIT_REASONS(X)
#undef X
		EXIT_COUNT_
};
const char *exit_reason_name(enum exit_reason reason);
enum exit_reason exit_reason_parse(const char *name); /* unknown: EXIT_UNKNOWN */
bool exit_reason_is_failure(enum exit_reason reason);

/* What is known of one VM that exists: host first, store for what no host object can tell. */
/* What the guest's workspace is and what its source has, found out by who may run git. */
struct plan_workspace {
	bool known;	   /* somebody looked; else nothing here counts */
	bool as_wanted;	   /* it was made as the spec says: source, path, mode, branch, … */
	char prepared[16]; /* the commit it was made of, shortened; "": never made */
	char host[16];	   /* the one that it would be made of now */
};

struct plan_vm_state {
	bool exists;	 /* has a row in the store */
	bool disks_made; /* its creation finished once */
	bool running;	 /* a hypervisor of ours was seen */
	/* What it is made of: host values where visible; NULL: nothing yet. Its protect is that of
	 * the last spec that was accepted, even if other changes still wait. */
	const struct vm_spec *have;
	const char *stack; /* owner, "" for none */
	enum hold_kind hold;
	enum exit_reason exit; /* of the last death, EXIT_NONE when it has been started since */
	bool exit_current;     /* that death happened under the revision that is wanted now */
	bool expired;	       /* ttl has passed */
	bool expired_current;  /* ... for the wanted revision: deleted, and stays so */
	/* How little and how much memory the process can have, as it was started; 0: unknown. */
	uint64_t memory_floor, memory_ceiling;
	bool bridged; /* it runs on the bridge */
	struct plan_workspace workspace;
	bool adopted;	     /* its process was started by somebody else: no change but a new one */
	bool image_outdated; /* --update-images was asked and the name points elsewhere now */
	uint64_t boot_ms;    /* how long it takes to be ready, as last measured; 0: unknown */
};

struct plan_policy {
	struct capabilities can; /* of the VM's driver */
	bool allow_data_loss;
	bool lift_hold; /* a person's apply or start: a hold does not count */
	/* Restarts: as they come; not at all, what needs one stays pending; or also for what a
	 * guest does not go along with live. */
	bool no_restart, may_restart;
};

struct vm_plan {
	char name[VM_NAME_MAX + 1];
	enum action_kind kind;
	enum change_class worst;
	struct field_change_vec changes;
	char reason[256];	 /* why it waits, is kept, refused, started or deleted; or "" */
	char summary[128];	 /* of a creation: "tiny, 2 vcpus, 256Mi" */
	bool pending;		 /* some changes are left for later: the marked ones */
	struct vm_spec *instead; /* owned; what to want till then. NULL: as the source says */
	uint64_t downtime_ms; /* of an interruption, as its last boots were; 0: none, or unknown */
	bool disruptive;      /* interrupts a running guest or destroys data: apply asks first */
	/* One of the replicas of this set, which are interrupted so many at a time; "", 0: not so.
	 */
	char set[VM_NAME_MAX + 1];
	uint32_t at_a_time;
	char after[160]; /* others of the plan that come first, "db, cache"; or "" */
};

/* want NULL: the VM shall not exist. name: longer ones are cut at VM_NAME_MAX. The result's changes
 * are the caller's (vm_plan_clear). */
void plan_vm(const char *name, const struct vm_spec *want, const struct plan_vm_state *have,
	     const struct plan_policy *policy, struct vm_plan *ret);
void vm_plan_clear(struct vm_plan *plan);

/* Would the VM, left alone, be started again after this death? Restart policy in one place. */
bool plan_restarts_after(enum restart_policy policy, enum exit_reason reason);

/* --- a whole stack --- */

struct plan_member { /* sorted by name */
	const char *name;
	const struct vm_spec *want; /* NULL: not (any more) in the source */
	struct plan_vm_state have;
};

struct plan_options {
	struct plan_policy policy; /* lift_hold is implied when not watched */
	bool prune;		   /* what left the source is deleted */
	bool prune_all;		   /* ... beyond the guard's half */
	bool adopt;
	bool watched;	    /* by itself, not by a person: holds are respected, the guard applies */
	const char *absent; /* what is said of those without want; NULL: "left the file" */
	size_t largest_recent; /* the stack's largest size in the last ten minutes, for the guard */
};

struct plan {
	const char *stack;   /* borrowed; of a plan from the wire its own */
	struct vm_plan *vms; /* sorted by name; NONE entries included */
	size_t count;
	size_t to_create, to_change, to_restart, to_delete, unchanged, refused, kept, to_adopt;
	size_t pending;		    /* VMs with changes that --no-restart leaves for later */
	size_t to_reimage, waiting; /* reimages are in to_change too, like restarts */
	bool needs_adopt;	    /* to_adopt > 0 and --adopt was not given: refused */
	char guard[160];	    /* "would delete 7 of 8, run banger apply --prune-all", or "" */
	struct plan_text *texts;    /* what a plan from the wire owns; else NULL */
};
/* members without want that the stack does not own are no part of it and get no entry. */
void plan_stack(const char *stack, const struct plan_member *members, size_t count,
		const struct plan_options *options, struct plan *ret);
void plan_clear(struct plan *plan);
bool plan_is_empty(const struct plan *plan);	  /* diff's exit status 0: nothing to do */
bool plan_is_disruptive(const struct plan *plan); /* apply asks */
/* Something was asked that will not be done (exit status 3): a REFUSE, the guard, a missing
 * --adopt, what --no-restart leaves for later. It never keeps the other VMs of the plan from being
 * acted on. */
bool plan_is_refused(const struct plan *plan);
/* Equal for equal plans; apply compares it to see whether the plan moved. VMs without anything to
 * do do not count, so it survives the wire. */
uint64_t plan_digest(const struct plan *plan);
/* The text of the issue: one line a VM, creations first, then changes, deletions, refusals and what
 * stays; the closing count. colour: ANSI. Caller frees. */
char *plan_format(const struct plan *plan, bool colour);

/* --- the wire (rpc/METHODS.md, PLAN and VMPLAN): the members by their names, `worst` as `class`;
 * empty texts and VMs with nothing to do are left out. --- */
struct cJSON;
struct cJSON *plan_to_json(const struct plan *plan);
int plan_from_json(const struct cJSON *json, struct plan *ret, struct error *err);
/* The same in pages, for frames of bounded size: the head has no vms, they follow one by one. */
struct cJSON *plan_head_to_json(const struct plan *plan);
struct cJSON *vm_plan_to_json(const struct vm_plan *plan);
/* Appends one VM (in order) to a plan that plan_from_json() made. -1 leaves the plan as it was. */
int plan_add_json(struct plan *plan, const struct cJSON *vm, struct error *err);

/* A record of the wire (WORKSPACE in rpc/METHODS.md) was made as the spec says. source: the spec's,
 * with its symlinks resolved. What it is made of is another question. */
bool workspace_is_as_wanted(const struct workspace_spec *want, const char *source,
			    const struct cJSON *record);

/* How many of a stack may be deleted now: the guard of spec.md "Deletion is guarded". */
size_t plan_guard_allowance(size_t now, size_t largest_recent);

#endif
