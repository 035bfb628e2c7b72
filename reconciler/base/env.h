/* base/env.h - settings of the environment, which a set-id program would not believe. */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include <stdint.h>

/* As units_parse_u64() reads it; what is no number is named in the log and counts as unset. */
uint64_t env_number(const char *name, uint64_t otherwise);

#endif
