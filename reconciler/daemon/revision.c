/* What was wanted, revision by revision: every change of it is written down with the change. */
#include "daemon/bangerd.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEPT	     1000
#define KEPT_BYTES   (INT64_C(16) << 20)
#define SETTLE_EVERY 64 /* and every minute */
#define NAMES_MAX    6

struct actor own_actor(const struct bangerd *d, const char *who)
{
	(void)d;
	return (struct actor){ .uid = getuid(), .who = who };
}

void changes_text(const struct bangerd *d, const struct vm_spec *have, const struct vm_spec *want,
		  struct buf *ret)
{
	struct capabilities can = vm_capabilities(d);
	struct field_change_vec changes = { 0 };
	if (have && want)
		vm_spec_diff(have, want, &can, &changes);
	for (size_t i = 0; i < changes.count; i++)
		buf_addf(ret, "%s%s %s -> %s", i ? ", " : "", changes.at[i].key, changes.at[i].from,
			 changes.at[i].to);
	field_changes_free(&changes);
}

/* --- gathering --- */

static void summarize_one(struct revision *revision, const struct bangerd *d, const struct vm *vm,
			  const struct vm_spec *want, bool was)
{
	auto_buf struct buf text = BUF_INIT;
	if (!was)
		buf_addf(&text, "%s created", want->name);
	else if (!want)
		buf_addf(&text, "%s deleted", vm->row.name);
	else if (vm_spec_equal(vm->want, want))
		buf_addf(&text, "%s changes hands", want->name);
	else
		buf_addf(&text, "%s: ", want->name);
	if (was && want && !vm_spec_equal(vm->want, want))
		changes_text(d, vm->want, want, &text);
	snprintf(revision->summary, sizeof(revision->summary), "%s", text.data);
}

void revision_add(struct revision *revision, const struct bangerd *d, const struct vm *vm,
		  const struct vm_spec *want, const char *stack)
{
	bool was = vm && !vm->row.deleting;
	if (!was && !want)
		return;
	if (was && want && !strcmp(vm->row.stack, stack) && vm_spec_equal(vm->want, want))
		return;
	store_change_vec_push(&revision->changes,
			      (struct store_change){
				      .name = xstrdup(want ? want->name : vm->row.name),
				      .stack_before = was ? xstrdup(vm->row.stack) : NULL,
				      .spec_before = was ? xstrdup(vm->row.spec) : NULL,
				      .stack_after = want ? xstrdup(stack) : NULL,
				      .spec_after = want ? spec_to_text(want, want->file) : NULL });
	revision->created += !was;
	revision->deleted += !want;
	revision->changed += was && want;
	if (revision->changes.count == 1)
		summarize_one(revision, d, vm, want, was);
}

static void add_part(struct buf *text, size_t count, const char *what)
{
	if (count)
		buf_addf(text, "%s%zu %s", text->len ? ", " : "", count, what);
}

static void summarize(struct revision *revision)
{
	auto_buf struct buf text = BUF_INIT;
	size_t count = revision->changes.count;
	if (count == 1)
		return; /* said in full */
	add_part(&text, revision->created, "created");
	add_part(&text, revision->changed, "changed");
	add_part(&text, revision->deleted, "deleted");
	for (size_t i = 0; i < count && i < NAMES_MAX; i++)
		buf_addf(&text, "%s%s", i ? ", " : ": ", revision->changes.at[i].name);
	if (count > NAMES_MAX)
		buf_add(&text, ", ...");
	snprintf(revision->summary, sizeof(revision->summary), "%s", text.data);
}

/* --- writing --- */

static void settle(void *data)
{
	revisions_settle(data);
}

int revision_write(struct bangerd *d, struct revision *revision, struct error *err)
{
	if (!revision->changes.count)
		return 0;
	summarize(revision);
	auto_free char *back = revision->back_to ? xasprintf("back to %" PRId64 ": %s",
							     revision->back_to, revision->summary)
						 : NULL;
	/* The store reads these and keeps none. */
	const struct store_revision head = {
		.at_ms = clock_wall_ms(),
		.uid = revision->by.uid,
		.who = (char *)(uintptr_t)revision->by.who,
		.stack = (char *)(uintptr_t)revision->stack,
		.source = (char *)(uintptr_t)revision->source,
		.kind = (char *)(uintptr_t)revision->kind,
		.summary = back ? back : revision->summary,
	};
	if (store_revision_add(d->store, &head, &revision->changes, &revision->rev, err) < 0)
		return -1;
	if (revision->rev % SETTLE_EVERY == 0)
		loop_post(d->loop, settle, d);
	return 0;
}

int revision_save(struct vm *vm, struct revision *revision, struct error *err)
{
	struct bangerd *d = vm->d;
	if (!revision->changes.count)
		return vm_save(vm, err);
	if (store_begin(d->store, err) < 0)
		return -1;
	if (vm_save(vm, err) == 0 && revision_write(d, revision, err) == 0)
		return store_commit(d->store, err);
	store_rollback(d->store);
	return -1;
}

void revision_clear(struct revision *revision)
{
	store_changes_clear(&revision->changes);
	*revision = (struct revision){ 0 };
}

void revisions_settle(struct bangerd *d)
{
	struct error err = { 0 };
	if (store_history_trim(d->store, KEPT, KEPT_BYTES, &err) < 0)
		log_error(NULL, "cannot drop old revisions: %s", err.text);
}
