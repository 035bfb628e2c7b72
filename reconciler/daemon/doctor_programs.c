/* Programs and libraries: what is run or loaded, and what does not work without it. */
#include "daemon/doctor.h"
#include "driver/fc.h"
#include "sys/proc.h"

#include <dlfcn.h>
#include <string.h>

static void look_qemu(const struct doctor *doctor, const struct doctor_row *row,
		      struct finding *ret)
{
	struct error err;
	(void)doctor;
	(void)row;
	if (hv_qemu.probe(&ret->detail, &err) < 0)
		finding_set(ret, HEALTH_FAIL, "%s", err.text);
}

/* Nobody has to have it. */
static void look_firecracker(const struct doctor *doctor, const struct doctor_row *row,
			     struct finding *ret)
{
	struct error err;
	(void)doctor;
	(void)row;
	if (hv_firecracker.probe(&ret->detail, &err) == 0)
		return;
	if (err.code == ERROR_NOT_FOUND)
		finding_set(ret, HEALTH_PASS,
			    "not installed, which only 'hypervisor: firecracker' needs");
	else
		finding_set(ret, HEALTH_WARN, "%s", err.text);
}

/* As little, but without it Firecracker is less confined. */
static void look_jailer(const struct doctor *doctor, const struct doctor_row *row,
			struct finding *ret)
{
	struct error err;
	(void)row;
	auto_free char *program = fc_program(&err);
	int can = fc_jail_probe(doctor->paths->state, &ret->detail, &err);
	if (can < 0)
		finding_set(ret, HEALTH_FAIL, "no VM of Firecracker starts: %s", err.text);
	else if (can == 0 && program)
		finding_set(ret, HEALTH_WARN,
			    "not installed: each Firecracker has a user of its own, but neither a "
			    "root directory nor limits");
}

static void look_program(const struct doctor *doctor, const struct doctor_row *row,
			 struct finding *ret)
{
	(void)doctor;
	auto_free char *path = proc_find(row->what);
	if (path)
		finding_set(ret, HEALTH_PASS, "%s", path);
	else
		finding_set(ret, row->if_missing, "'%s' is not in PATH: %s", row->what,
			    row->without);
}

static void look_library(const struct doctor *doctor, const struct doctor_row *row,
			 struct finding *ret)
{
	(void)doctor;
	void *handle = dlopen(row->what, RTLD_LAZY | RTLD_LOCAL);
	if (!handle) {
		finding_set(ret, row->if_missing, "%s: %s", dlerror(), row->without);
		return;
	}
	dlclose(handle);
	finding_set(ret, HEALTH_PASS, "%s", row->what);
}

static void look_curl(const struct doctor *doctor, const struct doctor_row *row,
		      struct finding *ret)
{
	auto_buf struct buf ignored = BUF_INIT;
	struct error err;
	if (hv_firecracker.probe(&ignored, &err) < 0)
		finding_set(ret, HEALTH_PASS, "not needed without Firecracker");
	else
		look_library(doctor, row, ret);
}

#define INSTALL(package) "apt-get install " package

const struct doctor_row doctor_programs[] = {
	{ .check = "qemu", .modes = IN_BOTH, .look = look_qemu, .fix = INSTALL("qemu-system-x86") },
	{ .check = "qemu-img",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "qemu-img",
	  .if_missing = HEALTH_FAIL,
	  .without = "no system disk where the file system cannot share blocks (reflink)",
	  .fix = INSTALL("qemu-utils") },
	{ .check = "firecracker",
	  .modes = IN_BOTH,
	  .look = look_firecracker,
	  .fix = "install another release, or let BANGER_FIRECRACKER name one" },
	{ .check = "jailer",
	  .modes = IN_SYSTEM,
	  .look = look_jailer,
	  .fix = "install the jailer of the same release beside Firecracker, or let BANGER_JAILER "
		 "name it; below the state directory programs and devices must be allowed" },
	{ .check = "libcurl",
	  .modes = IN_SYSTEM,
	  .look = look_curl,
	  .what = "libcurl.so.4",
	  .if_missing = HEALTH_FAIL,
	  .without = "Firecracker's API cannot be spoken to",
	  .fix = INSTALL("libcurl4") },
	{ .check = "libnftables",
	  .modes = IN_SYSTEM,
	  .look = look_library,
	  .what = "libnftables.so.1",
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM can be on the bridge",
	  .fix = INSTALL("libnftables1") },
	{ .check = "libarchive",
	  .modes = IN_BOTH,
	  .look = look_library,
	  .what = "libarchive.so.13",
	  .if_missing = HEALTH_FAIL,
	  .without = "no VM starts, as its seed cannot be written",
	  .fix = INSTALL("libarchive13") },
	{ .check = "mke2fs",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "mke2fs",
	  .if_missing = HEALTH_FAIL,
	  .without = "no work disk or image can be made",
	  .fix = INSTALL("e2fsprogs") },
	{ .check = "ssh",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "ssh",
	  .if_missing = HEALTH_FAIL,
	  .without = "no 'banger ssh', cp or workspace",
	  .fix = INSTALL("openssh-client") },
	{ .check = "git",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "git",
	  .if_missing = HEALTH_WARN,
	  .without = "no workspace can be prepared",
	  .fix = INSTALL("git") },
	{ .check = "apt-get",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "apt-get",
	  .if_missing = HEALTH_FAIL,
	  .without = "no image can be pulled, as all are made of Debian's packages",
	  .fix = "pull images on a Debian, or copy its images and kernels from there" },
	{ .check = "cpio",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "cpio",
	  .if_missing = HEALTH_WARN,
	  .without = "no image can be pulled",
	  .fix = INSTALL("cpio") },
	{ .check = "lz4",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "lz4",
	  .if_missing = HEALTH_WARN,
	  .without = "no kernel that is packed by it can be pulled",
	  .fix = INSTALL("lz4") },
	{ .check = "depmod",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "depmod",
	  .if_missing = HEALTH_WARN,
	  .without = "no kernel can be pulled",
	  .fix = INSTALL("kmod") },
	{ .check = "mmdebstrap",
	  .modes = IN_BOTH,
	  .look = look_program,
	  .what = "mmdebstrap",
	  .if_missing = HEALTH_WARN,
	  .without = "the image 'debian' cannot be pulled",
	  .fix = INSTALL("mmdebstrap uidmap") },
	{ .check = "newuidmap",
	  .modes = IN_SESSION,
	  .look = look_program,
	  .what = "newuidmap",
	  .if_missing = HEALTH_WARN,
	  .without = "the image 'debian' cannot be pulled without root",
	  .fix = INSTALL("uidmap") },
	{ .check = NULL },
};
