#include "cli/planned.h"
#include "cli/conn.h"

#include <string.h>

void planned_clear(struct planned *planned)
{
	plan_clear(&planned->plan);
	cJSON_Delete(planned->json);
	free(planned->note);
	*planned = (struct planned){ 0 };
}

/* --- faults --- */

static void print_fault(struct cli *cli, const struct fault *fault)
{
	auto_free char *text = fault_format(fault);
	cli_complain(cli, "%s", text);
}

void faults_print(struct cli *cli, const struct fault_vec *faults)
{
	for (size_t i = 0; i < faults->count; i++)
		print_fault(cli, &faults->at[i]);
}

void faults_print_json(struct cli *cli, const struct sources *sources, const cJSON *faults)
{
	const cJSON *item;
	cJSON_ArrayForEach(item, faults)
	{
		const char *file = json_str(item, "file", "");
		auto_free char *shown = xstrdup(sources ? sources_shown(sources, file) : file);
		auto_free char *path = xstrdup(json_str(item, "path", ""));
		auto_free char *text = xstrdup(json_str(item, "text", ""));
		const struct fault fault = {
			.file = shown,
			.line = (int)json_int(item, "line", 0),
			.column = (int)json_int(item, "column", 0),
			.path = path,
			.text = text,
		};
		print_fault(cli, &fault);
	}
}

cJSON *faults_to_json(const struct fault_vec *faults)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < faults->count; i++) {
		const struct fault *fault = &faults->at[i];
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "file", fault->file);
		json_add_int(item, "line", fault->line);
		json_add_int(item, "column", fault->column);
		json_add_str(item, "path", fault->path);
		json_add_str(item, "text", fault->text);
		cJSON_AddItemToArray(list, item);
	}
	return list;
}

static int refuse_faults(struct cli *cli, const struct sources *sources, const cJSON *faults,
			 struct error *err)
{
	if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML) {
		auto_json cJSON *out = cJSON_CreateObject();
		cJSON_AddItemToObject(out, "faults", cJSON_Duplicate(faults, true));
		cli_print_structured(cli, out);
	} else {
		faults_print_json(cli, sources, faults);
	}
	return error_set(err, ERROR_INVALID, "%s", "");
}

/* --- plans --- */

int planned_take(cJSON *reply, struct planned *ret, struct error *err)
{
	auto_json cJSON *json = cJSON_DetachItemFromObject(reply, "plan");
	struct plan plan;
	if (!json || plan_from_json(json, &plan, err) < 0)
		return json ? error_wrap(err, "bangerd sent a plan that cannot be read")
			    : error_set(err, ERROR_SYSTEM, "bangerd sent no plan");
	*ret = (struct planned){ .json = take_ptr(&json), .plan = plan };
	ret->digest = json_str(ret->json, "digest", "");
	return 0;
}

/* Moves the entries of a further page into the plan. */
static int add_page(struct planned *planned, cJSON *page, struct error *err)
{
	cJSON *from = cJSON_GetObjectItemCaseSensitive(page, "vms");
	cJSON *to = cJSON_GetObjectItemCaseSensitive(planned->json, "vms");
	const char *digest = json_str(planned->json, "digest", "");
	if (!page || strcmp(json_str(page, "digest", ""), digest) != 0)
		return error_set(err, ERROR_CONFLICT,
				 "the plan changed while it was read, try again");
	if (!cJSON_IsArray(from) || !from->child || !cJSON_IsArray(to))
		return error_set(err, ERROR_SYSTEM, "bangerd sent an empty page of a plan");
	for (cJSON *vm; (vm = cJSON_DetachItemFromArray(from, 0));) {
		cJSON_AddItemToArray(to, vm);
		if (plan_add_json(&planned->plan, vm, err) < 0)
			return -1;
	}
	return 0;
}

static int fetch_page(struct cli *cli, const struct sources *sources, const cJSON *params, int fd,
		      int64_t offset, cJSON **ret, struct error *err)
{
	auto_json cJSON *ask = cJSON_Duplicate(params, true);
	auto_json cJSON *reply = NULL;
	if (offset)
		json_add_int(ask, "offset", offset);
	/* The descriptor's position is shared with whoever read it last. */
	lseek(fd, 0, SEEK_SET);
	if (conn_call_fd(cli, "plan", ask, fd, &reply, err) < 0)
		return -1;
	const cJSON *faults = json_get(reply, "faults");
	if (cJSON_GetArraySize(faults) > 0)
		return refuse_faults(cli, sources, faults, err);
	*ret = take_ptr(&reply);
	return 0;
}

int planned_fetch(struct cli *cli, const struct sources *sources, const cJSON *params, int fd,
		  struct planned *ret, struct error *err)
{
	auto_json cJSON *reply = NULL;
	struct planned planned __attribute__((cleanup(planned_clear))) = { 0 };
	if (fetch_page(cli, sources, params, fd, 0, &reply, err) < 0 ||
	    planned_take(reply, &planned, err) < 0)
		return -1;
	planned.note = xstrdup(json_str(reply, "note", NULL));
	int64_t next = json_int(planned.json, "next", 0);
	while (next > 0) {
		auto_json cJSON *more = NULL;
		if (fetch_page(cli, sources, params, fd, next, &more, err) < 0)
			return -1;
		cJSON *page = cJSON_GetObjectItemCaseSensitive(more, "plan");
		if (add_page(&planned, page, err) < 0)
			return -1;
		int64_t after = json_int(page, "next", 0);
		if (after && after <= next)
			return error_set(err, ERROR_SYSTEM, "bangerd sent a plan without an end");
		next = after;
	}
	cJSON_DeleteItemFromObject(planned.json, "next");
	*ret = planned;
	planned = (struct planned){ 0 };
	return 0;
}

void planned_print(struct cli *cli, const struct planned *planned)
{
	if (cli_print_structured(cli, planned->json))
		return;
	if (cli->output == OUTPUT_NAME || cli->quiet) {
		for (size_t i = 0; i < planned->plan.count; i++)
			cli_say(cli, "%s\n", planned->plan.vms[i].name);
		return;
	}
	auto_free char *text = plan_format(&planned->plan, cli->colour);
	cli_say(cli, "%s", text);
	fflush(cli->io.out);
}

enum action_kind planned_kind(const struct planned *planned, const char *name)
{
	size_t low = 0, high = planned->plan.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, planned->plan.vms[middle].name);
		if (!order)
			return planned->plan.vms[middle].kind;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return ACTION_NONE;
}
