/* store/store.h - intent and identity, in SQLite (WAL): what is wanted, which VM is which.
 *
 * Never what runs: pids, sockets and sizes are asked of the host. Loop thread only. A missing file
 * is a fresh install; a newer schema than ours is refused; older ones are migrated in one
 * transaction each. Every mutating call outside store_begin()/store_commit() is its own
 * transaction. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/cleanup.h"
#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

struct store *store_open(const char *path, struct error *err);
void store_close(struct store *store);
/* Moves what was committed to its final place and flushes it, if there is something; blocks. */
void store_settle(struct store *store);
DEFINE_CLEANUP(store, store_close)

int store_begin(struct store *store, struct error *err);
int store_commit(struct store *store, struct error *err);
void store_rollback(struct store *store);

#define VM_ID_LEN 10 /* lower-case hex digits; "bgr-<id>" fits an interface name */

struct store_vm {
	char id[VM_ID_LEN + 1];
	char *name;
	char *stack;	    /* "" = unowned */
	char *spec;	    /* JSON: what is wanted */
	int64_t revision;   /* of spec; grows with every change of it */
	char *applied;	    /* JSON: what the disks and records were last brought to; NULL: never */
	char *image_digest; /* pinned when the system disk was made; NULL: not made */
	char *kernel_digest;  /* pinned at the last start; NULL */
	char *address;	      /* 127.x.y.z of user networking; NULL */
	bool deleting;	      /* shall be gone; the row goes last */
	bool allow_data_loss; /* said by the person who applied this revision */
	int hold;	      /* enum hold_kind */
	char *exit_reason; /* of the last death that nobody asked for; NULL: none since its start */
	int64_t exit_revision;
	int64_t expired_revision; /* its ttl passed under this revision; 0: no */
	int64_t created_ms;	  /* wall clock; the ttl counts from here */
	bool ephemeral;		  /* lives as long as the client that made it */
	char *workspace;	  /* JSON: what was prepared in the guest; NULL: nothing */
	/* JSON: what it was last ready with; NULL: with `applied`, or never */
	char *good;
	char *rollback; /* JSON: what is wanted again if this revision fails; NULL: no */
	char *boots;	/* ms from start to ready of the last few, newest first; NULL: none */
};
DEFINE_VEC(store_vm_vec, struct store_vm)
void store_vm_clear(struct store_vm *vm);
void store_vms_clear(struct store_vm_vec *vms);

int store_vms(struct store *store, struct store_vm_vec *ret, struct error *err); /* by name */
int store_vm_put(struct store *store, const struct store_vm *vm,
		 struct error *err); /* upsert by id */
int store_vm_remove(struct store *store, const char *id, struct error *err);

struct store_stack {
	char *name;
	char *source; /* real path; "" for standard input */
	bool watched;
};
DEFINE_VEC(store_stack_vec, struct store_stack)
void store_stacks_clear(struct store_stack_vec *stacks);
int store_stacks(struct store *store, struct store_stack_vec *ret, struct error *err);
int store_stack_put(struct store *store, const char *name, const char *source, bool watched,
		    struct error *err);
int store_stack_remove(struct store *store, const char *name, struct error *err);

/* The guard's memory: how large the stack was, when. Entries older than keep_ms are dropped. */
int store_stack_size_note(struct store *store, const char *stack, int64_t now_ms, int64_t keep_ms,
			  int64_t size, struct error *err);
/* Largest size noted at or after since_ms; 0 when none. */
int store_stack_size_largest(struct store *store, const char *stack, int64_t since_ms, int64_t *ret,
			     struct error *err);

/* --- events.c: what happened, a ring --- */

struct store_event {
	int64_t id; /* grows, never used twice */
	int64_t at_ms;
	char *vm, *stack; /* "": not about one */
	char *kind, *text;
};
DEFINE_VEC(store_event_vec, struct store_event)
void store_event_clear(struct store_event *event);
void store_events_clear(struct store_event_vec *events);

int store_event_add(struct store *store, const struct store_event *event, struct error *err);
int store_event_last(struct store *store, int64_t *ret_id, struct error *err); /* 0: none ever */
struct store_event_query {
	int64_t after;	  /* only those with a larger id */
	int64_t since_ms; /* ... and not older */
	const char *name; /* of a VM or a stack; NULL: all */
	int64_t limit;
	int64_t newest; /* begin with the last so many; 0: with the first */
};
/* Oldest first. */
int store_events(struct store *store, const struct store_event_query *query,
		 struct store_event_vec *ret, struct error *err);
int store_events_trim(struct store *store, int64_t up_to_id, struct error *err);
int store_events_expire(struct store *store, int64_t oldest_ms, struct error *err);

/* --- history.c: what was wanted, revision by revision ---
 *
 * A revision holds what it changed: of every VM it touched the stack and the spec before and after
 * it. What was wanted at revision R is what is wanted now with all later ones taken back; oldest go
 * first, so those are always there. */

struct store_revision {
	int64_t rev, at_ms, uid;
	int64_t vms;   /* how many it changed */
	int64_t bytes; /* what it takes, about */
	char *who;     /* a user's name, or "watch" */
	char *stack, *source, *kind, *summary;
};
DEFINE_VEC(store_revision_vec, struct store_revision)
void store_revision_clear(struct store_revision *revision);
void store_revisions_clear(struct store_revision_vec *revisions);

struct store_change { /* stack and spec NULL: the VM was not there */
	char *name;
	char *stack_before, *stack_after;
	char *spec_before, *spec_after; /* as in store_vm.spec */
};
DEFINE_VEC(store_change_vec, struct store_change)
void store_changes_clear(struct store_change_vec *changes);

/* vms and bytes are filled in here, and rev returned. */
int store_revision_add(struct store *store, const struct store_revision *revision,
		       const struct store_change_vec *changes, int64_t *ret_rev, struct error *err);
/* Newest first: below rev (0: all), of a VM or a stack (NULL: all). */
int store_revisions(struct store *store, int64_t below, const char *name, int64_t limit,
		    struct store_revision_vec *ret, struct error *err);
/* NOT_FOUND when there is none of this number (any more). */
int store_revision(struct store *store, int64_t rev, struct store_revision *ret, struct error *err);
/* By name, behind one ("": from the first). */
int store_changes(struct store *store, int64_t rev, const char *after, int64_t limit,
		  struct store_change_vec *ret, struct error *err);
/* For every VM that was touched after rev: what it was at rev, in the members "before". */
int store_changes_undo(struct store *store, int64_t rev, struct store_change_vec *ret,
		       struct error *err);
/* Drops the oldest beyond so many or so much; the newest always stays. */
int store_history_trim(struct store *store, int64_t max_count, int64_t max_bytes,
		       struct error *err);

#endif
