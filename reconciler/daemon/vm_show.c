/* A VM as people see it. */
#include "daemon/bangerd.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

static const char *job_phase(const struct vm *vm)
{
	switch (vm->job->kind) {
	case ACTION_CREATE:
		return "creating";
	case ACTION_DELETE:
		return "deleting";
	case ACTION_STOP:
		return "stopping";
	case ACTION_LIVE:
		return vm->pid ? (vm->ready ? "ready" : "running") : "stopped";
	default:
		return vm->pid ? "stopping" : "starting";
	}
}

const char *vm_phase_name(const struct vm *vm)
{
	if (vm->row.deleting)
		return "deleting";
	if (vm->job)
		return job_phase(vm);
	if (vm->pid)
		return vm->ready ? "ready" : "running";
	if (vm->row.expired_revision == vm->row.revision)
		return "expired";
	if (vm->row.hold || vm->want->state == STATE_STOPPED)
		return "stopped";
	if (vm->failure)
		return "failed";
	if (vm->row.exit_reason && vm->row.exit_revision == vm->row.revision &&
	    !plan_restarts_after(vm->want->restart, exit_reason_parse(vm->row.exit_reason)))
		return "exited";
	return "pending";
}

void vm_fill_reason(const struct vm *vm, char *reason, size_t size)
{
	reason[0] = '\0';
	if (vm->job) {
		char stage[32], detail[128];
		job_progress(vm->job, stage, detail);
		snprintf(reason, size, "%s%s%s", stage, detail[0] ? ": " : "", detail);
	} else if (vm->paused) {
		snprintf(reason, size,
			 "paused: the host's disk is full, it goes on when there is space");
	} else if (vm->failure) {
		snprintf(reason, size, "%s%s", vm_failure_text(vm),
			 vm->retry && loop_timer_is_set(vm->retry) ? " (will be tried again)" : "");
	} else if (vm->waiting[0]) {
		snprintf(reason, size, "%s", vm->waiting);
	} else if (vm->pid && !vm->ready && !vm->note[0]) {
		const struct agent_state *state = vm->feed ? agent_feed_state(vm->feed) : NULL;
		snprintf(reason, size, "booting%s%s", state && state->phase[0] ? ": " : "",
			 state ? state->phase : "");
	} else {
		snprintf(reason, size, "%s", vm->note);
	}
}

static void add_ports(cJSON *json, const struct port_list *ports)
{
	cJSON *list = cJSON_AddArrayToObject(json, "ports");
	for (size_t i = 0; i < ports->count; i++) {
		const struct port_spec *port = &ports->at[i];
		auto_free char *text = xasprintf(
			"%s%s%u:%u%s", strcmp(port->address, "127.0.0.1") ? port->address : "",
			strcmp(port->address, "127.0.0.1") ? ":" : "", port->host, port->guest,
			port->proto == PORT_UDP ? "/udp" : "");
		cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
}

static void add_process(cJSON *json, const struct vm *vm)
{
	json_add_int(json, "pid", vm->pid);
	json_add_int(json, "started_ms", vm->started_ms);
	json_add_int(json, "boot_ms", (int64_t)vm->boot_ms);
	json_add_str(json, "hypervisor",
		     (vm->pid ? vm->hv : hv_driver_for(vm->want->hypervisor))->name);
	json_add_str(json, "accel", !vm->pid ? NULL : vm->accel == ACCEL_KVM ? "kvm" : "tcg");
	const struct agent_state *state = vm->feed ? agent_feed_state(vm->feed) : NULL;
	json_add_str(json, "boot_id",
		     vm->pid && state && state->boot_id[0] ? state->boot_id : NULL);
}

/* When the guest's kernel, init, network, … were up, since its kernel started. */
static void add_boot(cJSON *json, const struct vm *vm)
{
	const struct agent_state *state = vm->pid && vm->feed ? agent_feed_state(vm->feed) : NULL;
	cJSON *boot = cJSON_AddObjectToObject(json, "boot");
	for (size_t i = 0; state && i < AGENT_PHASES; i++)
		if (state->phase_ms[i])
			json_add_int(boot, agent_phase_names[i], (int64_t)state->phase_ms[i]);
}

cJSON *vm_to_json(const struct vm *vm)
{
	static const char *const holds[] = { NULL, "stop", "kill" };
	char reason[600];
	cJSON *json = cJSON_CreateObject();
	json_add_str(json, "name", vm->row.name);
	json_add_str(json, "id", vm->row.id);
	json_add_str(json, "stack", vm->row.stack[0] ? vm->row.stack : NULL);
	json_add_str(json, "file", vm->file);
	json_add_str(json, "state", vm_phase_name(vm));
	json_add_bool(json, "ready", vm->ready);
	vm_fill_reason(vm, reason, sizeof(reason));
	json_add_str(json, "reason", reason);
	json_add_str(json, "image", vm->want->image);
	json_add_str(json, "digest", vm->row.image_digest);
	json_add_int(json, "vcpus", vm->want->vcpus);
	json_add_int(json, "memory", (int64_t)vm->want->memory);
	json_add_int(json, "memory_max", (int64_t)vm_spec_memory_max(vm->want));
	json_add_int(json, "memory_now", (int64_t)vm_memory_now(vm));
	json_add_str(json, "address", vm->row.address);
	json_add_int(json, "ssh_port", net_ssh_port(vm->row.address));
	add_ports(json, &vm->want->ports);
	json_add_str(json, "hold",
		     vm->row.hold >= 0 && vm->row.hold < 3 ? holds[vm->row.hold] : NULL);
	json_add_int(json, "restarts", vm->restarts);
	json_add_int(json, "created_ms", vm->row.created_ms);
	add_process(json, vm);
	add_boot(json, vm);
	json_add_bool(json, "ephemeral", vm->row.ephemeral);
	json_add_bool(json, "adopted", vm->adopted != NULL);
	struct error ignored;
	if (vm->row.workspace)
		cJSON_AddItemToObject(
			json, "workspace",
			json_parse(vm->row.workspace, strlen(vm->row.workspace), &ignored));
	if (vm->want->workspace.source[0])
		cJSON_AddItemToObject(json, "wanted_workspace",
				      workspace_spec_to_json(&vm->want->workspace));
	cJSON *labels = cJSON_AddObjectToObject(json, "labels");
	for (size_t i = 0; i < vm->want->labels.count; i++)
		json_add_str(labels, vm->want->labels.at[i].key, vm->want->labels.at[i].value);
	return json;
}
