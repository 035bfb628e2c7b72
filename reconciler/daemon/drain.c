/* The machine goes down, or banger is taken off it: every VM is shut down as by a hold that nobody
 * writes down, and then the daemon ends. So the next one starts them again. */
#include "daemon/bangerd.h"
#include "base/log.h"

void drain_begin(struct bangerd *d)
{
	if (d->draining)
		return;
	log_info(NULL, "asked to end with its virtual machines");
	d->draining = true;
	for (size_t i = 0; i < d->vm_count; i++) {
		struct vm *vm = d->vms[i];
		/* A start that is under way is given up at its next step. */
		if (vm->job && vm->job->kind != ACTION_STOP && vm->job->kind != ACTION_DELETE)
			atomic_store(&vm->job->cancel, true);
		vm_mark_now(vm);
	}
}

bool drain_is_over(const struct bangerd *d)
{
	/* Asked before each sleep: only then are all VMs looked at. */
	if (!d->draining)
		return false;
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i]->pid || d->vms[i]->job)
			return false;
	return true;
}
