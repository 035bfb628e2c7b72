/* What a plan was made from, in two numbers: the specs, and the host as the planner saw it. A plan
 * that was put aside is only carried out while both are what they were, even where another host or
 * other specs would lead to a plan of the same words. */
#include "daemon/bangerd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a; each text ends with its NUL. */
static void add(uint64_t *digest, const char *text)
{
	const char *at = text ? text : "\1"; /* none is not empty */
	do {
		*digest ^= (unsigned char)*at;
		*digest *= UINT64_C(0x100000001b3);
	} while (*at++);
}

static void add_number(uint64_t *digest, int64_t number)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRId64, number);
	add(digest, text);
}

static void add_spec(uint64_t *digest, const struct vm_spec *spec)
{
	auto_json cJSON *json = spec ? vm_spec_to_json_full(spec) : NULL;
	auto_free char *text = json ? json_print(json) : NULL;
	add(digest, text);
}

static void add_vm(uint64_t *digest, struct bangerd *d, const struct plan_member *member)
{
	const struct vm *vm = vm_find(d, member->name);
	add(digest, member->name);
	if (!vm)
		return;
	add(digest, vm->row.id);
	add(digest, vm->row.stack);
	add(digest, vm->row.spec);
	add(digest, vm->row.image_digest);
	add(digest, vm->row.exit_reason);
	add_number(digest, vm->row.revision);
	add_number(digest, vm->row.hold);
	add_number(digest, vm->row.deleting);
	add_number(digest, vm->row.expired_revision);
	add_number(digest, vm->pid != 0);
	add_spec(digest, member->have.have);
}

void plan_state(struct bangerd *d, const struct stack_plan *plan, const char *source,
		struct plan_state *ret)
{
	uint64_t host = UINT64_C(0xcbf29ce484222325), specs = host;
	add(&specs, source);
	for (size_t i = 0; i < plan->count; i++) {
		add_vm(&host, d, &plan->members[i]);
		add(&specs, plan->members[i].name);
		add_spec(&specs, plan->members[i].want);
	}
	snprintf(ret->host, sizeof(ret->host), "%016" PRIx64, host);
	snprintf(ret->specs, sizeof(ret->specs), "%016" PRIx64, specs);
}

int plan_state_check(const struct plan_state *now, const cJSON *params, struct error *err)
{
	const char *host = json_str(params, "host", NULL);
	const char *specs = json_str(params, "specs", NULL);
	if (specs && strcmp(specs, now->specs) != 0)
		return error_set(err, ERROR_CONFLICT,
				 "what the files mean has moved since the plan was saved (a key "
				 "file, an image's defaults): make a new plan");
	if (host && strcmp(host, now->host) != 0)
		return error_set(err, ERROR_CONFLICT,
				 "the host has moved since the plan was saved: make a new plan");
	return 0;
}
