#include "plan/plan.h"
#include "plan/text.h"

#include <string.h>

static const struct {
	const char *name;
	char sign;
} kinds[ACTION_COUNT_] = {
#define X(name, wire, sign) [ACTION_##name] = { wire, sign },
	ACTION_KINDS(X)
#undef X
};

static const struct {
	const char *name;
	bool failure;
} reasons[EXIT_COUNT_] = {
#define X(name, wire, failure) [EXIT_##name] = { wire, failure },
	EXIT_REASONS(X)
#undef X
};

const char *action_kind_name(enum action_kind kind)
{
	return kind < ACTION_COUNT_ ? kinds[kind].name : "none";
}

char action_kind_sign(enum action_kind kind)
{
	return kind < ACTION_COUNT_ ? kinds[kind].sign : ' ';
}

const char *exit_reason_name(enum exit_reason reason)
{
	return reason < EXIT_COUNT_ ? reasons[reason].name : "unknown";
}

enum exit_reason exit_reason_parse(const char *name)
{
	for (unsigned i = 0; name && i < EXIT_COUNT_; i++)
		if (!strcmp(reasons[i].name, name))
			return (enum exit_reason)i;
	return EXIT_UNKNOWN;
}

bool exit_reason_is_failure(enum exit_reason reason)
{
	return reason >= EXIT_COUNT_ || reasons[reason].failure;
}

bool plan_restarts_after(enum restart_policy policy, enum exit_reason reason)
{
	if (policy == RESTART_NEVER)
		return false;
	return policy == RESTART_ALWAYS || exit_reason_is_failure(reason);
}

void vm_plan_clear(struct vm_plan *plan)
{
	field_changes_free(&plan->changes);
	vm_spec_free(plan->instead);
	*plan = (struct vm_plan){ 0 };
}

void plan_clear(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		vm_plan_clear(&plan->vms[i]);
	free(plan->vms);
	plan_text_free(plan->texts);
	*plan = (struct plan){ 0 };
}

bool plan_is_empty(const struct plan *plan)
{
	return !plan->to_create && !plan->to_change && !plan->to_delete && !plan->to_adopt &&
	       !plan->refused;
}

bool plan_is_disruptive(const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (plan->vms[i].disruptive)
			return true;
	return false;
}

bool plan_is_refused(const struct plan *plan)
{
	return plan->refused || plan->needs_adopt || plan->pending || *plan->guard;
}

/* FNV-1a. Each text ends with its NUL, so that "ab","c" and "a","bc" differ. */
static uint64_t digest_text(uint64_t digest, const char *text)
{
	const char *at = text ? text : "";
	do {
		digest ^= (unsigned char)*at;
		digest *= UINT64_C(0x100000001b3);
	} while (*at++);
	return digest;
}

static uint64_t digest_vm(uint64_t digest, const struct vm_plan *vm)
{
	digest = digest_text(digest, vm->name);
	digest = digest_text(digest, action_kind_name(vm->kind));
	digest = digest_text(digest, change_class_name(vm->worst));
	digest = digest_text(digest, vm->reason);
	digest = digest_text(digest, vm->summary);
	digest = digest_text(digest, vm->set);
	digest = digest_text(digest, vm->after);
	for (uint32_t left = vm->at_a_time; left; left >>= 8)
		digest = digest_text(digest, (const char[]){ (char)(left & 0xff), '\0' });
	digest = digest_text(digest, vm->disruptive ? "disruptive" : "");
	for (size_t i = 0; i < vm->changes.count; i++) {
		const struct field_change *change = &vm->changes.at[i];
		digest = digest_text(digest, change->key);
		digest = digest_text(digest, change->from);
		digest = digest_text(digest, change->to);
		digest = digest_text(digest, change_class_name(change->class));
		digest = digest_text(digest, change->pending ? "pending" : "");
	}
	return digest;
}

uint64_t plan_digest(const struct plan *plan)
{
	uint64_t digest = digest_text(UINT64_C(0xcbf29ce484222325), plan->stack);
	digest = digest_text(digest, plan->guard);
	digest = digest_text(digest, plan->needs_adopt ? "needs adopt" : "");
	for (size_t i = 0; i < plan->count; i++)
		if (plan->vms[i].kind != ACTION_NONE)
			digest = digest_vm(digest, &plan->vms[i]);
	return digest;
}
