#include "plan/order.h"

#include <string.h>

bool order_depends(const struct vm_spec *vm, const struct vm_spec *other)
{
	for (size_t i = 0; i < vm->depends_on.count; i++) {
		const char *name = vm->depends_on.at[i];
		if (!strcmp(name, other->name) || (*other->set && !strcmp(name, other->set)))
			return true;
	}
	return false;
}

enum order_verdict order_start(const struct order_vm *dependency)
{
	if (dependency->leaving)
		return ORDER_BLOCKED;
	if (dependency->up && dependency->ready)
		return dependency->changing ? ORDER_WAIT : ORDER_GO;
	return dependency->failed ? ORDER_BLOCKED : ORDER_WAIT;
}

enum order_verdict order_stop(const struct order_vm *dependent)
{
	bool on_its_way = dependent->up && dependent->leaving && !dependent->failed;
	return on_its_way ? ORDER_WAIT : ORDER_GO;
}
