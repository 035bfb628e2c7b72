#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit sizes[] = {
	{ "Ti", TIB },
	{ "Gi", GIB },
	{ "Mi", MIB },
	{ "Ki", KIB },
	{ "", 1 },
	{ "K", UINT64_C(1000) },
	{ "M", UINT64_C(1000000) },
	{ "G", UINT64_C(1000000000) },
	{ "T", UINT64_C(1000000000000) },
	{ NULL, 0 },
};

static const struct unit durations[] = {
	{ "d", UINT64_C(86400000) },
	{ "h", UINT64_C(3600000) },
	{ "m", UINT64_C(60000) },
	{ "s", UINT64_C(1000) },
	{ "ms", 1 },
	{ NULL, 0 },
};

/* Digits without leading zeros; *rest points behind them. */
static int parse_digits(const char *text, uint64_t *ret, const char **rest)
{
	const char *p = text;
	uint64_t value = 0;
	if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
		return -1;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -1;
	*ret = value;
	*rest = p;
	return 0;
}

static int parse_scaled(const char *text, const struct unit *units, uint64_t *ret)
{
	uint64_t count;
	const char *suffix;
	if (parse_digits(text, &count, &suffix) < 0)
		return -1;
	for (const struct unit *u = units; u->suffix; u++)
		if (!strcmp(suffix, u->suffix))
			return __builtin_mul_overflow(count, u->factor, ret) ? -1 : 0;
	return -1;
}

int units_parse_size(const char *text, uint64_t *ret_bytes, struct error *err)
{
	if (parse_scaled(text, sizes, ret_bytes) < 0)
		return error_set(err, ERROR_INVALID,
				 "'%.40s' is not a size, write it as 512Mi, 2Gi or plain bytes",
				 text);
	return 0;
}

int units_parse_duration(const char *text, uint64_t *ret_ms, struct error *err)
{
	if (parse_scaled(text, durations, ret_ms) < 0)
		return error_set(err, ERROR_INVALID,
				 "'%.40s' is not a duration, write it as 90s, 2h or 1d", text);
	return 0;
}

int units_parse_u64(const char *text, uint64_t *ret, struct error *err)
{
	const char *rest;
	if (parse_digits(text, ret, &rest) < 0 || *rest)
		return error_set(err, ERROR_INVALID, "'%.40s' is not a whole number", text);
	return 0;
}

static const char *format_scaled(uint64_t value, const struct unit *units, char *text)
{
	for (const struct unit *u = units; u->suffix; u++)
		if (u->factor == 1 || (value && value % u->factor == 0)) {
			snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 "%s", value / u->factor,
				 u->suffix);
			return text;
		}
	return "";
}

const char *units_format_size(uint64_t bytes, char text[UNITS_TEXT_MAX])
{
	return format_scaled(bytes, sizes, text);
}

const char *units_format_duration(uint64_t ms, char text[UNITS_TEXT_MAX])
{
	return ms ? format_scaled(ms, durations, text) : "0s";
}
