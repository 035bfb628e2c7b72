/* A QEMU of somebody else's: which process it is, where its monitor is, and what the command line
 * says that the monitor does not. What the machine is made of asks qemu_machine.c. */
#include "driver/adopt.h"
#include "driver/qemu.h"
#include "driver/qmp.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/proc.h"
#include "sys/unix.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void hv_foreign_clear(struct hv_foreign *foreign)
{
	cleanup_close(&foreign->pidfd);
	free(foreign->name);
	free(foreign->monitor);
	free(foreign->mark);
	free(foreign->ports);
	free(foreign->kernel);
	free(foreign->kernel_args);
	for (size_t i = 0; i < FOREIGN_DISKS; i++) {
		free(foreign->disks[i].path);
		free(foreign->disks[i].base);
	}
	for (size_t i = 0; i < foreign->refusal_count; i++)
		free(foreign->refusals[i]);
	*foreign = HV_FOREIGN_INIT;
}

void hv_foreign_refuse(struct hv_foreign *foreign, const char *fmt, ...)
{
	char text[300];
	va_list args;
	if (foreign->refusal_count == FOREIGN_REFUSALS)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	foreign->refusals[foreign->refusal_count++] = xstrdup(text);
}

/* --- the process --- */

static char *link_of(int proc, pid_t pid, const char *name)
{
	char at[40], path[PATH_MAX];
	snprintf(at, sizeof(at), "%d/%s", (int)pid, name);
	ssize_t len = readlinkat(proc, at, path, sizeof(path) - 1);
	if (len <= 0)
		return NULL;
	path[len] = '\0';
	return xstrdup(path);
}

/* The program may have been replaced by an upgrade: "... (deleted)". */
static bool runs_qemu(int proc, pid_t pid)
{
	auto_free char *exe = link_of(proc, pid, "exe");
	const char *base = exe ? strrchr(exe, '/') : NULL;
	return base && !strncmp(base, "/qemu-system-", strlen("/qemu-system-"));
}

static int check_process(int proc, pid_t pid, struct error *err)
{
	char name[24];
	struct stat st;
	snprintf(name, sizeof(name), "%d", (int)pid);
	if (fstatat(proc, name, &st, 0) < 0 || proc_is_zombie(proc, pid))
		return error_set(err, ERROR_NOT_FOUND, "there is no process %d", (int)pid);
	auto_free char *what = proc_describe(pid);
	if (st.st_uid != geteuid())
		return error_set(err, ERROR_CONFLICT,
				 "%s belongs to another user (uid %u), who may adopt it", what,
				 (unsigned)st.st_uid);
	if (!runs_qemu(proc, pid))
		return error_set(err, ERROR_CONFLICT, "%s is no QEMU", what);
	return 0;
}

/* --- the command line --- */

/* The value of key in "unix:/path,server=on" or "socket,id=m,path=/path"; NULL: it has none. */
static char *part_of(const char *list, const char *key)
{
	size_t len = strlen(key);
	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, key, len))
			return xasprintf("%.*s", (int)strcspn(at + len, ","), at + len);
	}
	return NULL;
}

static char *chardev_path(const struct buf *cmdline, const char *id)
{
	const char *arg = NULL;
	while ((arg = proc_arg_next(cmdline, arg))) {
		if (strcmp(arg, "-chardev") != 0 || !(arg = proc_arg_next(cmdline, arg)))
			continue;
		auto_free char *its = part_of(arg, "id=");
		if (!strncmp(arg, "socket,", 7) && its && !strcmp(its, id))
			return part_of(arg, "path=");
	}
	return NULL;
}

/* -qmp unix:PATH,... or -mon chardev=ID,mode=control. */
static char *monitor_of(const struct buf *cmdline)
{
	const char *arg = NULL;
	while ((arg = proc_arg_next(cmdline, arg))) {
		bool qmp = !strcmp(arg, "-qmp") || !strcmp(arg, "-qmp-pretty");
		bool mon = !strcmp(arg, "-mon");
		if ((!qmp && !mon) || !(arg = proc_arg_next(cmdline, arg)))
			continue;
		if (qmp && !strncmp(arg, "unix:", 5))
			return part_of(arg, "unix:");
		auto_free char *mode = mon ? part_of(arg, "mode=") : NULL;
		auto_free char *id = mon ? part_of(arg, "chardev=") : NULL;
		if (!id && mon)
			id = xasprintf("%.*s", (int)strcspn(arg, ","), arg);
		char *path = mode && !strcmp(mode, "control") ? chardev_path(cmdline, id) : NULL;
		if (path)
			return path;
	}
	return NULL;
}

char *foreign_path(int proc, pid_t pid, const char *path)
{
	auto_free char *cwd = path[0] == '/' ? NULL : link_of(proc, pid, "cwd");
	auto_free char *whole = cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);
	char *real = realpath(whole, NULL);
	return real ? real : take_ptr(&whole);
}

/* What every guest of banger's is told anyway, or is the initrd's business. */
static bool said_by_banger(const char *word)
{
	static const char *const whole[] = { "console=ttyS0",	 "quiet", "panic=-1", "rw", "ro",
					     "cryptomgr.notests" };
	for (size_t i = 0; i < ARRAY_COUNT(whole); i++)
		if (!strcmp(word, whole[i]))
			return true;
	return !strncmp(word, "root=", 5) || !strncmp(word, "rootfstype=", 11);
}

static void take_kernel(int proc, const struct buf *cmdline, struct hv_foreign *ret)
{
	const char *kernel = proc_arg_after(cmdline, "-kernel");
	const char *append = proc_arg_after(cmdline, "-append");
	auto_buf struct buf args = BUF_INIT;
	if (kernel)
		ret->kernel = foreign_path(proc, ret->pid, kernel);
	else
		hv_foreign_refuse(ret, "it boots from its disk and not by -kernel");
	auto_free char *words = xstrdup(append ? append : "");
	char *rest = words;
	for (char *word; (word = strsep(&rest, " "));)
		if (word[0] && !said_by_banger(word))
			buf_addf(&args, "%s%s", args.len ? " " : "", word);
	ret->kernel_args = buf_take(&args);
}

/* --- who is meant --- */

static int pid_of_socket(const char *socket, pid_t *ret, struct error *err)
{
	uid_t uid;
	auto_close int fd = unix_connect(AT_FDCWD, socket, 1000, 0, err);
	if (fd >= 0)
		return unix_peer(fd, ret, &uid, err);
	if (err->sys == ENOENT || err->sys == ECONNREFUSED)
		return error_set(err, ERROR_NOT_FOUND, "nobody listens on '%s'", socket);
	return -1;
}

static int check_not_ours(const struct buf *cmdline, const char *vms_dir, pid_t pid,
			  struct error *err)
{
	auto_buf struct buf dir = BUF_INIT;
	struct hv_process process;
	if (!qemu_cmdline_parse(cmdline->data, cmdline->len, &process, &dir))
		return 0;
	auto_free char *theirs = realpath(dir.data, NULL);
	auto_free char *ours = realpath(vms_dir, NULL);
	if (theirs && ours && !strcmp(theirs, ours))
		return error_set(err, ERROR_CONFLICT, "process %d is banger's already", (int)pid);
	return 0;
}

static int find_monitor(int proc, const struct buf *cmdline, struct hv_foreign *ret,
			struct error *err)
{
	ret->mark = monitor_of(cmdline);
	if (!ret->mark)
		return error_set(err, ERROR_CONFLICT,
				 "process %d has no monitor on a unix socket: start it with -qmp "
				 "unix:PATH,server=on,wait=off",
				 (int)ret->pid);
	ret->monitor = foreign_path(proc, ret->pid, ret->mark);
	return 0;
}

static int ask_machine(int proc, uint64_t timeout_ms, struct hv_foreign *ret, struct error *err)
{
	auto_qmp struct qmp qmp = QMP_INIT;
	auto_free char *dir = xstrdup(ret->monitor);
	char *slash = strrchr(dir, '/');
	*slash = '\0';
	auto_close int fd = open(dir[0] ? dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, "cannot open '%s'", dir);
	if (qmp_open_at(fd, slash + 1, -1, timeout_ms, &qmp, err) < 0) {
		if (err->code != ERROR_TIMEOUT)
			return error_wrap(err, "monitor '%s'", ret->monitor);
		return error_set(err, ERROR_TIMEOUT,
				 "monitor '%s' of process %d does not answer: it serves one client "
				 "at a time, and another one seems to hold it",
				 ret->monitor, (int)ret->pid);
	}
	return qemu_ask_machine(&qmp, proc, ret, err);
}

int qemu_inspect(pid_t pid, const char *socket, const char *vms_dir, uint64_t timeout_ms,
		 struct hv_foreign *ret, struct error *err)
{
	auto_buf struct buf cmdline = BUF_INIT;
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return error_sys(err, "cannot open '/proc'");
	if (!pid && pid_of_socket(socket, &pid, err) < 0)
		return -1;
	ret->pid = pid;
	ret->pidfd = proc_pidfd(pid);
	if (check_process(proc, pid, err) < 0)
		return -1;
	if (ret->pidfd < 0 || proc_cmdline(proc, pid, &cmdline) < 0 ||
	    proc_start_ticks(proc, pid, &ret->start_ticks) < 0)
		return error_sys(err, "cannot look at process %d", (int)pid);
	if (check_not_ours(&cmdline, vms_dir, pid, err) < 0 ||
	    find_monitor(proc, &cmdline, ret, err) < 0)
		return -1;
	take_kernel(proc, &cmdline, ret);
	return ask_machine(proc, timeout_ms, ret, err);
}

bool qemu_recognise(pid_t pid, uint64_t start_ticks, const char *mark, struct hv_process *ret)
{
	struct error ignored;
	auto_buf struct buf cmdline = BUF_INIT;
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int pidfd = proc_pidfd(pid);
	uint64_t ticks;
	if (proc < 0 || pidfd < 0 || check_process(proc, pid, &ignored) < 0 ||
	    proc_start_ticks(proc, pid, &ticks) < 0 || ticks != start_ticks ||
	    proc_cmdline(proc, pid, &cmdline) < 0)
		return false;
	auto_free char *monitor = monitor_of(&cmdline);
	if (!monitor || strcmp(monitor, mark) != 0 || proc_wait_gone(pidfd, 0) == 0)
		return false;
	*ret = (struct hv_process){ .pid = pid,
				    .pidfd = take_fd(&pidfd),
				    .start_ticks = start_ticks };
	return true;
}

int qemu_power_button(int vm_dirfd, uint64_t timeout_ms, struct error *err)
{
	auto_qmp struct qmp qmp = QMP_INIT;
	if (qmp_open(vm_dirfd, -1, timeout_ms, &qmp, err) < 0)
		return -1;
	return qmp_command(&qmp, "system_powerdown", NULL, NULL, err);
}
