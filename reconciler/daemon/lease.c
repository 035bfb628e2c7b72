/* What lasts as long as a connection.
 *
 * An ephemeral VM ends with the client that made it, however that one ends: the kernel closes its
 * socket. The daemon's own end is not the client's: the row says "ephemeral", the next daemon waits
 * a while for the client to say vm.lease again, then deletes what nobody claimed.
 *
 * The lease of a workspace only orders clients. Nothing of the VM's life waits for it. */
#include "daemon/bangerd.h"
#include "base/log.h"

#include <string.h>

#define GRACE_MS 15000

struct lease {
	struct lease *next;
	enum lease_kind kind;
	char vm[VM_ID_LEN + 1];
	const struct conn *conn;
};

static struct lease **find(const struct vm *vm, enum lease_kind kind)
{
	struct lease **at = &vm->d->leases;
	while (*at && ((*at)->kind != kind || strcmp((*at)->vm, vm->row.id) != 0))
		at = &(*at)->next;
	return at;
}

pid_t lease_holder(const struct vm *vm, enum lease_kind kind, const struct conn **ret_conn)
{
	const struct lease *lease = *find(vm, kind);
	*ret_conn = lease ? lease->conn : NULL;
	return lease ? conn_peer(lease->conn) : 0;
}

void lease_take(struct vm *vm, enum lease_kind kind, struct conn *conn)
{
	struct lease **at = find(vm, kind);
	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->kind = kind;
		str_copy((*at)->vm, sizeof((*at)->vm), vm->row.id);
	}
	(*at)->conn = conn;
}

void lease_give(struct vm *vm, enum lease_kind kind)
{
	struct lease **at = find(vm, kind), *lease = *at;
	if (lease)
		*at = lease->next;
	free(lease);
}

/* Who made it part of something lasting meanwhile keeps it. */
static void end_life(struct vm *vm)
{
	struct error err = { 0 };
	if (vm->row.deleting || !vm->row.ephemeral)
		return;
	if (vm->row.stack[0] || vm->want->protect) {
		log_info(vm->row.name, "its client is gone, but it is %s now and stays",
			 vm->want->protect ? "protected" : "of a stack");
		vm->row.ephemeral = false;
	} else {
		log_info(vm->row.name, "its client is gone, deleting it");
		vm->row.deleting = true;
	}
	if (vm_save(vm, &err) < 0)
		log_error(vm->row.name, "%s", err.text);
	vm_mark_now(vm);
}

void leases_end(struct bangerd *d, const struct conn *conn)
{
	for (struct lease **at = &d->leases; *at;) {
		struct lease *lease = *at;
		if (lease->conn != conn) {
			at = &lease->next;
			continue;
		}
		*at = lease->next;
		struct vm *vm = lease->kind == LEASE_LIFE ? vm_find_id(d, lease->vm) : NULL;
		free(lease);
		if (vm)
			end_life(vm);
	}
}

static void grace_over(void *data)
{
	struct bangerd *d = data;
	const struct conn *conn;
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i]->row.ephemeral && !lease_holder(d->vms[i], LEASE_LIFE, &conn))
			end_life(d->vms[i]);
}

void leases_resume(struct bangerd *d)
{
	bool any = false;
	for (size_t i = 0; i < d->vm_count; i++)
		any |= d->vms[i]->row.ephemeral;
	if (!any)
		return;
	d->lease_grace = loop_timer_new(d->loop, grace_over, d);
	loop_timer_set(d->lease_grace, GRACE_MS);
}

void leases_free(struct bangerd *d)
{
	while (d->leases) {
		struct lease *next = d->leases->next;
		free(d->leases);
		d->leases = next;
	}
	if (d->lease_grace)
		loop_timer_free(d->lease_grace);
	d->lease_grace = NULL;
}

HANDLER(rpc_vm_lease)
{
	const struct conn *holder;
	struct vm *vm = vm_named_whole(request->d, json_str(request->params, "name", ""), err);
	if (!vm)
		return -1;
	if (!vm->row.ephemeral)
		return error_set(err, ERROR_CONFLICT, "vm '%s' is not an ephemeral one",
				 vm->row.name);
	pid_t pid = lease_holder(vm, LEASE_LIFE, &holder);
	if (holder && holder != request->conn)
		return error_set(err, ERROR_BUSY, "vm '%s' lives by process %d", vm->row.name,
				 (int)pid);
	lease_take(vm, LEASE_LIFE, request->conn);
	*ret = cJSON_CreateObject();
	return 0;
}
