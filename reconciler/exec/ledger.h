/* exec/ledger.h - everything on this host that is banger's, whose it is, and what is nobody's.
 *
 * Nothing is remembered: rows of ledger_kinds[] look at the host (probe), one judgement says what
 * is an orphan, and the row that found a thing takes it away (discard). Found by name, taken by
 * identity: device, inode and change time of a file, pid and start time of a process are compared
 * again at the last moment, and a lock that somebody holds is respected. Blocks; for workers. */
#ifndef EXEC_LEDGER_H
#define EXEC_LEDGER_H

#include "exec/job.h"

#include <stdio.h>
#include <sys/stat.h>

#define LEDGER_MIN_AGE_MS 60000 /* what is younger may be on its way to its owner */

enum need {
	NEED_NOTHING, /* banger's own, or content that somebody may pin: never an orphan */
	NEED_ROW,     /* its VM must be known */
	NEED_RUN,     /* its VM must run, or be worked on */
	NEED_MAKER,   /* half-made: somebody must be making it */
	NEED_USER,    /* of no VM alone: somebody must use it */
};

struct ledger_kind;
struct object {
	const struct ledger_kind *from;
	const char *kind; /* "disk", "socket", …: for people */
	char *what;	  /* path, or "pid 412"; owned */
	char id[16];	  /* of its VM, "" none */
	enum need need;
	bool data;	  /* a user's: only taken when a person says so */
	bool held;	  /* a lock on it is held; somebody uses it */
	bool maker_gone;  /* nobody can be on its way with it: its age says nothing */
	uint64_t size;	  /* bytes it takes */
	int64_t since_ms; /* wall clock: last written, made, or started; 0: nobody can know */
	struct stat st;	  /* of a file: its identity */
	uint64_t number;  /* of a device, a link: its identity */
	pid_t pid;	  /* of a process: its identity */
	uint64_t start_ticks;

	/* judged */
	bool orphan;
	char owner[VM_NAME_MAX + 1]; /* a VM's name, or "banger", or "" */
	const char *why;	     /* of an orphan */
};
DEFINE_VEC(object_vec, struct object)

/* A VM that is known, as the loop saw it. */
struct owner {
	char id[16];
	char name[VM_NAME_MAX + 1];
	bool runs;
	bool busy;     /* a job works on it */
	pid_t adopted; /* its process, when somebody else started it; 0 */
	int64_t started_ms;
};

struct ledger {
	const struct host *host;
	const char *runtime;  /* paths.runtime */
	struct owner *owners; /* sorted by id */
	size_t owner_count;
	int64_t now_ms;
	struct object_vec objects;
};

struct ledger_kind {
	const char *name;
	int (*probe)(struct ledger *ledger, struct error *err);
	/* Already gone is success. BUSY or CONFLICT: it is not what was found. NULL: never. */
	int (*discard)(const struct ledger *ledger, const struct object *object, struct error *err);
};
/* In the order in which orphans go: processes, then what they held, then directories. */
extern const struct ledger_kind *const ledger_kinds[];
extern const struct ledger_kind ledger_hypervisors, ledger_jails, ledger_dm, ledger_loops,
	ledger_links, ledger_rules, ledger_vm_files, ledger_leftovers, ledger_images, ledger_cache,
	ledger_half_written, ledger_daemon;

/* Looks and judges. On failure the objects found so far are there. */
int ledger_look(struct ledger *ledger, struct error *err);
void ledger_judge(struct ledger *ledger);
void ledger_clear(struct ledger *ledger); /* the objects; host and owners are the caller's */

/* Does a sweep take it? data: of users too. */
bool ledger_takes(const struct ledger *ledger, const struct object *object, bool data);
/* Of all that a sweep would take: equal for equal things. */
uint64_t ledger_digest(const struct ledger *ledger, bool data);
int ledger_discard(const struct ledger *ledger, const struct object *object, struct error *err);

/* --- for the rows --- */
/* A new one, its `what` formatted. */
struct object *ledger_add(struct ledger *ledger, const struct ledger_kind *from, const char *kind,
			  char *what_taken);
/* Fills in what a file says of itself. */
void object_of_file(struct object *object, const struct stat *st);
/* What a run of that VM needs on the host, outside of its directory. */
void object_of_vm(struct object *object, const struct ledger *ledger, const char *id);
/* As old as that path, which stands for it. */
void object_made_when(struct object *object, const char *path);
/* Whoever starts the object's VM needs this lock. *ret_fd is -1 where there is none to be had, as
 * there is no such VM, or it is of none alone. BUSY: a hypervisor has it. */
int ledger_lock_vm(const struct ledger *ledger, const struct object *object, int *ret_fd,
		   struct error *err);
/* Is name below dirfd still that very file? 1 yes, 0 gone, -1 another: CONFLICT. */
int object_is_there(const struct object *object, int dirfd, const char *name, struct error *err);
const struct owner *ledger_owner(const struct ledger *ledger, const char *id);

/* "gc<TAB>processes" for every row that takes things away. */
void ledger_steps_print(FILE *to);

#endif
