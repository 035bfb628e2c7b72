/* base/json.h - reading cJSON values from outside without trusting their shape.
 *
 * json_parse() bounds depth and size; the getters return the fallback when a member is missing or
 * has another type. Building is cJSON's own API; cJSON's allocation failures abort like ours. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/cleanup.h"
#include "base/error.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/* text need not be terminated. NULL with ERROR_INVALID when it is not one JSON value. */
cJSON *json_parse(const char *text, size_t len, struct error *err);
/* Compact, one line; the caller frees. */
char *json_print(const cJSON *value);

const char *json_str(const cJSON *object, const char *key, const char *fallback);
bool json_bool(const cJSON *object, const char *key, bool fallback);
/* Whole numbers only, up to 2^53; anything else is the fallback. */
int64_t json_int(const cJSON *object, const char *key, int64_t fallback);
const cJSON *json_get(const cJSON *object, const char *key); /* NULL when missing */

/* cJSON_AddNumberToObject with a 64-bit integer, or with a string copy (NULL: null). */
void json_add_int(cJSON *object, const char *key, int64_t value);
void json_add_str(cJSON *object, const char *key, const char *text);
void json_add_bool(cJSON *object, const char *key, bool value);

static inline void cleanup_json(cJSON **value)
{
	cJSON_Delete(*value);
}
#define auto_json __attribute__((cleanup(cleanup_json)))

#endif
