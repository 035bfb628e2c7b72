#include "agent/power.h"
#include "agent/console.h"
#include "agent/exec.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/vec.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define REPLY_MS 200
/* Together less than the second that busybox waits before its SIGKILL. */
#define TERM_MS	 700
#define KILL_MS	 100
#define SYNC_MS	 5000
#define FORCE_MS 500
#define STEP_MS	 10

#define MOUNTS_MAX ((size_t)1 << 20)

static void sleep_ms(unsigned ms)
{
	const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
	nanosleep(&time, NULL);
}

void power_request(struct power *power, uint64_t now_ms)
{
	if (power->state != POWER_ON)
		return;
	power->state = POWER_ASKED;
	power->deadline_ms = now_ms + REPLY_MS;
}

/* The program that asks the image's own init; systemd's first, where systemd runs. */
_Noreturn static void exec_image_poweroff(bool by_reset)
{
	const char *const word = by_reset ? "reboot" : "poweroff";
	const char *const systemd[] = { "systemctl", "--no-block", word, NULL };
	const char *const plain[] = { word, NULL };
	static const char *const env[] = { "HOME=/root", EXEC_PATH, NULL };
	static const char *const folders[] = { "/sbin", "/usr/sbin", "/bin", "/usr/bin" };
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	sync();
	if (access("/run/systemd/system", F_OK) == 0) {
		exec_program("/bin/systemctl", systemd, env);
		exec_program("/usr/bin/systemctl", systemd, env);
	}
	for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
		char path[32];
		snprintf(path, sizeof(path), "%s/%s", folders[i], word);
		exec_program(path, plain, env);
	}
	_exit(127);
}

/* An image without an init has this program for it, which has nobody to ask. */
static bool init_is_ours(void)
{
	struct stat init, self;
	return stat("/proc/1/exe", &init) == 0 && stat("/proc/self/exe", &self) == 0 &&
	       init.st_dev == self.st_dev && init.st_ino == self.st_ino;
}

static void ask_image(struct power *power, uint64_t now_ms)
{
	if (init_is_ours())
		power_off_now(power->by_reset);
	pid_t pid = fork();
	if (pid < 0) {
		console_say("cannot fork to power off: %s", strerror(errno));
		power_off_now(power->by_reset);
	}
	if (pid == 0)
		exec_image_poweroff(power->by_reset);
	power->child = pid;
	power->state = POWER_IMAGE;
	bool systemd = access("/run/systemd/system", F_OK) == 0;
	power->deadline_ms = now_ms + (systemd ? POWER_SYSTEMD_MS : POWER_IMAGE_MS);
}

void power_step(struct power *power, uint64_t now_ms, bool flushed)
{
	if (power->state == POWER_ASKED && (flushed || now_ms >= power->deadline_ms)) {
		ask_image(power, now_ms);
		return;
	}
	if (power->state != POWER_IMAGE)
		return;
	int status;
	if (power->child && waitpid(power->child, &status, WNOHANG) == power->child) {
		power->child = 0;
		/* Ended by a signal: by the init it has just asked, most likely. */
		if (WIFEXITED(status) && WEXITSTATUS(status)) {
			console_say("the image's poweroff failed, powering off without it");
			power_off_now(power->by_reset);
		}
	}
	if (now_ms >= power->deadline_ms) {
		console_say("the image has not powered off, doing it without it");
		power_off_now(power->by_reset);
	}
}

static bool init_is_busybox(void)
{
	char path[256];
	ssize_t len = readlink("/proc/1/exe", path, sizeof(path) - 1);
	if (len <= 0)
		return false;
	path[len] = '\0';
	const char *name = strrchr(path, '/');
	return name && !strncmp(name + 1, "busybox", 7);
}

void power_terminated(const struct power *power)
{
	if (power->state != POWER_IMAGE)
		return;
	if (init_is_busybox())
		power_off_now(power->by_reset);
	else
		_exit(0); /* others wait for all to end, this process too */
}

/* Still running, and a process of somebody else: neither init, the kernel's own, nor this one. */
static bool is_other_process(const char *pid_text)
{
	struct error ignored;
	auto_buf struct buf stat = BUF_INIT;
	auto_free char *path = xasprintf("/proc/%s/stat", pid_text);
	if (fs_read(AT_FDCWD, path, 4096, &stat, &ignored) < 0)
		return false;
	/* "12 (name) S 1 …": the name may hold anything, so from the last parenthesis on. */
	const char *rest = strrchr(stat.data, ')');
	if (!rest || strlen(rest) < 5)
		return false;
	char state = rest[2];
	long pid = strtol(pid_text, NULL, 10), parent = strtol(rest + 4, NULL, 10);
	return state != 'Z' && state != 'X' && pid > 2 && parent != 2 && pid != getpid();
}

static bool others_run(void)
{
	auto_dir DIR *dir = opendir("/proc");
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (isdigit((unsigned char)entry->d_name[0]) && is_other_process(entry->d_name))
			return true;
	return false;
}

static void wait_for_others(unsigned timeout_ms)
{
	for (unsigned waited = 0; waited < timeout_ms && others_run(); waited += STEP_MS)
		sleep_ms(STEP_MS);
}

/* A disk that hangs must not keep the machine on. */
static void sync_bounded(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		sync();
		_exit(0);
	}
	for (unsigned waited = 0; pid > 0 && waited < SYNC_MS; waited += STEP_MS) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		sleep_ms(STEP_MS);
	}
}

/* Every filesystem of a disk read-only, so that the next mount has no journal to replay. */
static bool settle_disks(void)
{
	bool settled = true;
	struct error ignored;
	auto_buf struct buf mounts = BUF_INIT;
	if (fs_read(AT_FDCWD, "/proc/self/mounts", MOUNTS_MAX, &mounts, &ignored) < 0)
		return true; /* nothing can be done about them */
	char *rest = mounts.data, *line;
	while ((line = strsep(&rest, "\n"))) {
		const char *device = strsep(&line, " "), *path = strsep(&line, " ");
		if (path && !strncmp(device, "/dev/", 5))
			settled &= mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0;
	}
	return settled;
}

/* Who was killed may still be dying, with a file open, where the machine is slow. The kernel's way
 * for emergencies does not mind. */
static void settle_by_force(void)
{
	auto_close int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "u", 1) != 1)
		return;
	for (unsigned waited = 0; waited < FORCE_MS && !settle_disks(); waited += STEP_MS)
		sleep_ms(STEP_MS);
}

void power_off_now(bool by_reset)
{
	kill(-1, SIGTERM);
	wait_for_others(TERM_MS);
	kill(-1, SIGKILL);
	wait_for_others(KILL_MS);
	sync_bounded();
	if (!settle_disks())
		settle_by_force();
	reboot(by_reset ? RB_AUTOBOOT : RB_POWER_OFF);
	console_say("cannot power off: %s", strerror(errno));
}
