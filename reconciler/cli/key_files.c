#include "cli/key_files.h"
#include "rpc/rpc.h"

#include <string.h>

#define TEXTS_MAX (RPC_FRAME_MAX / 4) /* bytes; escapes may make more of them */

struct noted {
	cJSON *texts;
	size_t bytes;
};

static char *read_and_note(void *cookie, const char *path, struct error *err)
{
	struct noted *noted = cookie;
	char *text = spec_read_key_file(path, err);
	size_t len = text ? strlen(path) + strlen(text) : 0;
	if (!text || json_get(noted->texts, path) || len > TEXTS_MAX - noted->bytes ||
	    cJSON_GetArraySize(noted->texts) >= RPC_KEY_FILES_MAX)
		return text;
	noted->bytes += len;
	json_add_str(noted->texts, path, text);
	return text;
}

static struct spec_context context_of(struct noted *noted)
{
	return (struct spec_context){ .read_file = read_and_note, .cookie = noted };
}

void key_files_of_sources(const struct cli *cli, const struct spec_source *sources, size_t count,
			  cJSON *params)
{
	if (!cli_is_member(cli))
		return;
	struct fault_vec faults = { 0 };
	struct spec_set set = { 0 };
	struct noted noted = { .texts = cJSON_AddObjectToObject(params, "key_files") };
	const struct spec_context context = context_of(&noted);
	if (spec_load(sources, count, &context, &set, &faults) == 0)
		spec_set_clear(&set);
	faults_clear(&faults);
}

static void read_set(const cJSON *list, const struct spec_context *context)
{
	struct error ignored;
	auto_free const char **set = xcalloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*set));
	size_t count = 0;
	for (const cJSON *item = list ? list->child : NULL; item; item = item->next)
		set[count++] = item->valuestring;
	vm_spec_free(vm_spec_with(NULL, "x", set, count, context, &ignored));
}

void key_files_home(cJSON *params)
{
	const char *home = secure_getenv("HOME");
	if (home && home[0] == '/')
		json_add_str(params, "home", home);
}

void key_files_of_set(const struct cli *cli, cJSON *params)
{
	if (cli->system)
		key_files_home(params);
	if (!cli_is_member(cli))
		return;
	struct noted noted = { .texts = cJSON_AddObjectToObject(params, "key_files") };
	const struct spec_context context = context_of(&noted);
	read_set(json_get(params, "set"), &context);
}
