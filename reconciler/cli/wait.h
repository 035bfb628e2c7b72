/* cli/wait.h - following operations of the daemon until they end.
 *
 * The daemon works whether anybody waits or not. When it ends meanwhile it is started again; it no
 * longer knows the operations then, so the state of the VMs tells how the work went. */
#ifndef CLI_WAIT_H
#define CLI_WAIT_H

#include "base/vec.h"
#include "cli/cli.h"

enum wait_goal {
	GOAL_UP,    /* ready, or stopped when its spec says so */
	GOAL_DOWN,  /* stopped */
	GOAL_GONE,  /* deleted */
	GOAL_OTHER, /* not a VM: only its operation can tell */
};

struct wait_item {
	char *name;  /* owned */
	char op[48]; /* "": there is nothing to wait for, err or success tell */
	enum wait_goal goal;
	bool done, success;
	bool op_lost; /* its operation died with a daemon */
	struct error err;
	char kind[24], stage[64], detail[160];
	uint64_t elapsed_ms;
	int64_t progress_done, progress_total; /* bytes; total 0: unknown */
	char said[64];			       /* the stage that was last told (progress.c) */
};
DEFINE_VEC(wait_item_vec, struct wait_item)

void wait_items_clear(struct wait_item_vec *items);
#define auto_wait_items __attribute__((cleanup(wait_items_clear)))

/* Takes what a method returned for names: [{name, op} or {name, error}…], or one such item. */
void wait_items_add(struct wait_item_vec *items, const cJSON *list, enum wait_goal goal);
void wait_items_add_failed(struct wait_item_vec *items, const char *name, const struct error *err);

/* Follows all of them and says how it went, as --no-wait, --timeout and -o of the command want it
 * (the command must have those two flags). Returns the worst exit status. plan: what -o json
 * shows beside the results, NULL for none. */
int wait_finish(struct cli *cli, struct wait_item_vec *items, const cJSON *plan);

/* Only waits, without a word about results: 0, STATUS_TIMEOUT or STATUS_INTERRUPTED; -1 with err.
 */
int wait_all(struct cli *cli, struct wait_item_vec *items, uint64_t timeout_ms, struct error *err);

#endif
