/* Theory of operation: as with QEMU, the command line is the VM's record on the host, but there is
 * little room on it: the machine itself is told over the API. So --id, which Firecracker only
 * repeats, says how the VM was started ("banger-ab12-c2-m512-x1024-n1": CPUs, MiB, MiB with what
 * can be plugged, nat), and the path of the log whose it is. The other paths are relative to the
 * VM's directory, the working directory, as a socket's path has to be short. In a jail the log's
 * path is relative as well, and whose it is says its root directory (fc_jail.c).
 *
 * The console is a FIFO that the process has open in both directions: it never waits for a reader,
 * loses what nobody reads, and the kernel bounds it. The log goes there too: a guest can make it
 * long, and what it says belongs beside the guest's last words. */
#include "driver/fc.h"
#include "driver/find.h"
#include "driver/jail.h"
#include "driver/scan.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define ID_PREFIX "banger-"

static const char *program_name(void)
{
	const char *path = secure_getenv("BANGER_FIRECRACKER");
	return path && *path ? path : FC_PROGRAM;
}

char *fc_program(struct error *err)
{
	const char *name = program_name();
	char *path = proc_find(name);
	if (!path)
		error_set(err, ERROR_NOT_FOUND,
			  "'%s' is not there: Debian has no package of it; put a release of "
			  "github.com/firecracker-microvm/firecracker into PATH, or name it in "
			  "BANGER_FIRECRACKER",
			  name);
	return path;
}

char *fc_id(const struct vm_machine *m)
{
	return xasprintf(ID_PREFIX "%s-c%u-m%" PRIu64 "-x%" PRIu64 "-n%d", m->id, m->vcpus,
			 m->memory / MIB, m->memory_max / MIB, m->nat);
}

char **fc_argv(const struct vm_machine *m)
{
	char *const args[] = {
		xstrdup(program_name()),
		xstrdup("--id"),
		fc_id(m),
		xstrdup("--log-path"),
		xasprintf("%s/" VM_FILE_CONSOLE_PIPE, m->dir),
		xstrdup("--level"),
		xstrdup("Warning"),
		xstrdup("--api-sock"),
		xstrdup(VM_FILE_API),
		NULL,
	};
	char **copy = xcalloc(ARRAY_COUNT(args), sizeof(*copy));
	memcpy(copy, args, sizeof(args));
	return copy;
}

bool fc_id_parse(const char *text, struct hv_process *ret)
{
	char id[sizeof(ret->id)];
	uint64_t vcpus, memory, most, nat;
	if (!scan_text(&text, ID_PREFIX) ||
	    !scan_word(&text, "0123456789abcdefghijklmnopqrstuvwxyz", id, sizeof(id)) ||
	    !scan_text(&text, "-c") || !scan_number(&text, 10, UINT32_MAX, &vcpus) ||
	    !scan_text(&text, "-m") || !scan_number(&text, 10, UINT32_MAX, &memory) ||
	    !scan_text(&text, "-x") || !scan_number(&text, 10, UINT32_MAX, &most) ||
	    !scan_text(&text, "-n") || !scan_number(&text, 10, 1, &nat) || *text)
		return false;
	str_copy(ret->id, sizeof(ret->id), id);
	ret->vcpus = (uint32_t)vcpus;
	ret->memory = memory * MIB;
	ret->memory_max = most * MIB;
	ret->nat = nat;
	return true;
}

bool fc_cmdline_parse(const char *cmdline, size_t len, struct hv_process *ret,
		      struct buf *ret_vms_dir)
{
	const char *at = cmdline, *end = cmdline + len, *option, *value;
	struct hv_process path = { .pidfd = -1 };
	bool has_id = false, has_path = false, jailed = false, jailer = false;
	*ret = (struct hv_process){ .pidfd = -1, .accel = ACCEL_KVM };
	const char *program = find_argument(&at, end), *id = NULL;
	while ((option = find_argument(&at, end)) && (value = find_argument(&at, end))) {
		if (!strcmp(option, "--id"))
			has_id = fc_id_parse(id = value, ret);
		else if (!strcmp(option, "--log-path") && !strcmp(value, VM_FILE_CONSOLE_PIPE))
			jailed = true;
		else if (!strcmp(option, "--log-path"))
			has_path = find_our_path(value, VM_FILE_CONSOLE_PIPE, &path, ret_vms_dir);
		else if (!strcmp(option, "--chroot-base-dir")) /* the jailer, on its way */
			has_path = jailer = find_our_path(value, VM_FILE_JAIL, &path, ret_vms_dir);
	}
	ret->is_jailer = jailer;
	if (has_id && has_path)
		return !strcmp(ret->id, path.id);
	if (!has_id || !jailed || program[0] != '/' || strchr(program + 1, '/'))
		return false;
	buf_reset(ret_vms_dir);
	jail_root_path(program + 1, id, ret_vms_dir);
	return ret->jailed = true;
}

/* Releases are called firecracker-v1.9.1-x86_64, and the user's own may be called anything. */
static bool is_firecracker(const char *exe, const char *argv0)
{
	const char *slash = strrchr(argv0, '/'), *called = slash ? slash + 1 : argv0;
	size_t len = strlen(called);
	return !strncmp(exe, FC_PROGRAM, strlen(FC_PROGRAM)) ||
	       (!strncmp(exe, called, len) && (!exe[len] || exe[len] == ' '));
}

/* The mark is there from before a process until its guest was started. */
static bool waits_to_be_told(const char *state_vms_dir, const char *id)
{
	auto_free char *path = xasprintf("%s/%s/" VM_FILE_STARTING, state_vms_dir, id);
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int fc_find_in(int proc_dirfd, const char *state_vms_dir, struct hv_process_vec *ret,
	       struct error *err)
{
	static const struct find_rules rules = { fc_cmdline_parse, is_firecracker };
	size_t first = ret->count;
	if (find_processes(&rules, proc_dirfd, state_vms_dir, ret, err) < 0)
		return -1;
	for (; first < ret->count; first++) {
		struct hv_process *found = &ret->at[first];
		found->unborn = waits_to_be_told(state_vms_dir, found->id);
		found->stopped = proc_is_stopped(proc_dirfd, found->pid);
	}
	return 0;
}
