/* What the host's kernel must be able to do. Modules are loaded by it or by us when they are first
 * used: that one is not loaded yet is no fault, that it is nowhere is one. */
#include "daemon/doctor.h"
#include "driver/dm.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MODPROBE_MS   10000
#define TUN_DIRECTORY "/dev/net"
#define TUN	      TUN_DIRECTORY "/tun"
#define FORWARDING    "/proc/sys/net/ipv4/ip_forward"

/* --- acceleration --- */

static void look_kvm(const struct doctor *doctor, const struct doctor_row *row, struct finding *ret)
{
	struct error err;
	enum accel accel;
	(void)row;
	if (accel_choose(doctor->ledger->host->cache, &accel, &ret->detail, &err) < 0) {
		finding_set(ret, HEALTH_FAIL, "%s", err.text);
		buf_add(&ret->fix, "set BANGER_ACCEL=tcg, or mend /dev/kvm");
	} else if (accel != ACCEL_KVM) {
		ret->health = HEALTH_WARN;
	}
	if (ret->health != HEALTH_PASS && access("/dev/kvm", F_OK) == 0 &&
	    access("/dev/kvm", R_OK | W_OK) < 0)
		buf_add(&ret->fix, "join its group, usermod -aG kvm USER, and log in again");
}

static bool is_loaded(const char *module)
{
	auto_free char *path = xasprintf("/sys/module/%s", module);
	return access(path, F_OK) == 0;
}

/* bangerd keeps no right to load modules: the kernel loads most of them by itself, and this works
 * where it was given that right. */
static int load_module(const char *module, struct buf *ret_done, struct error *err)
{
	if (is_loaded(module))
		return 0;
	const char *const argv[] = { "modprobe", "--", module, NULL };
	const struct proc_run run = { .argv = argv, .timeout_ms = MODPROBE_MS };
	if (proc_check(&run, NULL, err) < 0)
		return error_wrap(err, "cannot load the module '%s'", module);
	buf_addf(ret_done, "loaded the kernel's module '%s'", module);
	return 0;
}

static int mend_kvm(const struct doctor *doctor, const struct doctor_row *row, struct buf *ret_done,
		    struct error *err)
{
	static const char *const modules[] = { "kvm_intel", "kvm_amd" };
	(void)doctor;
	(void)row;
	if (geteuid() != 0 || access("/dev/kvm", F_OK) == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_COUNT(modules); i++)
		if (load_module(modules[i], ret_done, err) == 0)
			return 0;
	return -1;
}

/* --- modules --- */

/* "/lib/modules/…/tun.ko" or "(builtin)"; false: there is no such file, or nobody to say. */
static bool module_file(const char *module, struct buf *ret)
{
	const char *const argv[] = { "modinfo", "-F", "filename", module, NULL };
	const struct proc_run run = { .argv = argv, .timeout_ms = MODPROBE_MS };
	struct error ignored;
	if (proc_check(&run, ret, &ignored) < 0)
		return false;
	ret->data[strcspn(ret->data, "\n")] = '\0';
	return ret->data[0] == '(' || access(ret->data, R_OK) == 0;
}

static void look_module(const struct doctor *doctor, const struct doctor_row *row,
			struct finding *ret)
{
	(void)doctor;
	auto_buf struct buf file = BUF_INIT;
	if (is_loaded(row->what))
		finding_set(ret, HEALTH_PASS, "loaded");
	else if (module_file(row->what, &file))
		finding_set(ret, HEALTH_PASS, "%s", file.data[0] == '(' ? "built in" : file.data);
	else
		finding_set(ret, row->if_missing, "the kernel has no module '%s': %s", row->what,
			    row->without);
	if (ret->health != HEALTH_PASS)
		buf_addf(&ret->fix, "install all modules of this kernel, or boot one that has '%s'",
			 row->what);
}

/* --- devices: of those that are there some only open when their module can be loaded --- */

static void look_device(const struct doctor *doctor, const struct doctor_row *row,
			struct finding *ret)
{
	(void)doctor;
	auto_close int fd = open(row->what, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		finding_set(ret, HEALTH_PASS, "%s", row->what);
	else
		finding_set(ret, row->if_missing, "cannot open '%s', %s: %s", row->what,
			    strerror(errno), row->without);
}

/* Snapshots, and the loop devices below them. */
static bool wants_snapshots(struct finding *ret)
{
	if (dm_possible())
		return true;
	finding_set(ret, HEALTH_PASS, "not used without device-mapper");
	return false;
}

static void look_snapshot(const struct doctor *doctor, const struct doctor_row *row,
			  struct finding *ret)
{
	if (wants_snapshots(ret))
		look_module(doctor, row, ret);
}

static void look_loop(const struct doctor *doctor, const struct doctor_row *row,
		      struct finding *ret)
{
	if (wants_snapshots(ret))
		look_device(doctor, row, ret);
}

static int mend_dm(const struct doctor *doctor, const struct doctor_row *row, struct buf *ret_done,
		   struct error *err)
{
	(void)doctor;
	(void)row;
	return load_module("dm_mod", ret_done, err);
}

static int mend_loop(const struct doctor *doctor, const struct doctor_row *row,
		     struct buf *ret_done, struct error *err)
{
	(void)doctor;
	(void)row;
	return load_module("loop", ret_done, err);
}

/* Where nobody keeps /dev the node is made as the kernel's documentation says (tuntap.rst). */
static int mend_tun(const struct doctor *doctor, const struct doctor_row *row, struct buf *ret_done,
		    struct error *err)
{
	(void)doctor;
	(void)row;
	if (load_module("tun", ret_done, err) < 0)
		return -1;
	if (access(TUN, F_OK) == 0)
		return 0;
	if ((mkdir(TUN_DIRECTORY, 0755) < 0 && errno != EEXIST) ||
	    mknod(TUN, S_IFCHR | 0666, makedev(10, 200)) < 0 || chmod(TUN, 0666) < 0)
		return error_sys(err, "cannot make '" TUN "'");
	buf_addf(ret_done, "%smade '" TUN "'", ret_done->len ? ", " : "");
	return 0;
}

/* --- settings --- */

static void look_forwarding(const struct doctor *doctor, const struct doctor_row *row,
			    struct finding *ret)
{
	char on = '0';
	(void)doctor;
	(void)row;
	auto_close int fd = open(FORWARDING, O_RDWR | O_CLOEXEC);
	if (fd < 0 || read(fd, &on, 1) != 1)
		finding_set(ret, HEALTH_FAIL,
			    "cannot change '" FORWARDING "', %s: no nat and no ports",
			    strerror(errno));
	else if (on == '1')
		finding_set(ret, HEALTH_PASS, "on");
	else
		finding_set(ret, HEALTH_PASS, "off, and on while a VM has nat or ports");
}

#define NO_SNAPSHOT "system disks are qcow2 files then, or need a file system with reflinks"

const struct doctor_row doctor_kernel[] = {
	{ .check = "acceleration",
	  .modes = IN_BOTH,
	  .look = look_kvm,
	  .mend = mend_kvm,
	  .fix = "guests run emulated, several times slower; a working /dev/kvm makes them fast" },
	{ .check = "device-mapper",
	  .modes = IN_SYSTEM,
	  .look = look_device,
	  .mend = mend_dm,
	  .what = DM_DIR "/control",
	  .if_missing = HEALTH_WARN,
	  .without = NO_SNAPSHOT,
	  .fix = "modprobe dm_mod" },
	{ .check = "dm-snapshot",
	  .modes = IN_SYSTEM,
	  .look = look_snapshot,
	  .what = "dm_snapshot",
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM whose system disk is a snapshot starts" },
	{ .check = "loop",
	  .modes = IN_SYSTEM,
	  .look = look_loop,
	  .mend = mend_loop,
	  .what = "/dev/loop-control",
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM whose system disk is a snapshot starts",
	  .fix = "modprobe loop" },
	{ .check = "tun",
	  .modes = IN_SYSTEM,
	  .look = look_device,
	  .mend = mend_tun,
	  .what = TUN,
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM can be on the bridge",
	  .fix = "modprobe tun; mkdir -p " TUN_DIRECTORY "; mknod -m 666 " TUN " c 10 200" },
	{ .check = "bridge",
	  .modes = IN_SYSTEM,
	  .look = look_module,
	  .what = "bridge",
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM can be on it" },
	{ .check = "nftables",
	  .modes = IN_SYSTEM,
	  .look = look_module,
	  .what = "nf_tables",
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM can be on the bridge" },
	{ .check = "forwarding",
	  .modes = IN_SYSTEM,
	  .look = look_forwarding,
	  .fix = "mount /proc/sys writable, as outside of a container" },
	{ .check = NULL },
};
