#include "plan/plan.h"
#include "base/buf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_WIDTH_MIN 14
#define ACTION_WIDTH   8

/* Values come from files and images: nothing in them may drive the terminal. */
static void add_clean(struct buf *out, const char *text)
{
	for (const char *at = text ? text : ""; *at; at++) {
		unsigned char c = (unsigned char)*at;
		buf_add_char(out, c < 0x20 || c == 0x7f ? '?' : *at);
	}
}

static void add_padded(struct buf *out, const char *text, size_t width)
{
	size_t len = strlen(text);
	add_clean(out, text);
	for (; len < width; len++)
		buf_add_char(out, ' ');
}

static const char *colour_of(char sign)
{
	switch (sign) {
	case '+':
		return "\033[32m";
	case '~':
		return "\033[33m";
	case '-':
		return "\033[31m";
	case '!':
		return "\033[1;31m";
	default:
		return "\033[2m";
	}
}

static void add_details(struct buf *out, const struct vm_plan *vm)
{
	const char *gap = " ";
	if (*vm->summary && vm->kind == ACTION_CREATE) {
		buf_add(out, gap);
		add_clean(out, vm->summary);
		gap = "  ";
	}
	if (*vm->reason) {
		buf_add(out, gap);
		add_clean(out, vm->reason);
		gap = "  ";
	}
	for (size_t i = 0; i < vm->changes.count; i++) {
		const struct field_change *change = &vm->changes.at[i];
		buf_add(out, gap);
		add_clean(out, change->key);
		buf_add_char(out, ' ');
		add_clean(out, change->from);
		buf_add(out, " -> ");
		add_clean(out, change->to);
		buf_addf(out, " (%s%s)", change_class_name(change->class),
			 change->pending ? ", pending" : "");
		gap = "  ";
	}
	/* A promise in tenths of a second would not be kept. */
	if (vm->downtime_ms)
		buf_addf(out, "%sabout %" PRIu64 " s down", gap, (vm->downtime_ms + 999) / 1000);
	if (*vm->after) {
		buf_addf(out, "%s(after ", gap);
		add_clean(out, vm->after);
		buf_add_char(out, ')');
	}
}

/* "Rolling: worker-1 ... worker-6, at most 2 at a time, ..." for every set of which several go. */
static void add_rolls(struct buf *out, const struct plan *plan)
{
	for (size_t i = 0, end; i < plan->count; i = end) {
		const struct vm_plan *first = &plan->vms[i], *last = first;
		size_t members = 0;
		for (end = i; end < plan->count; end++) {
			const struct vm_plan *vm = &plan->vms[end];
			if (vm->at_a_time && strcmp(vm->set, first->set) != 0)
				break;
			members += vm->at_a_time != 0;
			last = vm->at_a_time ? vm : last;
		}
		if (!first->at_a_time) {
			end = i + 1;
			continue;
		}
		if (members < 2)
			continue;
		buf_add(out, "Rolling: ");
		add_clean(out, first->name);
		buf_add(out, members == 2 ? ", " : " ... ");
		add_clean(out, last->name);
		buf_addf(out, ", the first alone, then %u at a time, each ready before the next.\n",
			 first->at_a_time);
	}
}

static void add_vm(struct buf *out, const struct vm_plan *vm, size_t width, bool colour)
{
	char sign = action_kind_sign(vm->kind);
	const char *action = action_kind_name(vm->kind);
	bool details = *vm->summary || *vm->reason || vm->changes.count || vm->downtime_ms;
	if (colour)
		buf_add(out, colour_of(sign));
	buf_addf(out, "  %c ", sign);
	add_padded(out, vm->name, width);
	buf_add_char(out, ' ');
	add_padded(out, action, details ? ACTION_WIDTH : 0);
	add_details(out, vm);
	if (colour)
		buf_add(out, "\033[0m");
	buf_add_char(out, '\n');
}

static void add_part(struct buf *out, const char **gap, size_t count, const char *what)
{
	if (!count)
		return;
	buf_addf(out, "%s%zu %s", *gap, count, what);
	*gap = ", ";
}

static void add_summary(struct buf *out, const struct plan *plan)
{
	bool empty = plan_is_empty(plan);
	const char *gap = " ";
	/* The four that everybody looks for are always there, in the same places. */
	if (empty)
		buf_add(out, "Nothing to do:");
	else
		buf_addf(out, "Plan: %zu to create, %zu to change", plan->to_create,
			 plan->to_change);
	if (plan->to_restart || plan->to_reimage) {
		const char *inner = " (";
		add_part(out, &inner, plan->to_restart, "restart");
		add_part(out, &inner, plan->to_reimage, "reimage");
		buf_add_char(out, ')');
	}
	if (!empty) {
		buf_addf(out, ", %zu to delete", plan->to_delete);
		gap = ", ";
	}
	add_part(out, &gap, plan->to_adopt, "to adopt");
	add_part(out, &gap, plan->refused, "refused");
	add_part(out, &gap, plan->waiting, "waiting");
	add_part(out, &gap, plan->kept, "kept");
	add_part(out, &gap, plan->pending, "pending a restart");
	buf_addf(out, "%s%zu unchanged.\n", gap, plan->unchanged);
	if (*plan->guard) {
		buf_add(out, "Guard: ");
		add_clean(out, plan->guard);
		buf_add(out, "\n");
	}
	if (plan->needs_adopt)
		buf_add(out, "VMs that no stack owns join this one only with --adopt.\n");
}

char *plan_format(const struct plan *plan, bool colour)
{
	auto_buf struct buf out = BUF_INIT;
	size_t width = NAME_WIDTH_MIN;
	for (size_t i = 0; i < plan->count; i++) {
		size_t len = strlen(plan->vms[i].name);
		if (plan->vms[i].kind != ACTION_NONE && len > width)
			width = len;
	}
	for (const char *sign = "+~-! "; *sign; sign++)
		for (size_t i = 0; i < plan->count; i++)
			if (plan->vms[i].kind != ACTION_NONE &&
			    action_kind_sign(plan->vms[i].kind) == *sign)
				add_vm(&out, &plan->vms[i], width, colour);
	add_rolls(&out, plan);
	add_summary(&out, plan);
	return buf_take(&out);
}
