/* agent/vitals.h - how the guest is: numbers, and what is wrong with it.
 *
 * Reads files of the guest's and asks its init: for a job, never for the loop. */
#ifndef AGENT_VITALS_H
#define AGENT_VITALS_H

#include "agent/agent.h"

/* Fills result as PROTOCOL.md has it for `stats` and `health`. */
int vitals_stats(const struct agent *agent, cJSON *result, struct error *err);
int vitals_health(const struct agent *agent, cJSON *result, struct error *err);

/* Of /proc/meminfo's text, in bytes; 0 when the key is not there. */
uint64_t meminfo_bytes(const char *text, const char *key);
/* Of /proc/loadavg's text, in hundredths; what is not there is 0. */
void loadavg_parse(const char *text, uint64_t ret[3]);
/* Adds the first word of each line, at most VITALS_UNITS_MAX, to list. */
#define VITALS_UNITS_MAX 32
void units_parse(char *text, cJSON *list);

#endif
