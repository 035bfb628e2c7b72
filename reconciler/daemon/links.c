/* The connections to a running VM.
 *
 * Theory of operation: monitor, agent and console are unix sockets in the VM's directory, each with
 * room for one client. The loop keeps all three while nothing else needs them: the monitor tells
 * why a process ends, the agent pushes boot phases and readiness, the console is kept as a bounded
 * log. A worker that has to speak to the monitor or the agent gets them by links_lend(); when its
 * job is done links_open() connects again and the agent's `hello` brings the full state. A guest
 * may say anything at any speed: parsers are bounded, a broken agent is left alone for a while, and
 * a console that writes faster than CONSOLE_RATE is read no faster. */
#include "daemon/bangerd.h"
#include "base/fs.h"
#include "base/log.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define CONNECT_MS	  1 /* a hypervisor that does not accept must not keep the loop waiting */
#define RETRY_FIRST_MS	  20
#define RETRY_MAX_MS	  5000
#define CONSOLE_LOG_MAX	  (1u << 20)   /* then it becomes console.log.1 */
#define CONSOLE_RATE	  (256u << 10) /* bytes in a window */
#define CONSOLE_WINDOW_MS 250
#define AGENT_PAUSE_MS	  10000 /* after garbage */
#define RESETS_MAX	  5	/* in a row, without getting ready */

static void link_close(struct link *link)
{
	loop_unwatch(link->watch);
	link->watch = NULL;
	cleanup_close(&link->fd);
	link->fd = -1;
	if (link->retry)
		loop_timer_stop(link->retry);
}

static void link_retry(struct vm *vm, struct link *link, loop_fn open_link, uint64_t at_least_ms)
{
	link_close(link);
	if (!link->retry)
		link->retry = loop_timer_new(vm->d->loop, open_link, vm);
	uint64_t wait = (uint64_t)RETRY_FIRST_MS << (link->failures < 8 ? link->failures : 8);
	link->failures++;
	if (wait > RETRY_MAX_MS)
		wait = RETRY_MAX_MS;
	loop_timer_set(link->retry, wait > at_least_ms ? wait : at_least_ms);
}

/* Non-blocking read; the bytes, 0 for "not now", -1 for "it is over". */
static ssize_t link_read(struct link *link, char *data, size_t size)
{
	ssize_t got = read(link->fd, data, size);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return got <= 0 ? -1 : got;
}

static bool link_connected(struct vm *vm, struct link *link, int fd, loop_fd_fn fn)
{
	struct error err;
	if (fd < 0)
		return false;
	link->fd = fd;
	link->watch = loop_watch(vm->d->loop, fd, EPOLLIN, fn, vm, &err);
	return link->watch != NULL;
}

/* --- monitor --- */

static void monitor_open(void *data);
static void agent_open(void *data);

/* A guest may reboot as it likes; one that never gets ready in between boots in a circle. */
static void guest_reset(struct vm *vm)
{
	bool was_ready = vm->ready;
	log_info(vm->row.name, "the guest rebooted itself");
	vm_event(vm, EVENT_REBOOTED, "the guest rebooted itself");
	vm->resets = was_ready ? 0 : vm->resets + 1;
	vm->ready = false;
	vm->restarts++;
	/* What the agent said and was asked was of the last boot: greet the new one. */
	if (!vm->job)
		links_reopen_agent(vm);
	vm_ready_changed(vm);
	if (vm->resets < RESETS_MAX || vm->job)
		return;
	vm->exit_hint = EXIT_PANIC;
	error_set(vm_failure(vm), ERROR_SYSTEM,
		  "vm '%s' rebooted %u times without getting ready, see banger logs %s",
		  vm->row.name, vm->resets, vm->row.name);
	proc_signal(vm->pidfd, SIGKILL);
}

static void memory_told(struct vm *vm, uint64_t plugged)
{
	if (vm->plugged_told && vm->seen_plugged == plugged)
		return;
	vm->seen_plugged = plugged;
	vm->plugged_told = true;
	if (vm->seen_memory_max > vm->seen_memory)
		vm_mark(vm);
}

void links_stands_still(struct vm *vm)
{
	log_warn(vm->row.name, "the host's disk is full: the guest stands still until there is "
			       "space, nothing of it is lost");
	vm_paused(vm, true);
}

static void monitor_event(struct vm *vm, enum monitor_event event)
{
	switch (event) {
	case MONITOR_GUEST_POWEROFF:
		vm->exit_hint = vm->exit_hint == EXIT_FAILED ? EXIT_FAILED : EXIT_POWEROFF;
		break;
	case MONITOR_GUEST_PANIC:
		vm->exit_hint = EXIT_PANIC;
		break;
	case MONITOR_HOST_QUIT:
		vm->exit_hint = EXIT_KILLED;
		break;
	case MONITOR_GUEST_RESET:
		guest_reset(vm);
		break;
	case MONITOR_PAUSED:
		links_stands_still(vm);
		break;
	case MONITOR_MEMORY:
		memory_told(vm, vm->hv->monitor_plugged(vm->monitor_parser));
		break;
	case MONITOR_RESUMED:
		log_info(vm->row.name, "the guest goes on");
		vm_paused(vm, false);
		break;
	default:
		break;
	}
}

static void monitor_readable(void *data, uint32_t events)
{
	struct vm *vm = data;
	char chunk[4096];
	(void)events;
	ssize_t got = link_read(&vm->monitor, chunk, sizeof(chunk));
	if (got == 0)
		return;
	size_t len = got > 0 ? (size_t)got : 0;
	const struct hv_driver *hv = vm->hv;
	enum monitor_event event = MONITOR_NOTHING;
	while (got > 0 &&
	       (event = hv->monitor_feed(vm->monitor_parser, vm->monitor.fd, chunk, len))) {
		len = 0;
		if (event == MONITOR_READY)
			vm->monitor.failures = 0;
		if (event == MONITOR_BROKEN)
			break;
		monitor_event(vm, event);
	}
	if (got < 0 || event == MONITOR_BROKEN)
		link_retry(vm, &vm->monitor, monitor_open, 0);
}

static void monitor_open(void *data)
{
	struct vm *vm = data;
	struct error err;
	const struct hv_driver *hv = vm->hv;
	if (!hv->monitor_open)
		return;
	hv->monitor_free(vm->monitor_parser);
	vm->monitor_parser = hv->monitor_new();
	if (!link_connected(vm, &vm->monitor, hv->monitor_open(vm->dirfd, &err), monitor_readable))
		link_retry(vm, &vm->monitor, monitor_open, 0);
}

void links_drain_monitor(struct vm *vm)
{
	for (int i = 0; i < 16 && vm->monitor.fd >= 0; i++)
		monitor_readable(vm, EPOLLIN);
}

/* --- agent --- */

static void agent_lost(struct vm *vm, uint64_t at_least_ms)
{
	link_retry(vm, &vm->agent, agent_open, at_least_ms);
	asks_lost(vm);
}

void links_reopen_agent(struct vm *vm)
{
	vm->agent.failures = 0;
	agent_lost(vm, 0);
}

static void agent_changed(struct vm *vm, enum agent_event event)
{
	const struct agent_state *state = agent_feed_state(vm->feed);
	if (event == AGENT_FAILED) {
		vm->exit_hint = EXIT_FAILED;
		error_set(vm_failure(vm), ERROR_SYSTEM, "the guest could not boot: %s",
			  state->failed);
		log_error(vm->row.name, "%s", vm_failure_text(vm));
		vm_event(vm, EVENT_FAILED, "%s", vm_failure_text(vm));
		return;
	}
	if (state->ready != vm->ready && vm->want->ready.kind != READY_NONE) {
		vm->ready = state->ready;
		vm_ready_changed(vm);
	} else if (vm->op && !vm->ready) {
		op_stage(vm->d, vm->op, "boot", state->phase);
	}
}

static void agent_readable(void *data, uint32_t events)
{
	struct vm *vm = data;
	char chunk[8192];
	(void)events;
	ssize_t got = link_read(&vm->agent, chunk, sizeof(chunk));
	if (got == 0)
		return;
	if (got < 0) {
		agent_lost(vm, 0);
		return;
	}
	size_t len = (size_t)got;
	enum agent_event event;
	while ((event = agent_feed_push(vm->feed, chunk, len)) != AGENT_NOTHING) {
		len = 0;
		if (event == AGENT_BROKEN) {
			log_warn(vm->row.name,
				 "the guest's agent speaks nonsense, ignoring it for %d s",
				 AGENT_PAUSE_MS / 1000);
			agent_lost(vm, AGENT_PAUSE_MS);
			return;
		}
		vm->agent.failures = 0;
		if (event == AGENT_REPLY)
			ask_replied(vm);
		else
			agent_changed(vm, event);
	}
}

static void agent_open(void *data)
{
	struct vm *vm = data;
	struct error err;
	agent_feed_free(vm->feed);
	vm->feed = agent_feed_new();
	const char *hello = agent_feed_hello(vm->feed);
	int fd = guest_connect(vm->dirfd, GUEST_AGENT, CONNECT_MS, 1, &err);
	if (!link_connected(vm, &vm->agent, fd, agent_readable) ||
	    send(vm->agent.fd, hello, strlen(hello), MSG_NOSIGNAL | MSG_DONTWAIT) !=
		    (ssize_t)strlen(hello))
		agent_lost(vm, 0);
}

/* --- console --- */

static void console_open(void *data);

static void console_rotate(struct vm *vm)
{
	struct stat old;
	cleanup_close(&vm->console.log_fd);
	vm->console.log_fd = -1;
	if (fstatat(vm->dirfd, VM_FILE_CONSOLE_LOG ".1", &old, AT_SYMLINK_NOFOLLOW) == 0)
		vm->log_dropped += (uint64_t)old.st_size;
	renameat(vm->dirfd, VM_FILE_CONSOLE_LOG, vm->dirfd, VM_FILE_CONSOLE_LOG ".1");
}

/* A hypervisor can make files there: what it laid in this place goes. */
static int console_file(int vm_dirfd, uint64_t *ret_size)
{
	struct stat st;
	*ret_size = 0;
	if (fstatat(vm_dirfd, VM_FILE_CONSOLE_LOG, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (!fs_is_own(&st) || st.st_nlink != 1))
		unlinkat(vm_dirfd, VM_FILE_CONSOLE_LOG, 0);
	auto_close int fd = openat(vm_dirfd, VM_FILE_CONSOLE_LOG,
				   O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK |
					   O_NOCTTY | O_CLOEXEC,
				   0600);
	/* It may have been quick; what a client gets to see is checked again. */
	if (fd < 0 || fstat(fd, &st) < 0 || !fs_is_own(&st))
		return -1;
	*ret_size = (uint64_t)st.st_size;
	return take_fd(&fd);
}

static void console_write(struct vm *vm, const char *data, size_t len)
{
	struct console *console = &vm->console;
	if (console->log_fd >= 0 && console->log_size + len > CONSOLE_LOG_MAX)
		console_rotate(vm);
	if (console->log_fd < 0)
		console->log_fd = console_file(vm->dirfd, &console->log_size);
	/* A full host disk costs console text, nothing else. */
	if (console->log_fd >= 0 && fs_write_all(console->log_fd, data, len) == 0)
		console->log_size += len;
}

static void console_go_on(void *data)
{
	struct vm *vm = data;
	if (vm->console_link.watch)
		loop_watch_set(vm->console_link.watch, EPOLLIN);
	else
		console_open(vm);
}

static void console_readable(void *data, uint32_t events)
{
	struct vm *vm = data;
	struct console *console = &vm->console;
	char chunk[16384];
	(void)events;
	ssize_t got = link_read(&vm->console_link, chunk, sizeof(chunk));
	if (got == 0)
		return;
	if (got < 0) {
		link_retry(vm, &vm->console_link, console_go_on, 0);
		return;
	}
	vm->console_link.failures = 0;
	console_write(vm, chunk, (size_t)got);
	uint64_t now = clock_monotonic_ms();
	if (now - console->window_ms >= CONSOLE_WINDOW_MS) {
		console->window_ms = now;
		console->window_bytes = 0;
	}
	console->window_bytes += (uint64_t)got;
	if (console->window_bytes < CONSOLE_RATE)
		return;
	loop_watch_set(vm->console_link.watch, 0);
	if (!vm->console_link.retry)
		vm->console_link.retry = loop_timer_new(vm->d->loop, console_go_on, vm);
	loop_timer_set(vm->console_link.retry, CONSOLE_WINDOW_MS);
}

static void console_open(void *data)
{
	struct vm *vm = data;
	struct error err;
	int fd = hv_console_open(vm->dirfd, CONNECT_MS, &err);
	if (!link_connected(vm, &vm->console_link, fd, console_readable))
		link_retry(vm, &vm->console_link, console_go_on, 0);
}

void links_open(struct vm *vm)
{
	if (vm->dirfd < 0)
		return;
	if (vm->monitor.fd < 0)
		monitor_open(vm);
	if (vm->adopted)
		return; /* it has a monitor and nothing else of ours */
	if (vm->console_link.fd < 0)
		console_open(vm);
	if (vm->agent.fd < 0)
		agent_open(vm);
}

void links_lend(struct vm *vm)
{
	links_drain_monitor(vm);
	link_close(&vm->monitor);
	vm->plugged_told = false; /* what the worker does to it is told when we are back */
	link_close(&vm->agent);
	asks_lost(vm);
}

/* What it said last, why it ended perhaps, is in the socket still. */
static void drain_console(struct vm *vm)
{
	for (int i = 0; i < 64 && vm->console_link.fd >= 0; i++)
		console_readable(vm, EPOLLIN);
}

void links_close(struct vm *vm)
{
	drain_console(vm);
	struct link *const links[] = { &vm->monitor, &vm->agent, &vm->console_link };
	for (size_t i = 0; i < ARRAY_COUNT(links); i++) {
		link_close(links[i]);
		loop_timer_free(links[i]->retry);
		links[i]->retry = NULL;
		links[i]->failures = 0;
	}
	asks_lost(vm);
	cleanup_close(&vm->console.log_fd);
	vm->console = (struct console){ .log_fd = -1 };
	if (vm->monitor_parser)
		vm->hv->monitor_free(vm->monitor_parser);
	vm->monitor_parser = NULL;
	agent_feed_free(vm->feed);
	vm->feed = NULL;
}
