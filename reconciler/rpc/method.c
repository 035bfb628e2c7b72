/* The methods, as METHODS.md has them: a unit test compares the names. */
#include "base/vec.h"
#include "rpc/rpc.h"

#include <string.h>

#define OPTIONS "[prune], [prune_all], [adopt], [take_over], [allow_data_loss], [update_images]"

const struct rpc_method rpc_methods[] = {
	{ "ping", "", "who answers, and how many VMs it has" },
	{ "shutdown", "[vms]", "end the daemon; VMs go on, or are stopped first" },
	{ "plan", "source or rollback, " OPTIONS ", [delete], [offset], [state], [meant]",
	  "what apply would do" },
	{ "apply", "source or rollback, " OPTIONS ", [digest], yes", "make it so" },
	{ "delete", "source, [digest], yes", "delete the VMs of a source" },
	{ "vm.list", "[offset], [names]", "VMs and their state" },
	{ "vm.show", "name", "one VM: state, what is wanted, what was applied" },
	{ "vm.create", "name, [set], [start], [ephemeral]", "a VM without a file" },
	{ "vm.set", "name, set, [restart], [allow_data_loss], [dry_run]", "change fields of a VM" },
	{ "vm.start", "names", "start" },
	{ "vm.stop", "names", "shut down and hold" },
	{ "vm.restart", "names", "shut down and start" },
	{ "vm.kill", "names, [signal]", "signal the hypervisor" },
	{ "vm.delete", "names", "delete with disks" },
	{ "vm.prune", "", "delete every unowned VM that is not running" },
	{ "vm.why", "name, [all]", "what keeps it from being as it is wanted" },
	{ "vm.logs", "name, [tail], [offset]", "console text" },
	{ "vm.ssh", "name", "what ssh needs to get in" },
	{ "vm.exec", "name", "a connection to the channel for commands without ssh" },
	{ "vm.pidfd", "name, run", "what shows the end of a run of it" },
	{ "vm.stats", "names", "memory, load, disks of guests" },
	{ "vm.health", "names", "whether guests are well, and what is wrong" },
	{ "vm.ports", "names", "what listens in guests" },
	{ "vm.ping", "names", "do their agents answer" },
	{ "vm.lease", "name", "an ephemeral VM lives as long as this connection" },
	{ "workspace.begin", "name", "work on a guest's workspace, one at a time" },
	{ "workspace.end", "name, [workspace]", "done; what is there now" },
	{ "op.list", "[offset]", "operations, running and recent" },
	{ "op.wait", "id or ids, seen, timeout_ms", "wait until an operation moves on" },
	{ "image.list", "", "images here and in the catalog" },
	{ "image.show", "name", "one image" },
	{ "image.pull", "name, [force]", "fetch an image" },
	{ "image.delete", "name", "delete an unused image" },
	{ "watch.add", "path, [take_over]", "keep a directory applied" },
	{ "watch.list", "", "watched directories and their faults" },
	{ "watch.remove", "path", "stop watching; VMs stay, unowned" },
	{ "events", "[offset], [since_ms], [name], [tail], [timeout_ms]", "what happened" },
	{ "history", "[below], [name]", "revisions of what is wanted, newest first" },
	{ "history.show", "rev, [after]", "what a revision changed" },
	{ "history.specs", "rev, [offset]", "what was wanted at a revision" },
	{ "host.resources", "[offset], [orphans]", "all that is banger's on this host, and whose" },
	{ "host.adopt", "pid or socket, [image], [take], [name]",
	  "a hypervisor that somebody else started" },
	{ "host.gc", "[dry_run], [digest]", "remove orphans" },
	{ "doctor", "[fix]", "check this host" },
};
const size_t rpc_method_count = ARRAY_COUNT(rpc_methods);

const struct rpc_method *rpc_method_find(const char *name)
{
	for (size_t i = 0; i < rpc_method_count; i++)
		if (!strcmp(rpc_methods[i].name, name))
			return &rpc_methods[i];
	return NULL;
}
