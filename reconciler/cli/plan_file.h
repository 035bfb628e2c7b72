/* cli/plan_file.h - a plan that is kept: what `diff --out` writes and `apply --plan` carries out.
 *
 * JSON, as schema/plan.schema.json says. It holds the texts of the specs themselves, so that what
 * is carried out is what was looked at, and the digests of what the plan was made from. */
#ifndef CLI_PLAN_FILE_H
#define CLI_PLAN_FILE_H

#include "cli/cli.h"
#include "cli/sources.h"

#define PLAN_FILE_VERSION 1

/* params: of the request that gave the plan. */
int plan_file_write(const char *path, const struct sources *sources, const cJSON *params,
		    const cJSON *plan, struct error *err);
/* *ret_params: the options; *ret_reply: {"plan": …}, as `plan` answers. */
int plan_file_read(const char *path, struct sources *ret_sources, cJSON **ret_params,
		   cJSON **ret_reply, struct error *err);
/* CONFLICT when a file that it was made from says something else now, or is gone. */
int plan_file_check(const struct sources *sources, struct error *err);

#endif
