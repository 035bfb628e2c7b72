/* Questions to running guests.
 *
 * Theory of operation: they travel on the connection that the loop has to the agent anyway, matched
 * by id, so that nobody has to borrow it and a guest that says nothing costs a timer. At most
 * AGENT_ASKS_MAX of a VM are on their way. Each ends exactly once: with the guest's answer, at its
 * deadline, or when the connection goes (a worker needs it, the guest reboots, the VM ends). */
#include "daemon/bangerd.h"

#include <string.h>
#include <sys/socket.h>

struct ask {
	struct ask *next;
	struct vm *vm;
	int64_t id;
	struct loop_timer *deadline;
	ask_fn done;
	void *arg;
};

/* Out of the list first: done() may ask anew. */
static void ask_end(struct ask *ask, const cJSON *result, const struct error *err)
{
	struct ask **at = &ask->vm->asks;
	while (*at != ask)
		at = &(*at)->next;
	*at = ask->next;
	loop_timer_free(ask->deadline);
	ask->done(ask->arg, result, err);
	free(ask);
}

static void ask_late(void *data)
{
	struct ask *ask = data;
	struct error err;
	if (ask->vm->feed)
		agent_feed_forget(ask->vm->feed, ask->id);
	error_set(&err, ERROR_TIMEOUT, "the agent of vm '%s' did not answer in time",
		  ask->vm->row.name);
	ask_end(ask, NULL, &err);
}

void asks_lost(struct vm *vm)
{
	while (vm->asks) {
		struct error err;
		error_set(&err, ERROR_UNAVAILABLE, "the connection to the agent of vm '%s' ended",
			  vm->row.name);
		ask_end(vm->asks, NULL, &err);
	}
}

void ask_replied(struct vm *vm)
{
	struct error err = { 0 };
	cJSON *taken;
	int64_t id = agent_feed_take_reply(vm->feed, &taken, &err);
	auto_json cJSON *result = taken;
	struct ask *ask = vm->asks;
	while (ask && ask->id != id)
		ask = ask->next;
	if (ask)
		ask_end(ask, result, &err);
}

static int check_askable(const struct vm *vm, struct error *err)
{
	if (!vm->pid)
		return error_set(err, ERROR_CONFLICT,
				 "vm '%s' is not running (%s), start it with banger start %s",
				 vm->row.name, vm_phase_name(vm), vm->row.name);
	if (vm->agent.fd < 0 || !vm->feed)
		return error_set(err, ERROR_UNAVAILABLE,
				 "vm '%s' is %s, its agent is not connected", vm->row.name,
				 vm_phase_name(vm));
	return 0;
}

int ask_guest(struct vm *vm, const char *method, uint64_t timeout_ms, ask_fn done, void *arg,
	      struct error *err)
{
	auto_buf struct buf line = BUF_INIT;
	if (check_askable(vm, err) < 0)
		return -1;
	int64_t id = agent_feed_ask(vm->feed, method, NULL, &line, err);
	if (id < 0)
		return error_wrap(err, "vm '%s'", vm->row.name);
	/* A line is far shorter than the socket's buffer: it goes whole, or the guest has not read
	 * for long. */
	ssize_t sent = send(vm->agent.fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent != (ssize_t)line.len) {
		agent_feed_forget(vm->feed, id);
		if (sent > 0)
			links_reopen_agent(vm);
		return error_set(err, ERROR_UNAVAILABLE, "the agent of vm '%s' does not listen",
				 vm->row.name);
	}
	struct ask *ask = xcalloc(1, sizeof(*ask));
	*ask = (struct ask){ .next = vm->asks, .vm = vm, .id = id, .done = done, .arg = arg };
	ask->deadline = loop_timer_new(vm->d->loop, ask_late, ask);
	loop_timer_set(ask->deadline, timeout_ms);
	vm->asks = ask;
	return 0;
}
