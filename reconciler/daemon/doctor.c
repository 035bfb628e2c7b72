/* doctor: what this host needs for VMs to run, a row a check, each with its remedy. */
#include "daemon/bangerd.h"
#include "base/fs.h"
#include "base/units.h"
#include "sys/proc.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum health { HEALTH_PASS, HEALTH_WARN, HEALTH_FAIL };

static void add(cJSON *items, const char *check, enum health health, const char *detail,
		const char *fix)
{
	static const char *const words[] = { "pass", "warn", "fail" };
	cJSON *item = cJSON_CreateObject();
	json_add_str(item, "check", check);
	json_add_str(item, "status", words[health]);
	json_add_str(item, "detail", detail);
	json_add_str(item, "fix", health == HEALTH_PASS ? NULL : fix);
	cJSON_AddItemToArray(items, item);
}

static void check_hypervisor(cJSON *items)
{
	auto_buf struct buf detail = BUF_INIT;
	struct error err;
	if (hv_qemu.probe(&detail, &err) < 0)
		add(items, "hypervisor", HEALTH_FAIL, err.text,
		    "apt-get install qemu-system-x86 qemu-utils");
	else
		add(items, "hypervisor", HEALTH_PASS, detail.data, NULL);
}

/* Nobody has to have it. */
static void check_firecracker(cJSON *items)
{
	auto_buf struct buf detail = BUF_INIT;
	struct error err;
	if (hv_firecracker.probe(&detail, &err) == 0)
		add(items, "firecracker", HEALTH_PASS, detail.data, NULL);
	else if (err.code == ERROR_NOT_FOUND)
		add(items, "firecracker", HEALTH_PASS,
		    "not installed, which only 'hypervisor: firecracker' needs", NULL);
	else
		add(items, "firecracker", HEALTH_WARN, err.text,
		    "install another release, or let BANGER_FIRECRACKER name one");
}

static void check_accel(struct bangerd *d, cJSON *items)
{
	auto_buf struct buf detail = BUF_INIT;
	struct error err;
	enum accel accel;
	if (accel_choose(d->host.cache, &accel, &detail, &err) < 0)
		add(items, "acceleration", HEALTH_FAIL, err.text, "set BANGER_ACCEL=tcg");
	else
		add(items, "acceleration", accel == ACCEL_KVM ? HEALTH_PASS : HEALTH_WARN,
		    detail.data,
		    "guests run emulated, several times slower; a working /dev/kvm makes them "
		    "fast");
}

static void check_program(cJSON *items, const char *name, const char *package)
{
	const char *const argv[] = { name, "-V", NULL };
	struct proc_run run = { .argv = argv, .timeout_ms = 5000 };
	struct error err;
	int status;
	auto_free char *fix = xasprintf("apt-get install %s", package);
	/* Any exit status will do: it is there and runs. */
	bool there = proc_run(&run, &status, NULL, NULL, &err) == 0;
	add(items, name, there ? HEALTH_PASS : HEALTH_FAIL, there ? "found" : err.text, fix);
}

static void check_file(cJSON *items, const char *what, const char *path)
{
	struct stat st;
	bool there = stat(path, &st) == 0;
	add(items, what, there ? HEALTH_PASS : HEALTH_FAIL, path,
	    "build it with make, or install banger again; BANGER_SHARE names another place");
}

static void check_space(struct bangerd *d, cJSON *items)
{
	struct statvfs fs;
	char text[UNITS_TEXT_MAX];
	if (statvfs(d->paths.state, &fs) < 0) {
		add(items, "disk space", HEALTH_FAIL, strerror(errno),
		    "make the state directory readable");
		return;
	}
	uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	auto_free char *detail = xasprintf(
		"%s free in %s", units_format_size(bytes / MIB * MIB, text), d->paths.state);
	add(items, "disk space",
	    bytes > 4 * GIB ? HEALTH_PASS
	    : bytes > GIB   ? HEALTH_WARN
			    : HEALTH_FAIL,
	    detail, "free some space, or set XDG_STATE_HOME to a larger file system");
}

static void check_strangers(struct bangerd *d, cJSON *items)
{
	struct hv_process_vec found = { 0 };
	struct error err;
	size_t strangers = 0;
	if (hv_find_all(d->vms_dir, &found, &err) < 0) {
		add(items, "processes", HEALTH_FAIL, err.text, "is /proc mounted?");
		return;
	}
	for (size_t i = 0; i < found.count; i++)
		strangers += !vm_find_id(d, found.at[i].id);
	hv_processes_clear(&found);
	auto_free char *detail = xasprintf("%zu of ours in no record", strangers);
	add(items, "processes", strangers ? HEALTH_WARN : HEALTH_PASS, detail,
	    "see ps -ef for -name guest=banger-…; they hold their VM's disk");
}

HANDLER(rpc_doctor)
{
	(void)err;
	struct bangerd *d = request->d;
	*ret = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(*ret, "items");
	check_hypervisor(items);
	check_firecracker(items);
	check_accel(d, items);
	check_program(items, "qemu-img", "qemu-utils");
	check_program(items, "mke2fs", "e2fsprogs");
	check_program(items, "ssh", "openssh-client");
	check_program(items, "apt-get", "apt");
	check_file(items, "agent", d->agent_cpio);
	auto_free char *recipes = xasprintf("%s/images", d->paths.share);
	check_file(items, "image recipes", recipes);
	check_space(d, items);
	check_strangers(d, items);
	return 0;
}
