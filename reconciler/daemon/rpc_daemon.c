/* The daemon about itself, watched directories, and the table of all handlers. */
#include "daemon/bangerd.h"
#include "base/log.h"

#include <string.h>

#ifndef BANGER_COMMIT
#define BANGER_COMMIT "unknown"
#endif

HANDLER(rpc_ping)
{
	(void)err;
	struct bangerd *d = request->d;
	int64_t running = 0;
	for (size_t i = 0; i < d->vm_count; i++)
		running += d->vms[i]->pid != 0;
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "version", BANGER_VERSION);
	json_add_str(*ret, "commit", BANGER_COMMIT);
	json_add_int(*ret, "pid", getpid());
	json_add_int(*ret, "started_ms", d->started_ms);
	json_add_int(*ret, "vms", (int64_t)d->vm_count);
	json_add_int(*ret, "running", running);
	return 0;
}

static void quit_later(void *data)
{
	struct bangerd *d = data;
	loop_quit(d->loop);
}

HANDLER(rpc_shutdown)
{
	(void)err;
	*ret = cJSON_CreateObject();
	if (json_bool(request->params, "vms", false)) {
		drain_begin(request->d);
		return 0;
	}
	log_info(NULL, "asked to end; virtual machines keep running");
	/* After the answer is out. */
	loop_post(request->d->loop, quit_later, request->d);
	return 0;
}

HANDLER(rpc_watch_add)
{
	auto_free char *stack = NULL;
	if (watch_add(request->d, json_str(request->params, "path", ""),
		      json_bool(request->params, "take_over", false), &stack, err) < 0)
		return -1;
	*ret = cJSON_CreateObject();
	json_add_str(*ret, "stack", stack);
	return 0;
}

HANDLER(rpc_watch_list)
{
	(void)err;
	*ret = cJSON_CreateObject();
	cJSON_AddItemToObject(*ret, "items", watch_list(request->d));
	return 0;
}

HANDLER(rpc_watch_remove)
{
	size_t vms;
	const struct actor by = conn_actor(request->conn);
	if (watch_remove(request->d, json_str(request->params, "path", ""), &by, &vms, err) < 0)
		return -1;
	*ret = cJSON_CreateObject();
	json_add_int(*ret, "vms", (int64_t)vms);
	return 0;
}

static const struct {
	const char *name;
	rpc_handler handler;
} handlers[] = {
	{ "ping", rpc_ping },
	{ "shutdown", rpc_shutdown },
	{ "doctor", rpc_doctor },
	{ "plan", rpc_plan },
	{ "apply", rpc_apply },
	{ "delete", rpc_delete },
	{ "vm.list", rpc_vm_list },
	{ "vm.show", rpc_vm_show },
	{ "vm.create", rpc_vm_create },
	{ "vm.set", rpc_vm_set },
	{ "vm.start", rpc_vm_start },
	{ "vm.stop", rpc_vm_stop },
	{ "vm.restart", rpc_vm_restart },
	{ "vm.kill", rpc_vm_kill },
	{ "vm.delete", rpc_vm_delete },
	{ "vm.prune", rpc_vm_prune },
	{ "vm.why", rpc_vm_why },
	{ "vm.logs", rpc_vm_logs },
	{ "vm.ssh", rpc_vm_ssh },
	{ "vm.exec", rpc_vm_exec },
	{ "vm.pidfd", rpc_vm_pidfd },
	{ "vm.stats", rpc_vm_stats },
	{ "vm.health", rpc_vm_health },
	{ "vm.ports", rpc_vm_ports },
	{ "vm.ping", rpc_vm_ping },
	{ "vm.lease", rpc_vm_lease },
	{ "workspace.begin", rpc_workspace_begin },
	{ "workspace.end", rpc_workspace_end },
	{ "op.list", rpc_op_list },
	{ "op.wait", rpc_op_wait },
	{ "image.list", rpc_image_list },
	{ "image.show", rpc_image_show },
	{ "image.pull", rpc_image_pull },
	{ "image.delete", rpc_image_delete },
	{ "watch.add", rpc_watch_add },
	{ "watch.list", rpc_watch_list },
	{ "watch.remove", rpc_watch_remove },
	{ "events", rpc_events },
	{ "history", rpc_history },
	{ "history.show", rpc_history_show },
	{ "history.specs", rpc_history_specs },
	{ "host.resources", rpc_host_resources },
	{ "host.gc", rpc_host_gc },
	{ "host.adopt", rpc_host_adopt },
};

/* They name things of the host that the machine's users may have no business with, or are about
 * the daemon itself. */
static const char *const for_root[] = { "shutdown", "watch.add", "watch.remove", "host.adopt" };

bool rpc_is_for_root(const char *method)
{
	for (size_t i = 0; i < ARRAY_COUNT(for_root); i++)
		if (!strcmp(for_root[i], method))
			return true;
	return false;
}

rpc_handler rpc_handler_find(const char *method)
{
	for (size_t i = 0; i < ARRAY_COUNT(handlers); i++)
		if (!strcmp(handlers[i].name, method))
			return handlers[i].handler;
	return NULL;
}
