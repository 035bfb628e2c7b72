/* What the host's kernel must be able to do. Modules are loaded by it or by us when they are first
 * used: that one is not loaded yet is no fault, that it is nowhere is one. */
#include "daemon/doctor.h"
#include "driver/dm.h"
#include "driver/net_tables.h"
#include "driver/vm_user.h"
#include "sys/modules.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define TUN_DIRECTORY "/dev/net"
#define TUN	      TUN_DIRECTORY "/tun"
#define FORWARDING    "/proc/sys/net/ipv4/ip_forward"

/* Which of them are there and not loaded? ret->modules begins with the first of those. */
static void offer_modules(const char *const *modules, struct finding *ret)
{
	auto_buf struct buf ignored = BUF_INIT;
	while (*modules && (module_is_loaded(*modules) || !module_find(*modules, &ignored)))
		modules++;
	if (*modules)
		ret->modules = modules;
}

/* --- acceleration --- */

#define CPUINFO_BYTES 8192 /* the first processor's */

/* By what the processor has; without either there is none to load. */
static const char *const *kvm_modules(void)
{
	static const char *const intel[] = { "kvm_intel", NULL },
				 *const amd[] = { "kvm_amd", NULL }, *const none[] = { NULL };
	char text[CPUINFO_BYTES + 1];
	auto_close int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, CPUINFO_BYTES);
	text[got > 0 ? got : 0] = '\0';
	return strstr(text, " vmx") ? intel : strstr(text, " svm") ? amd : none;
}

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
	if (ret->health == HEALTH_PASS)
		return;
	if (access("/dev/kvm", F_OK) < 0)
		offer_modules(kvm_modules(), ret);
	if (ret->modules)
		buf_addf(&ret->fix, "as root: modprobe %s; until then guests run emulated",
			 ret->modules[0]);
	else if (access("/dev/kvm", F_OK) == 0 && access("/dev/kvm", R_OK | W_OK) < 0)
		buf_add(&ret->fix, "join its group, usermod -aG kvm USER, and log in again");
}

/* --- modules --- */

static void look_module(const struct doctor *doctor, const struct doctor_row *row,
			struct finding *ret)
{
	(void)doctor;
	auto_buf struct buf file = BUF_INIT;
	if (module_is_loaded(row->what))
		finding_set(ret, HEALTH_PASS, "loaded");
	else if (module_find(row->what, &file))
		finding_set(ret, HEALTH_PASS, "%s", file.data);
	else
		finding_set(ret, row->if_missing, "the kernel has no module '%s': %s", row->what,
			    row->without);
	if (ret->health != HEALTH_PASS)
		buf_addf(&ret->fix, "install all modules of this kernel, or boot one that has '%s'",
			 row->what);
}

/* Built into a kernel whose indexes nobody installed, as in a container. */
static void look_nftables(const struct doctor *doctor, const struct doctor_row *row,
			  struct finding *ret)
{
	look_module(doctor, row, ret);
	if (ret->health == HEALTH_PASS || !net_tables_possible())
		return;
	buf_reset(&ret->fix);
	finding_set(ret, HEALTH_PASS, "the kernel has it");
}

/* --- devices: of those that are there some only open when their module can be loaded --- */

static void look_device(const struct doctor *doctor, const struct doctor_row *row,
			struct finding *ret)
{
	(void)doctor;
	auto_close int fd = open(row->what, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		finding_set(ret, HEALTH_PASS, "%s", row->what);
		return;
	}
	finding_set(ret, row->if_missing, "cannot open '%s', %s: %s", row->what, strerror(errno),
		    row->without);
	offer_modules(row->modules, ret);
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

/* For us, who make taps, and for the user of a hypervisor, who opens his. */
static void look_tun(const struct doctor *doctor, const struct doctor_row *row, struct finding *ret)
{
	uid_t user;
	struct error err;
	look_device(doctor, row, ret);
	if (ret->health == HEALTH_PASS &&
	    (vm_user_base(&user, &err) < 0 || vm_user_check_tun(user, &err) < 0)) {
		finding_set(ret, HEALTH_FAIL, "%s", err.text);
		buf_add(&ret->fix, "chmod 0666 " TUN);
	}
}

/* Where nobody keeps /dev the node is made as the kernel's documentation says (tuntap.rst). */
static int mend_tun(const struct doctor *doctor, const struct doctor_row *row, struct buf *ret_done,
		    struct error *err)
{
	struct stat st;
	(void)doctor;
	(void)row;
	if (stat(TUN, &st) < 0) {
		if ((mkdir(TUN_DIRECTORY, 0755) < 0 && errno != EEXIST) ||
		    mknod(TUN, S_IFCHR | 0666, makedev(10, 200)) < 0 || chmod(TUN, 0666) < 0)
			return error_sys(err, "cannot make '" TUN "'");
		buf_add(ret_done, "made '" TUN "'");
	} else if (S_ISCHR(st.st_mode) && (st.st_mode & 0666) != 0666) {
		if (chmod(TUN, 0666) < 0)
			return error_sys(err, "cannot change '" TUN "'");
		buf_addf(ret_done, "opened '" TUN "' to all, it was %04o; a tap has its owner",
			 (unsigned)st.st_mode & 07777);
	}
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
	  .fix = "guests run emulated, several times slower; a working /dev/kvm makes them fast" },
	{ .check = "device-mapper",
	  .modes = IN_SYSTEM,
	  .look = look_device,
	  .what = DM_DIR "/control",
	  .modules = (const char *const[]){ "dm_mod", NULL },
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
	  .what = "/dev/loop-control",
	  .modules = (const char *const[]){ "loop", NULL },
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM whose system disk is a snapshot starts",
	  .fix = "modprobe loop" },
	{ .check = "tun",
	  .modes = IN_SYSTEM,
	  .look = look_tun,
	  .mend = mend_tun,
	  .what = TUN,
	  .modules = (const char *const[]){ "tun", NULL },
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
	  .look = look_nftables,
	  .what = "nf_tables",
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM can be on the bridge" },
	{ .check = "forwarding",
	  .modes = IN_SYSTEM,
	  .look = look_forwarding,
	  .fix = "mount /proc/sys writable, as outside of a container" },
	{ .check = NULL },
};
