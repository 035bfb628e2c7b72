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

static const struct method {
	const char *name;
	rpc_handler handler;
	/* FOR_ROOT: it names things of the host that the machine's users may have no business
	 * with, or is about the daemon itself. */
	enum { FOR_MEMBERS, FOR_ROOT } whom;
} handlers[] = {
	{ "ping", rpc_ping, FOR_MEMBERS },
	{ "shutdown", rpc_shutdown, FOR_ROOT },
	{ "doctor", rpc_doctor, FOR_MEMBERS },
	{ "plan", rpc_plan, FOR_MEMBERS },
	{ "apply", rpc_apply, FOR_MEMBERS },
	{ "delete", rpc_delete, FOR_MEMBERS },
	{ "vm.list", rpc_vm_list, FOR_MEMBERS },
	{ "vm.show", rpc_vm_show, FOR_MEMBERS },
	{ "vm.create", rpc_vm_create, FOR_MEMBERS },
	{ "vm.set", rpc_vm_set, FOR_MEMBERS },
	{ "vm.start", rpc_vm_start, FOR_MEMBERS },
	{ "vm.stop", rpc_vm_stop, FOR_MEMBERS },
	{ "vm.restart", rpc_vm_restart, FOR_MEMBERS },
	{ "vm.kill", rpc_vm_kill, FOR_MEMBERS },
	{ "vm.delete", rpc_vm_delete, FOR_MEMBERS },
	{ "vm.prune", rpc_vm_prune, FOR_MEMBERS },
	{ "vm.why", rpc_vm_why, FOR_MEMBERS },
	{ "vm.logs", rpc_vm_logs, FOR_MEMBERS },
	{ "vm.ssh", rpc_vm_ssh, FOR_MEMBERS },
	{ "vm.exec", rpc_vm_exec, FOR_MEMBERS },
	{ "vm.pidfd", rpc_vm_pidfd, FOR_MEMBERS },
	{ "vm.stats", rpc_vm_stats, FOR_MEMBERS },
	{ "vm.health", rpc_vm_health, FOR_MEMBERS },
	{ "vm.ports", rpc_vm_ports, FOR_MEMBERS },
	{ "vm.ping", rpc_vm_ping, FOR_MEMBERS },
	{ "vm.lease", rpc_vm_lease, FOR_MEMBERS },
	{ "workspace.begin", rpc_workspace_begin, FOR_MEMBERS },
	{ "workspace.end", rpc_workspace_end, FOR_MEMBERS },
	{ "op.list", rpc_op_list, FOR_MEMBERS },
	{ "op.wait", rpc_op_wait, FOR_MEMBERS },
	{ "image.list", rpc_image_list, FOR_MEMBERS },
	{ "image.show", rpc_image_show, FOR_MEMBERS },
	{ "image.pull", rpc_image_pull, FOR_MEMBERS },
	{ "image.delete", rpc_image_delete, FOR_MEMBERS },
	{ "watch.add", rpc_watch_add, FOR_ROOT },
	{ "watch.list", rpc_watch_list, FOR_MEMBERS },
	{ "watch.remove", rpc_watch_remove, FOR_ROOT },
	{ "events", rpc_events, FOR_MEMBERS },
	{ "history", rpc_history, FOR_MEMBERS },
	{ "history.show", rpc_history_show, FOR_MEMBERS },
	{ "history.specs", rpc_history_specs, FOR_MEMBERS },
	{ "host.resources", rpc_host_resources, FOR_MEMBERS },
	{ "host.gc", rpc_host_gc, FOR_MEMBERS },
	{ "host.adopt", rpc_host_adopt, FOR_ROOT },
};

static const struct method *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(handlers); i++)
		if (!strcmp(handlers[i].name, name))
			return &handlers[i];
	return NULL;
}

bool rpc_is_for_root(const char *method)
{
	const struct method *found = find(method);
	return found && found->whom == FOR_ROOT;
}

rpc_handler rpc_handler_find(const char *method)
{
	const struct method *found = find(method);
	return found ? found->handler : NULL;
}
