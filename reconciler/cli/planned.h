/* cli/planned.h - a plan as the daemon sent it, put together from its pages, and faults. */
#ifndef CLI_PLANNED_H
#define CLI_PLANNED_H

#include "base/json.h"
#include "cli/cli.h"
#include "cli/sources.h"
#include "plan/plan.h"

struct planned {
	cJSON *json; /* the whole plan; NULL: there is none */
	struct plan plan;
	const char *digest; /* inside json */
	char *note;	    /* what else to know; NULL: nothing */
};
void planned_clear(struct planned *planned);
#define auto_planned __attribute__((cleanup(planned_clear)))

/* Takes a PLAN as it is in a reply ({"plan":…}). */
int planned_take(cJSON *reply, struct planned *ret, struct error *err);
/* Asks `plan` with these params and this source, page by page. When the source is not valid the
 * faults are printed (or given out as -o json) and it fails with ERROR_INVALID and an empty text.
 */
int planned_fetch(struct cli *cli, const struct sources *sources, const cJSON *params, int fd,
		  struct planned *ret, struct error *err);

void planned_print(struct cli *cli, const struct planned *planned);
/* What the plan does to a VM; ACTION_NONE when it is not in it. */
enum action_kind planned_kind(const struct planned *planned, const char *name);

/* Prints faults: JSON from the daemon, or those of spec_load(). */
void faults_print_json(struct cli *cli, const struct sources *sources, const cJSON *faults);
void faults_print(struct cli *cli, const struct fault_vec *faults);
cJSON *faults_to_json(const struct fault_vec *faults);

#endif
