/* base/units.h - the one parser and printer of sizes and durations.
 *
 * Sizes: decimal digits and an optional Ki Mi Gi Ti (powers of 1024) or K M G T (powers of 1000).
 * Durations: digits and one of ms s m h d; at least one digit, no sign, no fraction, no space, no
 * leading zero: "02" and "1e3" are errors, not guesses. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include "base/error.h"

#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

int units_parse_size(const char *text, uint64_t *ret_bytes, struct error *err);
int units_parse_duration(const char *text, uint64_t *ret_ms, struct error *err);
int units_parse_u64(const char *text, uint64_t *ret, struct error *err);

#define UNITS_TEXT_MAX 32
/* The shortest exact spelling: "512Mi", "1G" only as bytes "1000000000"; "90s", "2h", "1500ms". */
const char *units_format_size(uint64_t bytes, char text[UNITS_TEXT_MAX]);
const char *units_format_duration(uint64_t ms, char text[UNITS_TEXT_MAX]);

#endif
