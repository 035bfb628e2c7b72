#include "base/env.h"
#include "base/log.h"
#include "base/units.h"

#include <stdlib.h>

uint64_t env_number(const char *name, uint64_t otherwise)
{
	struct error err;
	uint64_t value;
	const char *text = secure_getenv(name);
	if (!text || !*text)
		return otherwise;
	if (units_parse_u64(text, &value, &err) == 0)
		return value;
	log_warn(NULL, "%s: %s, ignoring", name, err.text);
	return otherwise;
}
