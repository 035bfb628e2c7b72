/* Theory of operation. The kernel has unpacked three archives into one memory filesystem: its
 * modules, this program, and the VM's seed. The steps below run in order. When the root is mounted
 * the old one is kept only as a descriptor, through which the seed's bytes and the late modules are
 * read; the agent, forked after the change of root, empties it. */
#include "agent/boot.h"
#include "agent/agent.h"
#include "agent/console.h"
#include "agent/disks.h"
#include "agent/exec.h"
#include "agent/home.h"
#include "agent/minimal.h"
#include "agent/modules.h"
#include "agent/net.h"
#include "agent/place.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/vec.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/reboot.h>
#include <sys/stat.h>

#define NEW_ROOT  "/newroot"
#define DEVICE_MS 10000
#define FAILED_MS 1000

struct boot {
	struct agent agent;
	int root; /* the initrd's; owned */
	int blobs;
};

struct step {
	const char *name;
	int (*run)(struct boot *boot, struct error *err);
};

static int mount_at(const char *type, const char *path, unsigned long flags, const char *options,
		    struct error *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_sys(err, "cannot make '%s'", path);
	if (mount(type, path, type, flags, options) < 0 && errno != EBUSY)
		return error_sys(err, "cannot mount '%s'", path);
	return 0;
}

static int step_mount_kernel(struct boot *boot, struct error *err)
{
	if (mount_at("devtmpfs", "/dev", MS_NOSUID, "mode=0755", err) < 0)
		return -1;
	/* The kernel opens the console only when the initrd has its node. */
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
	boot->root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (boot->root < 0)
		return error_sys(err, "cannot open '/'");
	if (mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", err) < 0)
		return -1;
	return mount_at("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", err);
}

static int step_load_modules(struct boot *boot, struct error *err)
{
	return modules_load(boot->root, MODULES_EARLY, err);
}

static int step_read_seed(struct boot *boot, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	if (fs_read(AT_FDCWD, "/banger/seed.json", SEED_MAX_BYTES, &text, err) < 0)
		return -1;
	boot->agent.seed = seed_parse(text.data, text.len, err);
	if (!boot->agent.seed)
		return -1;
	/* Its line to the host is one of the late modules. */
	boot->agent.power.by_reset = boot->agent.seed->hypervisor == SEED_FIRECRACKER;
	if (boot->agent.power.by_reset && modules_load(boot->root, MODULES_LATE, err) < 0)
		return -1;
	boot->blobs = open("/banger/files", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (boot->blobs < 0 && boot->agent.seed->file_count)
		return error_sys(err, "cannot open '/banger/files'");
	return 0;
}

static void grow_if_can(const char *serial, const char *path)
{
	struct error err;
	uint64_t bytes;
	/* A filesystem that stays small still boots. */
	if (disk_grow(serial, path, &bytes, &err) < 0)
		console_say("%s, ignoring", err.text);
}

static int step_mount_root(struct boot *boot, struct error *err)
{
	const char *serial = boot->agent.seed->root_serial;
	if (disk_mount(serial, NEW_ROOT, 0, DEVICE_MS, err) < 0)
		return -1;
	grow_if_can(serial, NEW_ROOT);
	return 0;
}

/* /dev, /proc and /sys go along; what was "/" stays open as boot->root. */
static int step_change_root(struct boot *boot, struct error *err)
{
	static const char *const folders[] = { "/dev", "/proc", "/sys" };
	(void)boot;
	for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
		auto_free char *to = xasprintf(NEW_ROOT "%s", folders[i]);
		if (mkdir(to, 0755) < 0 && errno != EEXIST)
			return error_sys(err, "cannot make '%s'", to);
		if (mount(folders[i], to, NULL, MS_MOVE, NULL) < 0)
			return error_sys(err, "cannot move '%s'", folders[i]);
	}
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return error_sys(err, "cannot change to the new root");
	return 0;
}

/* prepared: what the image has where the disk is now mounted; -1: nothing. */
static void fill_new_disk(int prepared, const char *path)
{
	struct error err;
	auto_close int disk = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (prepared < 0 || disk < 0 || !home_is_empty(disk))
		return;
	/* Too small a disk still boots. */
	if (home_copy(prepared, disk, &err) < 0)
		console_say("%s, ignoring", err.text);
}

static int step_mount_work(struct boot *boot, struct error *err)
{
	const struct seed *seed = boot->agent.seed;
	if (!seed->work_serial)
		return 0;
	auto_close int prepared =
		open(seed->work_mount, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (disk_mount(seed->work_serial, seed->work_mount, 0, DEVICE_MS, err) < 0)
		return -1;
	grow_if_can(seed->work_serial, seed->work_mount);
	fill_new_disk(prepared, seed->work_mount);
	return 0;
}

/* Where the image has none for this kernel. Without them a guest still boots. */
static int step_mount_modules(struct boot *boot, struct error *err)
{
	const char *serial = boot->agent.seed->modules_serial;
	struct utsname kernel;
	if (!serial || uname(&kernel) < 0)
		return 0;
	auto_free char *path = xasprintf("/lib/modules/%s", kernel.release);
	auto_free char *own = xasprintf("%s/modules.dep", path);
	if (access(own, F_OK) == 0)
		return 0;
	if (disk_mount(serial, path, MS_RDONLY, DEVICE_MS, err) < 0)
		console_say("%s, ignoring", err->text);
	return 0;
}

static int step_place(struct boot *boot, struct error *err)
{
	struct seed *seed = boot->agent.seed;
	if (place_hostname(seed, err) < 0 || place_resolver(seed, err) < 0 ||
	    place_files(seed, boot->blobs, err) < 0 ||
	    place_keys(boot->agent.home, (const char *const *)seed->keys, seed->key_count, err) < 0)
		return -1;
	agent_reach(&boot->agent, PHASE_MOUNTED);
	return 0;
}

static int step_network(struct boot *boot, struct error *err)
{
	if (net_up(&boot->agent.seed->network, DEVICE_MS, err) < 0)
		return -1;
	agent_reach(&boot->agent, PHASE_NETWORK);
	return 0;
}

static const struct step steps[] = {
	{ "mount /dev, /proc, /sys", step_mount_kernel },
	{ "load modules", step_load_modules },
	{ "read the seed", step_read_seed },
	{ "mount the root disk", step_mount_root },
	{ "change root", step_change_root },
	{ "mount the work disk", step_mount_work },
	{ "mount the modules", step_mount_modules },
	{ "place files", step_place },
	{ "set up the network", step_network },
};

_Noreturn static void fail(struct boot *boot, const char *step, const struct error *err)
{
	struct error ignored;
	console_say("boot failed: %s: %s", step, err->text);
	agent_open_line(&boot->agent);
	for (int tries = 0; channel_descriptor(&boot->agent.channel) < 0 && tries < 50; tries++) {
		poll(NULL, 0, tries ? 10 : 0);
		channel_init(&boot->agent.channel, channel_open_port(CHANNEL_PORT_NAME, &ignored));
	}
	agent_tell_failure(&boot->agent, step, err, FAILED_MS);
	poll(NULL, 0, FAILED_MS);
	power_off_now(boot->agent.power.by_reset);
	for (;;)
		pause();
}

static void start_agent(struct boot *boot)
{
	struct error err;
	agent_reach(&boot->agent, PHASE_INIT);
	pid_t pid = fork();
	if (pid < 0) {
		error_sys(&err, "cannot fork");
		fail(boot, "start the agent", &err);
	}
	if (pid == 0)
		agent_run(&boot->agent, boot->root);
	close(boot->root);
	if (boot->blobs >= 0)
		close(boot->blobs);
}

static void exec_init(const char *path)
{
	const char *const argv[] = { path, NULL };
	static const char *const env[] = { "HOME=/", "TERM=linux", EXEC_PATH, NULL };
	exec_program(path, argv, env);
}

_Noreturn static void hand_over(struct boot *boot)
{
	static const char *const paths[] = { "/sbin/init", "/etc/init", "/bin/init",
					     "/usr/sbin/init", "/lib/systemd/systemd" };
	struct error err;
	const char *wanted = boot->agent.seed->init;
	if (wanted) {
		exec_init(wanted);
		error_sys(&err, "cannot run '%s'", wanted);
		fail(boot, "run the image's init", &err);
	}
	for (size_t i = 0; i < ARRAY_COUNT(paths); i++)
		exec_init(paths[i]);
	minimal_run(boot->agent.power.by_reset);
}

void boot_run(char *name)
{
	struct boot boot = {
		.agent = { .home = "/root", .name = name, .boot_root = -1 },
		.root = -1,
		.blobs = -1,
	};
	channel_init(&boot.agent.channel, -1);
	boot.agent.phases.at_ms[PHASE_KERNEL] = uptime_ms();
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		struct error err = { 0 };
		if (steps[i].run(&boot, &err) < 0)
			fail(&boot, steps[i].name, &err);
	}
	start_agent(&boot);
	hand_over(&boot);
}
