#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

cJSON *json_parse(const char *text, size_t len, struct error *err)
{
	const char *end = NULL;
	cJSON *value = cJSON_ParseWithLengthOpts(text, len, &end, 0);
	if (!value) {
		error_set(err, ERROR_INVALID, "not valid JSON at byte %td",
			  end && end >= text ? end - text : (ptrdiff_t)0);
		return NULL;
	}
	for (; end < text + len; end++)
		if (!*end || !strchr(" \t\r\n", *end)) {
			cJSON_Delete(value);
			error_set(err, ERROR_INVALID, "trailing bytes after JSON at byte %td",
				  end - text);
			return NULL;
		}
	return value;
}

char *json_print(const cJSON *value)
{
	char *text = cJSON_PrintUnformatted(value);
	if (!text)
		BUG("cannot print JSON");
	return text;
}

const cJSON *json_get(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

const char *json_str(const cJSON *object, const char *key, const char *fallback)
{
	const cJSON *item = json_get(object, key);
	return cJSON_IsString(item) ? item->valuestring : fallback;
}

bool json_bool(const cJSON *object, const char *key, bool fallback)
{
	const cJSON *item = json_get(object, key);
	return cJSON_IsBool(item) ? cJSON_IsTrue(item) : fallback;
}

int64_t json_int(const cJSON *object, const char *key, int64_t fallback)
{
	const cJSON *item = json_get(object, key);
	if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
		return fallback;
	double value = item->valuedouble;
	if (fabs(value) > 9007199254740992.0 || value != (double)(int64_t)value)
		return fallback;
	return (int64_t)value;
}

void json_add_int(cJSON *object, const char *key, int64_t value)
{
	cJSON_AddNumberToObject(object, key, (double)value);
}

void json_add_str(cJSON *object, const char *key, const char *text)
{
	if (text)
		cJSON_AddStringToObject(object, key, text);
	else
		cJSON_AddNullToObject(object, key);
}

void json_add_bool(cJSON *object, const char *key, bool value)
{
	cJSON_AddBoolToObject(object, key, value);
}
