/* bangerd: opens the store, looks what runs, and keeps both in agreement until it is told to end.
 * Virtual machines are not its children and do not end with it. */
#include "daemon/bridge.h"
#include "daemon/host.h"
#include "daemon/sets.h"
#include "driver/disk_dm.h"
#include "exec/capability.h"
#include "exec/ledger.h"
#include "sys/notify.h"
#include "base/env.h"
#include "base/fs.h"
#include "base/log.h"
#include "sys/privilege.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <libssh/libssh.h>
#include <linux/capability.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define WORKERS 8

static void usage(FILE *to)
{
	fputs("usage: bangerd [--system] [--debug] [--version] [--help]\n"
	      "The controller behind banger(1), which starts it when it is needed.\n"
	      "--system: as root, for the VMs of the machine: in /var/lib/banger, wanted in\n"
	      "/etc/banger/vms.d\n",
	      to);
}

/* One daemon for a state directory: the lock lives as long as we do. */
static int lock_state(struct bangerd *d, struct error *err)
{
	auto_free char *path = xasprintf("%s/" PATHS_LOCK, d->paths.state);
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return error_sys(err, "cannot open '%s'", path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, ERROR_CONFLICT, "another bangerd works on '%s'",
				 d->paths.state);
	return 0;
}

/* Once, and before anybody waits: where names come from may take its time. */
static void learn_user(struct bangerd *d)
{
	const struct passwd *user = getpwuid(getuid());
	if (user)
		snprintf(d->user, sizeof(d->user), "%s", user->pw_name);
	else
		snprintf(d->user, sizeof(d->user), "uid %d", (int)getuid());
}

/* For slow machines: the lab's guests are nested and emulated. */
static unsigned timeout_from(const char *variable, unsigned otherwise_ms)
{
	uint64_t ms = env_number(variable, otherwise_ms);
	return ms <= INT_MAX ? (unsigned)ms : INT_MAX;
}

/* BANGER_DISK=dm-snapshot: for tests of one kind. */
static const struct disk_driver *const *disk_preference(const struct bangerd *d)
{
	const char *name = secure_getenv("BANGER_DISK");
	const struct disk_driver *const *one = name ? disk_drivers_named(name) : NULL;
	return one ? one : d->paths.system ? disk_drivers_system : disk_drivers_session;
}

/* BANGER_SUBNET=10.9.0.0/16, BANGER_VM_TO_VM=allow */
static int choose_network(struct bangerd *d, struct error *err)
{
	const char *text = secure_getenv("BANGER_SUBNET");
	if (!d->paths.system)
		return 0;
	if (net_vm_to_vm_parse(secure_getenv("BANGER_VM_TO_VM"), &d->host.vm_to_vm, err) < 0)
		return -1;
	d->host.subnet = &d->subnet;
	d->host.rules = net_rules_new(d->paths.runtime, d->host.vm_to_vm);
	return net_subnet_parse(text ? text : NET_SUBNET_DEFAULT, &d->subnet, err);
}

/* Their hypervisors pass through the directories of all VMs, and list none. */
static int choose_users(struct bangerd *d, struct error *err)
{
	uid_t base;
	if (!d->paths.system)
		return 0;
	d->host.own_users = true;
	if (chmod(d->paths.state, 0711) < 0 || chmod(d->vms_dir, 0711) < 0)
		return error_sys(err, "cannot change the mode of '%s'", d->vms_dir);
	return vm_user_base(&base, err);
}

/* The key to the guests, once more for the members of the group: ssh refuses a key of its caller's
 * that others can read, which root's would be. */
static int let_group_in(struct bangerd *d, struct error *err)
{
	if (!d->paths.system)
		return 0;
	const struct group *group = getgrnam(MACHINE_GROUP);
	d->group = group ? group->gr_gid : 0;
	if (!d->group)
		log_info(NULL, "there is no group '" MACHINE_GROUP "', so only root can use these "
			       "VMs: groupadd --system " MACHINE_GROUP ", then start again");
	d->group_identity = xasprintf("%s/keys/group_ed25519", d->paths.state);
	return keys_share(d->paths.state, d->group, err);
}

static int prepare_host(struct bangerd *d, struct error *err)
{
	learn_user(d);
	d->vms_dir = xasprintf("%s/vms", d->paths.state);
	d->agent_cpio = xasprintf("%s/agent.cpio", d->paths.share);
	d->identity = xasprintf("%s/keys/id_ed25519", d->paths.state);
	if (fs_mkdirs(d->vms_dir, 0700, err) < 0 ||
	    keys_client(d->paths.state, &d->client_key, err) < 0)
		return -1;
	d->host = (struct host){
		.state = d->paths.state,
		.cache = d->paths.cache,
		.vms_dir = d->vms_dir,
		.agent_cpio = d->agent_cpio,
		.client_key = d->client_key,
		.identity = d->identity,
		.images = { d->paths.state, d->paths.cache, d->paths.share },
		.disks = disk_preference(d),
		.start_timeout_ms = timeout_from("BANGER_START_TIMEOUT_MS", 15000),
		.stop_timeout_ms = timeout_from("BANGER_STOP_TIMEOUT_MS", 45000),
	};
	if (choose_network(d, err) < 0 || choose_users(d, err) < 0 || let_group_in(d, err) < 0)
		return -1;
	d->runtime_fd = open(d->paths.runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->runtime_fd < 0)
		return error_sys(err, "cannot open '%s'", d->paths.runtime);
	return 0;
}

/* What the machine's bangerd does as root, and nothing of it is kept for what it does not do. */
static int drop_privileges(struct error *err)
{
	static const unsigned keep[] = {
		CAP_CHOWN,	      /* files and devices of hypervisors are given to them */
		CAP_FOWNER,	      /* ... and their modes set after that */
		CAP_DAC_OVERRIDE,     /* ... and used all the same */
		CAP_SETUID,	      /* a hypervisor becomes its VM's user, apt its own */
		CAP_SETGID,	      /* ... */
		CAP_SETPCAP,	      /* ... without any capability */
		CAP_KILL,	      /* ... and is ended */
		CAP_SYS_PTRACE,	      /* /proc tells whose hypervisor it is */
		CAP_SYS_ADMIN,	      /* device-mapper, loop devices */
		CAP_MKNOD,	      /* /dev/mapper */
		CAP_SYS_CHROOT,	      /* Firecracker's jailer */
		CAP_NET_ADMIN,	      /* bridge, taps, rules, forwarding */
		CAP_NET_BIND_SERVICE, /* DNS */
	};
	return privilege_keep(keep, ARRAY_COUNT(keep), err);
}

static void ttl_due(void *data)
{
	converge_schedule_ttl(data);
}

#define LOG_MAX (4 << 20)

/* Started by banger we write into a file that nobody rotates. */
static void bound_log(void)
{
	struct stat st;
	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > LOG_MAX &&
	    ftruncate(STDERR_FILENO, 0) == 0)
		log_info(NULL, "the log was full, begun anew");
}

/* Level-triggered to the end: whatever an event missed, this finds. */
static void resync(void *data)
{
	struct bangerd *d = data;
	struct error err = { 0 };
	bound_log();
	ballast_take(d);
	if (gather_host(d, &err) < 0)
		log_error(NULL, "cannot look at the host: %s", err.text);
	watch_resync(d);
	bridge_resync(d);
	for (size_t i = 0; i < d->vm_count; i++)
		vm_mark(d->vms[i]);
	loop_timer_set(d->resync, RESYNC_MS);
	events_settle(d);
	revisions_settle(d);
	store_settle(d->store);
	if (!d->swept) { /* what died shortly before us was too young then */
		d->swept = true;
		host_sweep(d);
	}
	malloc_trim(0); /* what large requests left lies idle for a minute */
}

static void signalled(void *data, int number)
{
	struct bangerd *d = data;
	if (number == SIGHUP) {
		resync(d);
		return;
	}
	log_info(NULL, "got %s, ending; virtual machines keep running", strsignal(number));
	loop_quit(d->loop);
}

/* The directory of the machine's own VMs, once it is there. */
static void watch_machine(struct bangerd *d)
{
	struct error err = { 0 };
	auto_free char *path = xasprintf("%s/vms.d", d->paths.config), *stack = NULL;
	if (d->paths.system && access(path, F_OK) == 0 &&
	    watch_add(d, path, false, &stack, &err) < 0)
		log_error(NULL, "cannot watch '%s': %s", path, err.text);
}

/* What runs whose end nobody saw left of devices. */
static void sweep(const struct bangerd *d)
{
	struct error err;
	if (disk_dm_sweep(d->vms_dir, &err) < 0)
		log_warn(NULL, "cannot take away what is left of system disks: %s", err.text);
	if (d->host.subnet && net_tap_sweep(d->vms_dir, &err) < 0)
		log_warn(NULL, "cannot take away what is left of the network: %s", err.text);
}

static int set_up(struct bangerd *d, struct error *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	if (paths_init(&d->paths, d->paths.system, err) < 0 || lock_state(d, err) < 0 ||
	    prepare_host(d, err) < 0)
		return -1;
	d->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->cancel_fd < 0)
		return error_sys(err, "cannot make an eventfd");
	d->loop = loop_new(err);
	if (!d->loop || loop_signals(d->loop, signals, ARRAY_COUNT(signals), signalled, d, err) < 0)
		return -1;
	d->pool = pool_new(d->loop, WORKERS);
	auto_free char *path = xasprintf("%s/banger.db", d->paths.state);
	d->store = store_open(path, err);
	d->resync = loop_timer_new(d->loop, resync, d);
	d->ttl = loop_timer_new(d->loop, ttl_due, d);
	sweep(d);
	if (!d->store || events_open(d, err) < 0 || gather_store(d, err) < 0 ||
	    gather_host(d, err) < 0 || conns_listen(d, err) < 0)
		return -1;
	bridge_open(d);
	ballast_take(d);
	event_add(d, EVENT_DAEMON, NULL, "bangerd " BANGER_VERSION " began, pid %d", (int)getpid());
	watch_resume(d);
	watch_machine(d);
	loop_before_sleep(d->loop, converge, d);
	for (size_t i = 0; i < d->vm_count; i++)
		vm_mark(d->vms[i]);
	roll_begin(d);
	leases_resume(d);
	host_sweep(d);
	ssh_config_stale(d);
	converge_schedule_ttl(d);
	loop_timer_set(d->resync, RESYNC_MS);
	return 0;
}

static void tear_down(struct bangerd *d)
{
	/* Jobs under way end at their next step; what they began is found again at the next start.
	 */
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i]->job)
			atomic_store(&d->vms[i]->job->cancel, true);
	pulls_cancel(d);
	/* Before the connections: their ephemeral VMs wait for the next daemon. */
	leases_free(d);
	loop_timer_free(d->agents_grace);
	conns_free(d);
	pool_free(d->pool);
	host_looks_free(d);
	bridge_free(d);
	adoptions_free(d);
	for (size_t i = 0; i < d->vm_count; i++)
		job_free(d->vms[i]->job);
	watches_free(d);
	pulls_free(d);
	for (size_t i = 0; i < d->vm_count; i++)
		vm_free(d->vms[i]);
	free(d->vms);
	for (size_t i = 0; i < d->op_count; i++)
		free(d->ops[i]);
	free(d->ops);
	loop_timer_free(d->resync);
	loop_timer_free(d->reserve);
	reserve_free(d->reserve_round);
	loop_timer_free(d->ttl);
	ssh_config_free(d);
	store_stacks_clear(&d->stacks);
	events_free(d);
	store_close(d->store);
	loop_free(d->loop);
	net_rules_free(d->host.rules);
	free(d->hints);
	free(d->vms_dir);
	free(d->agent_cpio);
	free(d->client_key);
	free(d->identity);
	free(d->group_identity);
	cleanup_close(&d->runtime_fd);
	cleanup_close(&d->lock_fd);
	cleanup_close(&d->cancel_fd);
	paths_clear(&d->paths);
}

/* systemd, when it started us. */
static void tell_manager(const char *state)
{
	struct error err;
	if (notify_manager(state, &err) < 0)
		log_warn(NULL, "%s, ignoring", err.text);
}

/* A running VM costs six descriptors; the usual 1,024 would end at 170 of them. Not without a
 * bound, as there are programs that close every number up to it one by one. */
static void allow_descriptors(void)
{
	struct rlimit limit;
	const rlim_t enough = 65536;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= enough)
		return;
	limit.rlim_cur = limit.rlim_max < enough ? limit.rlim_max : enough;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	bool system = paths_system_asked();
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--debug")) {
			log_set_level(LOG_DEBUG);
		} else if (!strcmp(argv[i], "--system")) {
			system = true;
		} else if (!strcmp(argv[i], "--version")) {
			puts("bangerd " BANGER_VERSION);
			return 0;
		} else if (!strcmp(argv[i], "--help")) {
			usage(stdout);
			return 0;
#ifdef BANGER_FAILPOINTS
		} else if (!strcmp(argv[i], "--list-steps")) {
			image_pull_steps_print(stdout);
			ledger_steps_print(stdout);
			workspace_steps_print(stdout);
			steps_print(stdout); /* what BANGER_FAILPOINT="before ..." can name */
			return 0;
#endif
		} else {
			usage(stderr);
			return 2;
		}
	}
	if (system && geteuid() != 0) {
		log_error(NULL, "--system is for root: it works with devices of the machine");
		return 2;
	}
	umask(077);
	/* A heap for all: each worker's own would keep what a large request, one of libnftables',
	 * left in it, eight times over. */
	mallopt(M_ARENA_MAX, 1);
	allow_descriptors();
	struct error err = { 0 };
	if (system && drop_privileges(&err) < 0) {
		log_error(NULL, "%s", err.text);
		return 4;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* inherited as ignored, nobody could be waited for */
	ssh_init();
	struct bangerd d = { .runtime_fd = -1, .lock_fd = -1, .cancel_fd = -1, .listen_fd = -1 };
	d.paths.system = system;
	d.started_ms = clock_wall_ms();
	if (set_up(&d, &err) < 0) {
		log_error(NULL, "%s", err.text);
		tear_down(&d);
		return error_exit_status(err.code);
	}
	log_info(NULL, "bangerd " BANGER_VERSION " works on '%s'", d.paths.state);
	tell_manager("READY=1");
	loop_run(d.loop);
	tell_manager("STOPPING=1");
	bool failed = d.failed;
	event_add(&d, EVENT_DAEMON, NULL, "bangerd ends; VMs %s",
		  d.draining ? "are stopped" : "run on");
	tear_down(&d);
	ssh_finalize();
	return failed ? 4 : 0;
}
