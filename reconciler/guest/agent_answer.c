/* Theory of operation: what a guest answers reaches people's terminals and other programs. Here it
 * is read by a table of what PROTOCOL.md promises; whatever else the guest said stays behind. */
#include "guest/agent_lines.h"
#include "guest/guest.h"

#include <string.h>

#define TEXT_MAX 200
#define LIST_MAX 128

enum kind { KIND_NUMBER, KIND_BOOL, KIND_TEXT, KIND_TEXTS, KIND_OBJECTS };

struct member {
	const char *key; /* NULL ends a table */
	enum kind kind;
	const struct member *of; /* of KIND_OBJECTS */
};

static const struct member ping_members[] = { { "uptime_ms", KIND_NUMBER, NULL }, { 0 } };

static const struct member stats_members[] = {
	{ "boot_id", KIND_TEXT, NULL },
	{ "uptime_ms", KIND_NUMBER, NULL },
	{ "cpus", KIND_NUMBER, NULL },
	{ "memory_total", KIND_NUMBER, NULL },
	{ "memory_available", KIND_NUMBER, NULL },
	{ "load_1", KIND_NUMBER, NULL },
	{ "load_5", KIND_NUMBER, NULL },
	{ "load_15", KIND_NUMBER, NULL },
	{ "root_size", KIND_NUMBER, NULL },
	{ "root_used", KIND_NUMBER, NULL },
	{ "work_size", KIND_NUMBER, NULL },
	{ "work_used", KIND_NUMBER, NULL },
	{ 0 },
};

static const struct member health_members[] = {
	{ "ok", KIND_BOOL, NULL },
	{ "phase", KIND_TEXT, NULL },
	{ "ready", KIND_BOOL, NULL },
	{ "ssh", KIND_BOOL, NULL },
	{ "problems", KIND_TEXTS, NULL },
	{ "failed_units", KIND_TEXTS, NULL },
	{ 0 },
};

static const struct member port_members[] = {
	{ "proto", KIND_TEXT, NULL }, { "bind", KIND_TEXT, NULL },    { "port", KIND_NUMBER, NULL },
	{ "pid", KIND_NUMBER, NULL }, { "process", KIND_TEXT, NULL }, { 0 },
};

static const struct member ports_members[] = {
	{ "ports", KIND_OBJECTS, port_members },
	{ "truncated", KIND_BOOL, NULL },
	{ 0 },
};

static const struct member boot_members[] = {
	{ "uptime_ms", KIND_NUMBER, NULL }, { "kernel", KIND_NUMBER, NULL },
	{ "mounted", KIND_NUMBER, NULL },   { "network", KIND_NUMBER, NULL },
	{ "init", KIND_NUMBER, NULL },	    { "ssh", KIND_NUMBER, NULL },
	{ "ready", KIND_NUMBER, NULL },	    { 0 },
};

static const struct {
	const char *method;
	const struct member *members;
} answers[] = {
	{ "ping", ping_members },   { "stats", stats_members }, { "health", health_members },
	{ "ports", ports_members }, { "boot", boot_members },
};

static cJSON *clean_object(const struct member *members, const cJSON *from);

static cJSON *clean_text(const char *from)
{
	char text[TEXT_MAX];
	agent_text_copy(text, sizeof(text), from);
	return cJSON_CreateString(text);
}

static cJSON *clean_list(const struct member *member, const cJSON *from)
{
	cJSON *list = cJSON_CreateArray();
	const cJSON *item;
	size_t count = 0;
	cJSON_ArrayForEach(item, from)
	{
		if (++count > LIST_MAX)
			break;
		if (member->kind == KIND_OBJECTS && cJSON_IsObject(item))
			cJSON_AddItemToArray(list, clean_object(member->of, item));
		else if (member->kind == KIND_TEXTS && cJSON_IsString(item))
			cJSON_AddItemToArray(list, clean_text(item->valuestring));
	}
	return list;
}

static void clean_member(const struct member *member, const cJSON *from, cJSON *to)
{
	const cJSON *value = json_get(from, member->key);
	if (member->kind == KIND_NUMBER && json_int(from, member->key, -1) >= 0)
		json_add_int(to, member->key, json_int(from, member->key, 0));
	else if (member->kind == KIND_BOOL && cJSON_IsBool(value))
		json_add_bool(to, member->key, cJSON_IsTrue(value));
	else if (member->kind == KIND_TEXT && cJSON_IsString(value))
		cJSON_AddItemToObject(to, member->key, clean_text(value->valuestring));
	else if (member->kind >= KIND_TEXTS && cJSON_IsArray(value))
		cJSON_AddItemToObject(to, member->key, clean_list(member, value));
}

static cJSON *clean_object(const struct member *members, const cJSON *from)
{
	cJSON *to = cJSON_CreateObject();
	for (; members->key; members++)
		clean_member(members, from, to);
	return to;
}

cJSON *agent_answer_clean(const char *method, const cJSON *result)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (!strcmp(answers[i].method, method))
			return clean_object(answers[i].members, result);
	return cJSON_CreateObject();
}
