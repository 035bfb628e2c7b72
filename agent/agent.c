#include "agent/agent.h"
#include "agent/console.h"
#include "agent/exec_port.h"
#include "agent/methods.h"
#include "agent/modules.h"
#include "agent/vsock.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define SSH_PORT       22
#define WATCH_FIRST_MS 20
#define WATCH_LAST_MS  1000
/* So long at the first pace: most guests listen within it. */
#define WATCH_EAGER_MS 8000
#define SSH_WATCH_MS   120000
/* The driver's signal wakes us when the host comes; this is for a signal that was lost. */
#define LOOK_AGAIN_MS 5000
/* The late modules are loaded and the initrd emptied when the guest is ready, or by then: not while
 * its boot could use the processor. */
#define FINISH_BOOT_MS 6000
/* The ports are announced a moment after their driver has loaded. */
#define PORT_STEP_MS 10
#define PORT_TRIES   500

void agent_boot_id(char id[AGENT_BOOT_ID_SIZE])
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT;
	id[0] = '\0';
	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text, &ignored) < 0)
		return;
	text.data[strcspn(text.data, "\n")] = '\0';
	str_copy(id, AGENT_BOOT_ID_SIZE, text.data);
}

void agent_reach(struct agent *agent, enum phase phase)
{
	if (agent->phases.at_ms[phase])
		return;
	agent->phases.at_ms[phase] = uptime_ms();
	char boot_id[AGENT_BOOT_ID_SIZE];
	auto_json cJSON *event = cJSON_CreateObject();
	agent_boot_id(boot_id);
	json_add_str(event, "event", "phase");
	cJSON *params = cJSON_AddObjectToObject(event, "params");
	json_add_str(params, "phase", phase_name(phase));
	json_add_int(params, "uptime_ms", (int64_t)agent->phases.at_ms[phase]);
	json_add_bool(params, "ready", agent_is_ready(agent));
	json_add_str(params, "boot_id", boot_id);
	channel_send(&agent->channel, event);
}

bool agent_is_ready(const struct agent *agent)
{
	return agent->phases.at_ms[PHASE_READY] != 0;
}

static bool ready_is_satisfied(const struct agent *agent)
{
	switch (agent->seed->ready_kind) {
	case SEED_READY_SSH:
	case SEED_READY_TCP:
		return tcp_port_listens(agent->seed->ready_port);
	case SEED_READY_AGENT:
	case SEED_READY_NONE:
		break;
	}
	return true;
}

void agent_watch(struct agent *agent, uint64_t now_ms)
{
	if (!agent->watch.next_ms || now_ms < agent->watch.next_ms)
		return;
	if (!agent->phases.at_ms[PHASE_SSH] && tcp_port_listens(SSH_PORT))
		agent_reach(agent, PHASE_SSH);
	if (!agent_is_ready(agent) && ready_is_satisfied(agent))
		agent_reach(agent, PHASE_READY);
	/* A guest may be ready before its SSH server, or have none: that is worth a while. */
	bool ssh_known = agent->phases.at_ms[PHASE_SSH] || now_ms > SSH_WATCH_MS;
	if (agent_is_ready(agent) && ssh_known) {
		agent->watch.next_ms = 0;
		return;
	}
	unsigned wait_ms = agent->watch.wait_ms ? agent->watch.wait_ms : WATCH_FIRST_MS;
	if (now_ms > WATCH_EAGER_MS && wait_ms < WATCH_LAST_MS)
		wait_ms = wait_ms * 2 < WATCH_LAST_MS ? wait_ms * 2 : WATCH_LAST_MS;
	agent->watch.wait_ms = wait_ms;
	agent->watch.next_ms = now_ms + wait_ms;
}

void agent_tell_failure(struct agent *agent, const char *step, const struct error *err,
			unsigned wait_ms)
{
	auto_json cJSON *event = cJSON_CreateObject();
	json_add_str(event, "event", "failed");
	cJSON *params = cJSON_AddObjectToObject(event, "params");
	json_add_str(params, "step", step);
	json_add_str(params, "text", err->text);
	for (unsigned waited = 0;; waited += PORT_STEP_MS) {
		if (channel_look(&agent->channel) && channel_send(&agent->channel, event))
			break;
		if (waited >= wait_ms)
			return;
		poll(NULL, 0, PORT_STEP_MS);
	}
	for (unsigned waited = 0; agent->channel.out.len && waited < wait_ms;
	     waited += PORT_STEP_MS) {
		poll(NULL, 0, PORT_STEP_MS);
		channel_flush(&agent->channel);
	}
}

static void on_line(void *arg, const char *line, size_t len)
{
	methods_answer(methods, arg, line, len);
}

/* Signals come as bytes of this descriptor, at a moment when they can be handled. */
static int open_signals(void)
{
	static const int wanted[] = { SIGIO, SIGTERM, SIGCHLD, SIGHUP, SIGINT, SIGPIPE };
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void read_signals(const struct agent *agent, int fd)
{
	struct signalfd_siginfo info;
	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGTERM)
			power_terminated(&agent->power);
}

/* In one process of its own, without the terminal, the last one to die of too little memory. */
static void settle_process(char *name)
{
	setsid();
	/* systemd's mark of a process from the initrd that it neither ends nor waits for. */
	if (name && name[0])
		name[0] = '@';
	prctl(PR_SET_NAME, "banger-agent");
	auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "-1000", 5) != 5)
		console_say("cannot protect the agent from the OOM killer, ignoring");
}

/* The initrd is memory: give it back. Never into what is mounted there. */
static void remove_boot_files(int boot_root)
{
	struct stat top, entry_stat;
	int fd = fcntl(boot_root, F_DUPFD_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fstat(boot_root, &top) == 0)
		for (struct dirent *entry; (entry = readdir(dir));) {
			struct error ignored;
			if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
			    fstatat(boot_root, entry->d_name, &entry_stat, AT_SYMLINK_NOFOLLOW) <
				    0 ||
			    entry_stat.st_dev != top.st_dev)
				continue;
			fs_remove_tree(boot_root, entry->d_name, &ignored);
		}
	closedir(dir);
}

static void finish_boot(struct agent *agent, uint64_t now_ms)
{
	struct error err = { 0 };
	if (agent->boot_root < 0 || (agent->watch.next_ms && now_ms < FINISH_BOOT_MS))
		return;
	if (modules_load(agent->boot_root, MODULES_LATE, &err) < 0)
		console_say("%s, ignoring", err.text);
	remove_boot_files(agent->boot_root);
	close(agent->boot_root);
	agent->boot_root = -1;
}

/* The first of two times, both of which may be "never" (0). */
static uint64_t sooner(uint64_t a, uint64_t b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

static int wait_ms(const struct agent *agent, unsigned tries, uint64_t now)
{
	uint64_t until = 0;
	if (agent->channel.listener >= 0)
		until = 0;
	else if (agent->channel.fd < 0 && tries < PORT_TRIES)
		until = now + PORT_STEP_MS;
	else if (agent->channel.fd >= 0 && !agent->channel.connected)
		until = now + LOOK_AGAIN_MS;
	until = sooner(until, agent->watch.next_ms);
	if (agent->power.state == POWER_IMAGE)
		until = sooner(until, now + 100);
	else if (agent->power.state == POWER_ASKED)
		until = sooner(until, agent->power.deadline_ms);
	if (!until)
		return -1;
	return until <= now ? 0 : (int)(until - now);
}

static void agent_turn(struct agent *agent, int signals, unsigned tries)
{
	struct pollfd fds[2 + JOBS_MAX] = { { .fd = signals, .events = POLLIN } };
	nfds_t count = 1;
	short events = channel_events(&agent->channel);
	if (events)
		fds[count++] = (struct pollfd){ .fd = channel_descriptor(&agent->channel),
						.events = events };
	count += jobs_poll(&agent->jobs, fds + count);
	poll(fds, count, wait_ms(agent, tries, uptime_ms()));
	read_signals(agent, signals);
	jobs_read(&agent->jobs, &agent->channel);
	if (channel_look(&agent->channel)) {
		channel_flush(&agent->channel);
		channel_read(&agent->channel, on_line, agent);
	}
	agent_watch(agent, uptime_ms());
	finish_boot(agent, uptime_ms());
	power_step(&agent->power, uptime_ms(), !agent->channel.out.len);
}

/* The port may come later than we do; a machine may also have none. */
static void find_port(struct agent *agent, unsigned tries)
{
	struct error ignored;
	if (channel_descriptor(&agent->channel) >= 0 || tries >= PORT_TRIES)
		return;
	channel_init(&agent->channel, channel_open_port(CHANNEL_PORT_NAME, &ignored));
	channel_look(&agent->channel);
}

void agent_open_line(struct agent *agent)
{
	struct error err;
	if (!agent->seed || agent->seed->hypervisor != SEED_FIRECRACKER)
		return;
	int listener = vsock_listen(VSOCK_AGENT_PORT, &err);
	if (listener < 0)
		console_say("%s, ignoring", err.text);
	channel_init_listener(&agent->channel, listener);
}

void agent_run(struct agent *agent, int boot_root)
{
	int signals = open_signals();
	settle_process(agent->name);
	exec_port_start(agent->seed->hypervisor == SEED_FIRECRACKER);
	agent_open_line(agent);
	agent->boot_root = boot_root;
	agent->watch.next_ms = 1;
	for (unsigned tries = 0;; tries += tries < PORT_TRIES) {
		find_port(agent, tries);
		agent_turn(agent, signals, tries);
	}
}
