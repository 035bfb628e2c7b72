#include "cli/plan_file.h"
#include "base/fs.h"
#include "sys/loop.h"

#include <fcntl.h>
#include <string.h>

#define PLAN_FILE_MAX (256u << 20)

/* --- writing --- */

static cJSON *documents_of(const struct sources *sources)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < sources->docs.count; i++) {
		const struct source_doc *doc = &sources->docs.at[i];
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "path", doc->path);
		json_add_str(item, "directory", doc->directory);
		json_add_str(item, "text", doc->text);
		cJSON_AddItemToArray(list, item);
	}
	return list;
}

int plan_file_write(const char *path, const struct sources *sources, const cJSON *params,
		    const cJSON *plan, struct error *err)
{
	auto_json cJSON *file = cJSON_CreateObject();
	json_add_int(file, "banger_plan", PLAN_FILE_VERSION);
	json_add_int(file, "made_ms", clock_wall_ms());
	json_add_str(file, "made_by", cli_version);
	json_add_str(file, "stack", sources->stack);
	json_add_str(file, "source", sources->path);
	cJSON_AddItemToObject(file, "documents", documents_of(sources));
	cJSON *options = cJSON_Duplicate(params, true);
	static const char *const not_options[] = { "documents", "stack",     "path",
						   "state",	"key_files", "meant" };
	for (size_t i = 0; i < ARRAY_COUNT(not_options); i++)
		cJSON_DeleteItemFromObject(options, not_options[i]);
	cJSON_AddItemToObject(file, "options", options);
	cJSON_AddItemToObject(file, "plan", cJSON_Duplicate(plan, true));
	auto_free char *text = cJSON_Print(file);
	if (fs_write(AT_FDCWD, path, text, strlen(text), 0600, err) < 0)
		return error_wrap(err, "--out");
	return 0;
}

/* --- reading --- */

static int read_documents(const cJSON *file, const char *path, struct sources *ret,
			  struct error *err)
{
	const cJSON *item;
	cJSON_ArrayForEach(item, json_get(file, "documents"))
	{
		const char *doc = json_str(item, "path", NULL);
		const char *directory = json_str(item, "directory", NULL);
		const char *text = json_str(item, "text", NULL);
		if (!doc || !directory || !text)
			return error_set(err, ERROR_INVALID, "'%s': a document of it is broken",
					 path);
		source_doc_vec_push(&ret->docs,
				    (struct source_doc){ .shown = xstrdup(doc),
							 .path = xstrdup(doc),
							 .directory = xstrdup(directory),
							 .text = xstrdup(text),
							 .len = strlen(text) });
	}
	ret->stack = xstrdup(json_str(file, "stack", ""));
	ret->path = xstrdup(json_str(file, "source", ""));
	return 0;
}

static int check_version(const cJSON *file, const char *path, struct error *err)
{
	int64_t version = json_int(file, "banger_plan", 0);
	if (version == PLAN_FILE_VERSION)
		return 0;
	return error_set(err, ERROR_INVALID,
			 version ? "'%s' is a plan of version %d, this banger knows %d: make a new "
				   "one"
				 : "'%s' is not a plan of banger diff --out",
			 path, (int)version, PLAN_FILE_VERSION);
}

int plan_file_read(const char *path, struct sources *ret_sources, cJSON **ret_params,
		   cJSON **ret_reply, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	if (fs_read(AT_FDCWD, path, PLAN_FILE_MAX, &text, err) < 0) {
		err->code = ERROR_INVALID;
		return -1;
	}
	auto_json cJSON *file = json_parse(text.data ? text.data : "", text.len, err);
	if (!file) {
		error_wrap(err, "'%s'", path);
		err->code = ERROR_INVALID;
		return -1;
	}
	if (check_version(file, path, err) < 0 || read_documents(file, path, ret_sources, err) < 0)
		return -1;
	const cJSON *options = json_get(file, "options");
	const cJSON *plan = json_get(file, "plan");
	if (!cJSON_IsObject(options) || !cJSON_IsObject(plan))
		return error_set(err, ERROR_INVALID, "'%s' has no options or no plan", path);
	*ret_params = cJSON_Duplicate(options, true);
	*ret_reply = cJSON_CreateObject();
	cJSON_AddItemToObject(*ret_reply, "plan", cJSON_Duplicate(plan, true));
	return 0;
}

int plan_file_check(const struct sources *sources, struct error *err)
{
	for (size_t i = 0; i < sources->docs.count; i++) {
		const struct source_doc *doc = &sources->docs.at[i];
		auto_buf struct buf now = BUF_INIT;
		if (!strcmp(doc->path, "-"))
			continue;
		if (fs_read(AT_FDCWD, doc->path, SPEC_FILE_MAX, &now, err) < 0) {
			error_wrap(err, "the plan's source");
			err->code = ERROR_CONFLICT;
			return -1;
		}
		if (now.len != doc->len || memcmp(now.data, doc->text, doc->len) != 0)
			return error_set(err, ERROR_CONFLICT,
					 "'%s' has changed since the plan was saved: make a new "
					 "plan",
					 doc->path);
	}
	return 0;
}
