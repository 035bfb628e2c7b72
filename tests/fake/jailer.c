/* A scripted stand-in for Firecracker's jailer: what the real one (src/jailer, 1.5 to 1.17) does as
 * far as its caller and the jailed process see it. It holds its arguments against those that the
 * real one documents, keeps no descriptor but the standard three and none of the environment, lays
 * out the jail, writes the limits into a cgroup of version 2 and enters it, and becomes the
 * program, which has its own root directory and user. As the stand-in for Firecracker needs its
 * libraries first, it takes the last step itself: into the new root, and out of root's rights
 * (FAKE_JAIL).
 *
 * How it behaves stands in the file that $FAKE_JAILER names:
 *   version 1.13.0   what it is (as the script of the stand-in for Firecracker says)
 *   fail STAGE       args, layout, copy, cgroup, chroot, devices: ends there with an error
 *   hang STAGE       sleeps there
 *   kill STAGE       kills itself there */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CGROUPS	 "/sys/fs/cgroup"
#define LIMITS	 8

extern char **environ;

static char version[32] = "1.17.0", fault_kind[8], fault_stage[16];

static struct {
	const char *id, *exec_file, *uid, *gid, *base, *netns, *cgroup_version, *parent;
	const char *limits[LIMITS], *resources[LIMITS];
	size_t limit_count, resource_count;
	char **rest;
} args = { .base = "/srv/jailer", .cgroup_version = "1" };
static const char *name;
static char program[PATH_MAX], root[PATH_MAX + 300];
static unsigned uid, gid;

static _Noreturn void fail(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	fputs("Jailer error: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	va_end(list);
	exit(1);
}

/* The real one's parser speaks on standard output. */
static _Noreturn void refuse(const char *what, const char *argument)
{
	printf("Arguments parsing error: %s '%s'\n\nFor more information try --help.\n", what,
	       argument);
	exit(1);
}

static void read_conf(const char *variable)
{
	const char *path = getenv(variable);
	FILE *file = path ? fopen(path, "re") : NULL;
	char line[200], kind[8], stage[16];
	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "version %31s", version);
		if (sscanf(line, "%7s %15s", kind, stage) == 2 &&
		    (!strcmp(kind, "fail") || !strcmp(kind, "hang") || !strcmp(kind, "kill"))) {
			strcpy(fault_kind, kind);
			strcpy(fault_stage, stage);
		}
	}
	if (file)
		fclose(file);
}

static void stage(const char *which)
{
	if (strcmp(which, fault_stage) != 0)
		return;
	if (!strcmp(fault_kind, "kill"))
		raise(SIGKILL);
	while (!strcmp(fault_kind, "hang"))
		sleep(60);
	if (!strcmp(fault_kind, "fail"))
		fail("told to fail at '%s'", which);
}

/* What the jailed process may not inherit. */
static void sanitize(void)
{
	char script[PATH_MAX] = "";
	const char *given = getenv("FAKE_FIRECRACKER");
	if (given)
		snprintf(script, sizeof(script), "%s", given);
	close_range(3, UINT_MAX, 0);
	clearenv();
	if (script[0])
		setenv("FAKE_FIRECRACKER", script, 1);
}

/* --- arguments --- */

static const struct {
	const char *option;
	const char **to;
} options[] = {
	{ "--id", &args.id },
	{ "--exec-file", &args.exec_file },
	{ "--uid", &args.uid },
	{ "--gid", &args.gid },
	{ "--chroot-base-dir", &args.base },
	{ "--netns", &args.netns },
	{ "--cgroup-version", &args.cgroup_version },
	{ "--parent-cgroup", &args.parent },
};

static void take_option(const char *option, const char *value)
{
	for (size_t i = 0; i < COUNT(options); i++)
		if (!strcmp(options[i].option, option)) {
			*options[i].to = value;
			return;
		}
	bool limit = !strcmp(option, "--cgroup"), resource = !strcmp(option, "--resource-limit");
	if (!limit && !resource)
		refuse("Found argument which wasn't expected:", option);
	if (limit && args.limit_count < LIMITS)
		args.limits[args.limit_count++] = value;
	else if (resource && args.resource_count < LIMITS)
		args.resources[args.resource_count++] = value;
}

static void parse(int argc, char **argv)
{
	static char *none[] = { NULL };
	args.rest = none;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--version")) {
			printf("Jailer v%s\n", version);
			exit(0);
		}
		if (!strcmp(argv[i], "--")) {
			args.rest = argv + i + 1;
			break;
		}
		if (!strcmp(argv[i], "--daemonize") || !strcmp(argv[i], "--new-pid-ns"))
			fail("the stand-in cannot do '%s'", argv[i]);
		if (i + 1 == argc || !strncmp(argv[i + 1], "--", 2))
			refuse("The argument requires a value, but none was supplied:", argv[i]);
		take_option(argv[i], argv[i + 1]);
		i++;
	}
	if (!args.id || !args.exec_file || !args.uid || !args.gid)
		refuse("Argument required, but not found:", "id, exec-file, uid, gid");
}

static unsigned number(const char *text, const char *what)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || value > UINT_MAX)
		fail("Invalid %s: %s", what, text);
	return (unsigned)value;
}

static void check_id(void)
{
	size_t len = strlen(args.id);
	if (!len || len > 64)
		fail("Invalid instance ID: the length is %zu", len);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)args.id[i]) && args.id[i] != '-')
			fail("Invalid instance ID: '%c'", args.id[i]);
}

static void check_limits(void)
{
	if (strcmp(args.cgroup_version, "1") != 0 && strcmp(args.cgroup_version, "2") != 0)
		fail("%s is an invalid cgroup version specifier", args.cgroup_version);
	if (args.parent && (args.parent[0] == '/' || strstr(args.parent, "..")))
		fail("Parent cgroup path is invalid");
	for (size_t i = 0; i < args.limit_count; i++) {
		const char *text = args.limits[i], *equals = strchr(text, '='),
			   *dot = strchr(text, '.');
		if (!equals || !equals[1] || strchr(equals + 1, '='))
			fail("Invalid format for cgroups: %s", text);
		if (!dot || dot > equals)
			fail("Cgroup invalid file: %s", text);
	}
	for (size_t i = 0; i < args.resource_count; i++)
		if (strncmp(args.resources[i], "fsize=", 6) != 0 &&
		    strncmp(args.resources[i], "no-file=", 8) != 0)
			fail("Invalid resource argument: %s", args.resources[i]);
}

static void check(void)
{
	struct stat st;
	char base[PATH_MAX];
	stage("args");
	check_id();
	if (!realpath(args.exec_file, program) || stat(program, &st) < 0)
		fail("Failed to canonicalize path %s: %s", args.exec_file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		fail("%s is not a file", program);
	name = strrchr(program, '/') + 1;
	if (!strstr(name, "firecracker"))
		fail("Invalid filename. The filename of `--exec-file` option must contain "
		     "\"firecracker\": %s",
		     name);
	if (!realpath(args.base, base))
		fail("Failed to canonicalize path %s: %s", args.base, strerror(errno));
	snprintf(root, sizeof(root), "%s/%s/%s/root", base, name, args.id);
	uid = number(args.uid, "uid");
	gid = number(args.gid, "gid");
	check_limits();
}

/* --- the jail --- */

static void make_directories(const char *path)
{
	char part[PATH_MAX + 300];
	snprintf(part, sizeof(part), "%s", path);
	for (char *at = part + 1; *at; at++)
		if (*at == '/') {
			*at = '\0';
			mkdir(part, 0755);
			*at = '/';
		}
	if (mkdir(part, 0755) < 0 && errno != EEXIST)
		fail("Failed to create directory %s: %s", part, strerror(errno));
}

static void copy_program(void)
{
	char to[PATH_MAX + 600], chunk[65536];
	snprintf(to, sizeof(to), "%s/%s", root, name);
	int in = open(program, O_RDONLY | O_CLOEXEC),
	    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	ssize_t got = -1;
	while (in >= 0 && out >= 0 && (got = read(in, chunk, sizeof(chunk))) > 0)
		if (write(out, chunk, (size_t)got) != got)
			fail("Failed to copy %s: %s", program, strerror(errno));
	if (got < 0)
		fail("Failed to copy %s to %s: %s", program, to, strerror(errno));
	close(in);
	close(out);
}

static int put(const char *directory, const char *file, const char *text)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", directory, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done = fd < 0 ? -1 : write(fd, text, strlen(text));
	int saved = errno;
	close(fd);
	errno = saved;
	return done < 0 ? -1 : 0;
}

static void set_limit(const char *parent, const char *own, const char *limit)
{
	char file[64], enable[64];
	snprintf(file, sizeof(file), "%.*s", (int)strcspn(limit, "="), limit);
	snprintf(enable, sizeof(enable), "+%.*s", (int)strcspn(limit, "."), limit);
	make_directories(own);
	if (put(CGROUPS, "cgroup.subtree_control", enable) < 0 ||
	    put(parent, "cgroup.subtree_control", enable) < 0 ||
	    put(own, file, strchr(limit, '=') + 1) < 0)
		fail("Failed to write to %s/%s: %s", own, file, strerror(errno));
}

static void enter_cgroup(void)
{
	char parent[PATH_MAX / 2], own[PATH_MAX], pid[16];
	if (!args.limit_count)
		return;
	if (strcmp(args.cgroup_version, "2") != 0 ||
	    access(CGROUPS "/cgroup.controllers", R_OK) < 0)
		fail("Hierarchy not found: No hierarchy found for this cgroup version.");
	snprintf(parent, sizeof(parent), CGROUPS "/%s", args.parent ? args.parent : name);
	snprintf(own, sizeof(own), "%s/%s", parent, args.id);
	for (size_t i = 0; i < args.limit_count; i++)
		set_limit(parent, own, args.limits[i]);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (put(own, "cgroup.procs", pid) < 0)
		fail("Failed to write to %s/cgroup.procs: %s", own, strerror(errno));
}

/* All but the last step, which is the program's. */
static void change_root(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		fail("Failed to unshare into new mount namespace: %s", strerror(errno));
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		fail("Failed to change the propagation type to slave: %s", strerror(errno));
	if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0)
		fail("Failed to bind mount the jail root directory: %s", strerror(errno));
	if (chdir(root) < 0)
		fail("Failed to change current directory: %s", strerror(errno));
}

static void make_device(const char *path, unsigned major, unsigned minor)
{
	if (mknod(path, S_IFCHR | S_IRUSR | S_IWUSR, makedev(major, minor)) < 0 ||
	    chown(path, uid, gid) < 0)
		fail("Failed to create %s via mknod inside the jail: %s", path, strerror(errno));
}

static void make_devices(void)
{
	static const char *const folders[] = { ".", "dev", "dev/net", "run" };
	for (size_t i = 0; i < COUNT(folders); i++)
		if ((mkdir(folders[i], 0700) < 0 && errno != EEXIST) ||
		    chmod(folders[i], 0700) < 0 || chown(folders[i], uid, gid) < 0)
			fail("Failed to create directory %s: %s", folders[i], strerror(errno));
	make_device("dev/net/tun", 10, 200);
	make_device("dev/kvm", 10, 232);
	make_device("dev/urandom", 1, 9);
}

static void become_program(char **rest)
{
	const char *const own[] = { "--id",
				    args.id,
				    "--start-time-us",
				    "1",
				    "--start-time-cpu-us",
				    "2",
				    "--parent-cpu-time-us",
				    "3" };
	char *argv[64], path[300], called[300], jail[64];
	size_t count = 0;
	snprintf(path, sizeof(path), "./%s", name);
	snprintf(called, sizeof(called), "/%s", name);
	snprintf(jail, sizeof(jail), "%u %u", uid, gid);
	setenv("FAKE_JAIL", jail, 1);
	argv[count++] = called;
	for (size_t i = 0; i < COUNT(own); i++)
		argv[count++] = strdup(own[i]);
	while (*rest && count < COUNT(argv) - 1)
		argv[count++] = *rest++;
	argv[count] = NULL;
	execve(path, argv, environ);
	fail("Failed to exec into Firecracker: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	read_conf("FAKE_FIRECRACKER"); /* of the same release */
	read_conf("FAKE_JAILER");
	sanitize();
	parse(argc, argv);
	check();
	make_directories(root);
	stage("layout");
	copy_program();
	stage("copy");
	enter_cgroup();
	stage("cgroup");
	change_root();
	stage("chroot");
	make_devices();
	stage("devices");
	become_program(args.rest);
}
