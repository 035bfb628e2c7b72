/* plan/order.h - who starts after whom and who stops before whom (`depends_on`), decided purely.
 *
 * Two VMs of one stack at a time: an executor asks about each one that stands between a VM and what
 * shall be done to it. Independent VMs are never asked about, so they never wait. */
#ifndef PLAN_ORDER_H
#define PLAN_ORDER_H

#include "schema/vm_spec.h"

struct order_vm {
	bool up;       /* its hypervisor runs */
	bool ready;    /* and the guest is ready */
	bool changing; /* something that interrupts it is under way, about to be, or unjudged yet */
	bool leaving;  /* it is, or shall be, stopped or deleted */
	bool failed;   /* what was last tried failed, or it does not get ready in its time */
};

enum order_verdict {
	ORDER_GO,
	ORDER_WAIT,    /* it will come */
	ORDER_BLOCKED, /* it will not, until somebody does something about it */
};

/* Does `vm` name `other`, or the set it is a replica of? */
bool order_depends(const struct vm_spec *vm, const struct vm_spec *other);
/* May a VM be started, as far as this one is concerned, on which it depends? */
enum order_verdict order_start(const struct order_vm *dependency);
/* May a VM be stopped, as far as this one is concerned, that depends on it? Never ORDER_BLOCKED: a
 * stop that was asked for is done. */
enum order_verdict order_stop(const struct order_vm *dependent);

#endif
