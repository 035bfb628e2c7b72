/* daemon/sets.h - what waits for other VMs, and what a failed change returns to. */
#ifndef DAEMON_SETS_H
#define DAEMON_SETS_H

#include "daemon/bangerd.h"

/* --- order.c --- */
/* Whether the action has to wait for other VMs of its stack; says so in vm->waiting. */
enum gate order_gate(struct vm *vm, enum action_kind kind);
/* For a VM that no file speaks for: whom it depends on is there and does not wait for it. */
int order_check(struct bangerd *d, const char *stack, const struct vm_spec *spec,
		struct error *err);

/* --- roll.c --- */
void vm_compare(struct vm *vm); /* `want` or `applied` is another one */
bool roll_is_pending(const struct vm *vm);
/* Whether the action has to wait for other replicas of its set; says so in vm->waiting. */
enum gate roll_gate(struct vm *vm, enum action_kind kind);
void roll_begin(struct bangerd *d);

/* --- rollback.c --- */
/* The VM is about to be changed, and shall return to what was good if that fails. Not saved yet;
 * false: nothing to return to. */
bool rollback_note(struct vm *vm);
bool rollback_if_due(struct vm *vm);
void rollback_forget_if_done(struct vm *vm);
/* What is to be made of it is neither done nor on its way: it failed. */
bool change_has_failed(const struct vm *vm);
/* `applied` is about to be another one; the VM is ready with `applied`: true, to be saved. */
void good_unproven(struct vm *vm);
bool good_proven(struct vm *vm);

#endif
