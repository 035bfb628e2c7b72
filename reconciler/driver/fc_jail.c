/* Theory of operation: as root and for a VM with a user of its own, Firecracker is started by its
 * jailer when that is installed. What the machine is made of lies in the jail under fixed names, so
 * what Firecracker is told of it is the same for every VM; its root is the working directory, so
 * that names need no path. The VM's directory has links to the sockets inside, and nothing that the
 * jailed process may put in their place leads out (sys/unix.h).
 *
 * Who it is: the jailer hands on its --id, which says how the VM was started, and its standard
 * descriptors. The lock is one of them, so it is held from before the jailer's first step until
 * Firecracker ends, as without a jail: there is no moment in which a second one could be started.
 * And no other process has the VM's jail for its root directory, by which it is found in /proc
 * (find.c): a command line alone could be anybody's. */
#include "driver/fc.h"
#include "driver/cgroup.h"
#include "driver/jail.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define JAILER	    "jailer"
#define ROOT_DEVICE "/root.dev" /* a path, as it grows by other means than a file does */
#define MODULES	    "modules.ext4"
/* What Firecracker itself may need beside the guest's memory, its cache of disks not counted, which
 * the kernel takes back; and threads beside a guest's processors. */
#define OVERHEAD	 (128 * MIB)
#define THREADS		 32
#define WEIGHT_PER_VCPU	 100
#define PROBE_TIMEOUT_MS 10000

/* --- is there a jailer? --- */

/* Releases are firecracker-v1.9.1-x86_64 and jailer-v1.9.1-x86_64 in one directory. */
static char *jailer_beside(const char *program)
{
	const char *name = strrchr(program, '/') + 1;
	size_t len = strlen(FC_PROGRAM);
	if (strncmp(name, FC_PROGRAM, len) != 0)
		return NULL;
	auto_free char *path =
		xasprintf("%.*s" JAILER "%s", (int)(name - program), program, name + len);
	return proc_find(path);
}

int fc_jailer(const char *program, char **ret, struct error *err)
{
	const char *named = secure_getenv("BANGER_JAILER");
	*ret = named && *named ? proc_find(named) : jailer_beside(program);
	if (!*ret && named && *named)
		return error_set(err, ERROR_NOT_FOUND,
				 "'%s', which BANGER_JAILER names, is not there", named);
	if (!*ret)
		*ret = proc_find(JAILER);
	return 0;
}

int fc_jailer_check(const char *jailer, const char *firecracker_says, struct error *err)
{
	static const char label[] = "Jailer v";
	auto_buf struct buf text = BUF_INIT;
	const char *const argv[] = { jailer, "--version", NULL };
	struct proc_run run = { .argv = argv, .timeout_ms = PROBE_TIMEOUT_MS };
	if (proc_check(&run, &text, err) < 0)
		return -1;
	const char *own =
		!strncmp(text.data, label, strlen(label)) ? text.data + strlen(label) : "";
	size_t len = strcspn(own, " \r\n");
	size_t want = strcspn(firecracker_says, " \r\n");
	if (len && len == want && !strncmp(own, firecracker_says, len))
		return 0;
	return error_set(err, ERROR_CONFLICT,
			 "'%s' is of release '%.*s' and Firecracker is %.*s: take both from one "
			 "release, or name another in BANGER_JAILER",
			 jailer, (int)len, own, (int)want, firecracker_says);
}

/* --- what is in it --- */

/* The machine as it looks from within. */
static int fill(const struct vm_machine *m, int root, struct vm_machine *inner, struct error *err)
{
	uid_t uid = m->user->uid;
	if (jail_give(root, m->dirfd, VM_FILE_CONSOLE_PIPE, uid, err) < 0 ||
	    jail_give(root, m->dirfd, VM_FILE_INITRD, uid, err) < 0)
		return -1;
	if (m->has_work_disk && jail_give(root, m->dirfd, VM_FILE_WORK_DISK, uid, err) < 0)
		return -1;
	if (m->modules_disk && jail_share(root, MODULES, m->dirfd, m->modules_disk, err) < 0)
		return -1;
	if (m->modules_disk)
		inner->modules_disk = MODULES;
	if (m->root_is_qcow2)
		return 0; /* fc_config() says what is wrong with it */
	if (!m->root_device)
		return jail_give(root, m->dirfd, VM_FILE_ROOT_DISK, uid, err);
	inner->root_device = ROOT_DEVICE;
	return jail_device(root, &ROOT_DEVICE[1], m->root_device, uid, err);
}

/* The name that the jailer gives its directory: of the file behind all links. */
static int name_program(struct fc_jail *jail, const char *program, struct error *err)
{
	jail->program = realpath(program, NULL);
	if (!jail->program)
		return error_sys(err, "cannot find '%s'", program);
	jail->program_name = strrchr(jail->program, '/') + 1;
	if (strstr(jail->program_name, FC_PROGRAM))
		return 0;
	return error_set(err, ERROR_INVALID,
			 "the jailer takes only a Firecracker with '" FC_PROGRAM
			 "' in the name of its file: rename '%s'",
			 jail->program);
}

static int link_sockets(const struct fc_jail *jail, int vm_dirfd, struct error *err)
{
	static const char *const names[] = { VM_FILE_API, VM_FILE_VSOCK };
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		auto_free char *to = xasprintf("%s/%s", jail->path.data, names[i]);
		if (symlinkat(to, vm_dirfd, names[i]) < 0)
			return error_sys(err, "cannot link '%s'", names[i]);
	}
	return 0;
}

static int make(struct fc_jail *jail, const struct vm_machine *m, const char *program,
		struct error *err)
{
	if (name_program(jail, program, err) < 0)
		return -1;
	jail->name = fc_id(m);
	jail->base = xasprintf("%s/" VM_FILE_JAIL, m->dir);
	jail_root_path(jail->program_name, jail->name, &jail->path);
	jail->root = jail_make(m->dirfd, jail->program_name, jail->name, err);
	jail->machine = *m;
	if (jail->root < 0)
		return -1;
	FAILPOINT("jail-made");
	if (fill(m, jail->root, &jail->machine, err) < 0)
		return -1;
	FAILPOINT("jail-filled");
	return link_sockets(jail, m->dirfd, err);
}

int fc_jail_make(struct fc_jail *jail, const struct vm_machine *machine, struct error *err)
{
	*jail = FC_JAIL_INIT;
	if (!machine->user)
		return 0;
	auto_free char *program = fc_program(err);
	if (!program || fc_jailer(program, &jail->jailer, err) < 0)
		return -1;
	if (!jail->jailer)
		return 0;
	return make(jail, machine, program, err) < 0 ? error_wrap(err, "jail") : 0;
}

void fc_jail_clear(struct fc_jail *jail)
{
	cleanup_close(&jail->root);
	free(jail->jailer);
	free(jail->program);
	free(jail->name);
	free(jail->base);
	buf_clear(&jail->path);
	*jail = FC_JAIL_INIT;
}

int fc_jail_kernel(const struct fc_jail *jail, const char **kernel, struct error *err)
{
	if (!strcmp(*kernel, VM_FILE_KERNEL))
		return jail_give(jail->root, jail->machine.dirfd, VM_FILE_KERNEL,
				 jail->machine.user->uid, err);
	int failed = jail_share(jail->root, VM_FILE_KERNEL, jail->machine.dirfd, *kernel, err);
	*kernel = VM_FILE_KERNEL;
	return failed;
}

/* --- how the jailer is called --- */

DEFINE_VEC(argument_vec, char *)

static void push(struct argument_vec *args, const char *option, char *value_taken)
{
	argument_vec_push(args, xstrdup(option));
	if (value_taken)
		argument_vec_push(args, value_taken);
}

static void push_limit(struct argument_vec *args, const char *controller, const char *file,
		       uint64_t value)
{
	if (cgroup_can(controller))
		push(args, "--cgroup", xasprintf("%s.%s=%" PRIu64, controller, file, value));
}

static void push_limits(struct argument_vec *args, const struct vm_machine *m)
{
	uint64_t memory = m->memory_max > m->memory ? m->memory_max : m->memory;
	if (!cgroup_can(NULL))
		return;
	push(args, "--cgroup-version", xstrdup("2"));
	push(args, "--parent-cgroup", xstrdup(CGROUP_PARENT));
	push_limit(args, "memory", "max", memory + OVERHEAD);
	push_limit(args, "pids", "max", (uint64_t)m->vcpus + THREADS);
	push_limit(args, "cpu", "weight", (uint64_t)m->vcpus * WEIGHT_PER_VCPU);
}

/* The log is relative to the jail: it is the same pipe that the console goes to. */
char **fc_jail_argv(const struct fc_jail *jail)
{
	struct argument_vec args = { 0 };
	const struct vm_machine *m = &jail->machine;
	push(&args, jail->jailer, NULL);
	push(&args, "--id", xstrdup(jail->name));
	push(&args, "--exec-file", xstrdup(jail->program));
	push(&args, "--uid", xasprintf("%u", (unsigned)m->user->uid));
	push(&args, "--gid", xasprintf("%u", (unsigned)m->user->gid));
	push(&args, "--chroot-base-dir", xstrdup(jail->base));
	push_limits(&args, m);
	push(&args, "--", NULL);
	push(&args, "--log-path", xstrdup(VM_FILE_CONSOLE_PIPE));
	push(&args, "--level", xstrdup("Warning"));
	push(&args, "--api-sock", xstrdup(VM_FILE_API));
	argument_vec_push(&args, NULL);
	return args.at;
}
