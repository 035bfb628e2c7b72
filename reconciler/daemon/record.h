/* daemon/record.h - what happened and what was wanted; kept in the store, both bounded.
 *
 * events.c   what happened, for people and programs
 * revision.c what was wanted, revision by revision
 * past.c     going back there */
#ifndef DAEMON_RECORD_H
#define DAEMON_RECORD_H

#include "base/buf.h"
#include "base/json.h"
#include "schema/spec_load.h"
#include "store/store.h"

struct bangerd;
struct vm;

struct actor { /* who asked */
	int64_t uid;
	const char *who; /* a user's name, or "watch" */
};

/* --- events.c --- */
#define EVENT_KINDS(X) /* name, wire, what it says */                                              \
	X(APPLIED, "applied", "a plan was written down as what is wanted")                         \
	X(ROLLED_BACK, "rolled-back", "... which was an earlier revision")                         \
	X(REFUSED, "refused", "something was asked that is not done")                              \
	X(HELD_BACK, "held-back", "a watched directory deletes nothing now")                       \
	X(INVALID, "invalid", "a watched directory has faults")                                    \
	X(ADOPTED, "adopted", "a hypervisor was taken over")                                       \
	X(CREATED, "created", "disks are made")                                                    \
	X(STARTED, "started", "its hypervisor runs")                                               \
	X(READY, "ready", "as its spec says")                                                      \
	X(NOT_READY, "not-ready", "... not in time")                                               \
	X(REBOOTED, "rebooted", "by the guest itself")                                             \
	X(LIVE, "live", "changed while it runs, or only on record")                                \
	X(RESTARTED, "restarted", "for a change, or because it was asked")                         \
	X(REIMAGED, "reimaged", "has a new system disk")                                           \
	X(PAUSED, "paused", "the host's disk is full")                                             \
	X(RESUMED, "resumed", "it goes on")                                                        \
	X(STOPPED, "stopped", "as was asked")                                                      \
	X(DIED, "died", "nobody asked for it")                                                     \
	X(FAILED, "failed", "what was tried")                                                      \
	X(BACKOFF, "backoff", "tried again later")                                                 \
	X(DELETED, "deleted", "with its disks")                                                    \
	X(PULLED, "pulled", "an image or a kernel is here")                                        \
	X(WATCHING, "watching", "a directory is kept applied")                                     \
	X(UNWATCHED, "unwatched", "... no longer")                                                 \
	X(GC, "gc", "something that was nobody's was removed")                                     \
	X(MENDED, "mended", "what somebody else had changed on the host")                          \
	X(DAEMON, "daemon", "bangerd began or ended")
enum event_kind {
#define X(name, wire, doc) EVENT_##name,
	EVENT_KINDS(X)
#undef X
		EVENT_COUNT_
};
const char *event_kind_name(enum event_kind kind);
/* Costs no more than its memory; written down soon after. No secrets: a line that the log could
 * have. stack: "" or NULL for none. */
void event_add(struct bangerd *d, enum event_kind kind, const char *stack, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void vm_event(const struct vm *vm, enum event_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same about a name that may have no VM. */
void vm_event_named(struct bangerd *d, enum event_kind kind, const char *name, const char *stack,
		    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
int events_open(struct bangerd *d, struct error *err);
void events_flush(struct bangerd *d);  /* writes down what has gathered, now */
void events_settle(struct bangerd *d); /* drops what is too old */
void events_free(struct bangerd *d);
cJSON *event_to_json(const struct store_event *event);

/* --- revision.c --- */
/* What one request changes of what is wanted, gathered while it is done. */
struct revision {
	struct actor by;
	const char *kind, *stack, *source; /* borrowed */
	struct store_change_vec changes;
	size_t created, changed, deleted;
	char summary[256];
	int64_t back_to; /* a revision that is wanted again; 0: none */
	int64_t rev;	 /* once it is written; 0: nothing changed */
};
/* Before the change: vm NULL, it is not there yet; want NULL, it shall go. No difference: nothing.
 */
void revision_add(struct revision *revision, const struct bangerd *d, const struct vm *vm,
		  const struct vm_spec *want, const char *stack);
/* Within the transaction that writes the change itself, or alone. */
int revision_write(struct bangerd *d, struct revision *revision, struct error *err);
/* Saves a VM and the revision that changed it, both or neither. */
int revision_save(struct vm *vm, struct revision *revision, struct error *err);
void revision_clear(struct revision *revision);
#define auto_revision __attribute__((cleanup(revision_clear)))
void revisions_settle(struct bangerd *d);
/* "memory 256Mi -> 512Mi (restart)  ports ..." as a plan shows it; "" when nothing differs. */
void changes_text(const struct bangerd *d, const struct vm_spec *have, const struct vm_spec *want,
		  struct buf *ret);
/* Whoever wants something without a client: a watch. */
struct actor own_actor(const struct bangerd *d, const char *who);

/* --- past.c --- */
struct past { /* what was wanted once */
	int64_t rev;
	struct spec_set set; /* stack "": VMs that nobody owns */
	char *source;	     /* where the stack comes from now, or came from last */
	bool complete;	     /* the whole stack: what is not in it was not there */
};
int past_load(struct bangerd *d, int64_t rev, struct past *ret, struct error *err);
void past_clear(struct past *past);
/* CONFLICT where wanting it again would not last. */
int past_check(struct bangerd *d, const struct past *past, struct error *err);
/* What whoever goes back there should know; the caller frees. */
char *past_note(const struct past *past);

#endif
