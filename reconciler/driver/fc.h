/* driver/fc.h - the parts of the Firecracker driver, for each other and for the tests.
 *
 * Sources: Firecracker's published API description (src/firecracker/swagger/firecracker.yaml) and
 * its docs/, 1.5 to 1.17. Where the two differ from the code, the code was followed. */
#ifndef DRIVER_FC_H
#define DRIVER_FC_H

#include "driver/driver.h"
#include "base/json.h"

#include <stddef.h>

#define FC_PROGRAM "firecracker"
/* Device names, and the last part of their paths in the API: letters, digits and '_' only. */
#define FC_DRIVE_ROOT	 "root"
#define FC_DRIVE_WORK	 "work"
#define FC_DRIVE_MODULES "modules"
#define FC_NIC		 "eth0"
/* Memory that is plugged comes in such blocks, taken from slots of this size. */
#define FC_MEMORY_BLOCK	 (4u << 20)
#define FC_MEMORY_SLOT	 (128u << 20)
#define FC_BOOT_ARGS_MAX 2048 /* what Firecracker appends included */

/* --- versions: fc_version.c --- */

typedef uint32_t fc_version; /* major << 16 | minor; patches change no field */
#define FC_VERSION(major, minor) ((unsigned)(major) << 16 | (unsigned)(minor))

enum fc_feature {
	FC_ACPI,      /* its devices are found by any kernel, not only by one made for it */
	FC_REPORTING, /* the balloon gives pages back by itself */
	FC_HOTPLUG,   /* memory of a running guest grows and shrinks */
	FC_BZIMAGE,   /* boots a bzImage as it is */
	FC_FEATURE_COUNT_
};
/* "Firecracker v1.13.1", "1.17.0-dev" */
bool fc_version_parse(const char *text, fc_version *ret);
bool fc_can(fc_version version, enum fc_feature feature);
/* INVALID: older than what the driver speaks. */
int fc_version_check(fc_version version, struct error *err);

/* --- the bodies, as data: fc_config.c --- */

struct fc_call {
	const char *method, *path; /* static */
	cJSON *body;		   /* owned; NULL: none */
};
DEFINE_VEC(fc_call_vec, struct fc_call)
void fc_calls_clear(struct fc_call_vec *calls);
/* Everything between an empty Firecracker of that version and a running guest, in order. kernel:
 * the path to boot. INVALID naming what the machine asks for and Firecracker has not. */
int fc_config(const struct vm_machine *machine, const char *kernel, fc_version version,
	      struct fc_call_vec *ret, struct error *err);

/* --- the API: fc_api.c --- */

/* The calls to one process. Not thread-safe: a caller has its own. */
struct fc_api;
struct fc_api *fc_api_new(int vm_dirfd, struct error *err); /* dirfd is borrowed */
void fc_api_free(struct fc_api *api);			    /* NULL is fine */
DEFINE_CLEANUP(fc_api, fc_api_free)
/* One call and its answer; *ret (may be NULL) is the body of a 200, NULL for a 204; caller frees.
 * Errors begin with "PUT /drives/root: ". INVALID: this version does not know the call or a field
 * of it, or refuses a value for good; SYSTEM: refused, or the answer was cut off (sys
 * ECONNRESET); BUSY: too many talk to it; TIMEOUT; UNAVAILABLE: nobody listens (ECONNREFUSED).
 * Nothing is ever sent twice. */
int fc_api_call(struct fc_api *api, const struct fc_call *call, uint64_t timeout_ms, cJSON **ret,
		struct error *err);
int fc_api_get(struct fc_api *api, const char *path, uint64_t timeout_ms, cJSON **ret,
	       struct error *err);
/* How long one call may take; a test build takes it from BANGER_FC_CALL_MS. */
uint64_t fc_call_ms(void);

/* --- the kernel: fc_kernel.c --- */

/* An ELF file, or what this version boots, stays as it is: *ret is path. Of a bzImage the kernel
 * inside is written to VM_FILE_KERNEL below dirfd, and *ret is that name. */
int fc_kernel_prepare(int dirfd, const char *path, fc_version version, const char **ret,
		      struct error *err);

/* --- a running one: fc_live.c, hv_driver's functions of these names --- */

int fc_set_memory(int vm_dirfd, uint64_t bytes, struct hv_memory *ret, struct error *err);
int fc_grow_disk(int vm_dirfd, enum hv_disk disk, uint64_t size_bytes, struct error *err);

/* --- the process: fc_process.c --- */

/* BANGER_FIRECRACKER, or what PATH has. NULL: NOT_FOUND saying what to do. Caller frees. */
char *fc_program(struct error *err);
char **fc_argv(const struct vm_machine *machine);
/* Reads what fc_argv() wrote back, as qemu_cmdline_parse(). */
/* Of one in a jail *ret_vms_dir is its root, as a path in the VM's directory. */
bool fc_cmdline_parse(const char *cmdline, size_t len, struct hv_process *ret,
		      struct buf *ret_vms_dir);
/* "banger-ab12-c2-m512-x1024-n1"; caller frees. */
char *fc_id(const struct vm_machine *machine);
bool fc_id_parse(const char *text, struct hv_process *ret);
int fc_find_in(int proc_dirfd, const char *state_vms_dir, struct hv_process_vec *ret,
	       struct error *err);

/* --- the jail: fc_jail.c --- */

struct fc_jail {
	char *jailer;		   /* NULL: there is none, the rest is empty */
	char *program;		   /* Firecracker's */
	const char *program_name;  /* the last part of it */
	char *name, *base;	   /* the jailer's --id and --chroot-base-dir */
	struct buf path;	   /* of the root, in the VM's directory */
	int root;		   /* open */
	struct vm_machine machine; /* as it looks from within */
};
#define FC_JAIL_INIT                                                                               \
	(struct fc_jail)                                                                           \
	{                                                                                          \
		.path = BUF_INIT, .root = -1                                                       \
	}
/* BANGER_JAILER, or what lies beside that Firecracker, or what PATH has. *ret NULL: none is
 * installed. NOT_FOUND: BANGER_JAILER names none. */
int fc_jailer(const char *program, char **ret, struct error *err);
/* Is it of the same release ("1.13.1")? CONFLICT: no. */
int fc_jailer_check(const char *jailer, const char *firecracker_says, struct error *err);
/* Can it jail VMs whose directories are below dir? Appends which one it is; 1: yes, 0: there is no
 * Firecracker, or no jailer, as *ret_detail says, -1: what is wrong with it. */
int fc_jail_probe(const char *dir, struct buf *ret_detail, struct error *err);
/* Makes and fills it, for a machine with a user of its own and when a jailer is installed; else
 * success and jail->jailer stays NULL. Expects VM_FILE_CONSOLE_PIPE; what a failure left goes with
 * hv_files_remove(). */
int fc_jail_make(struct fc_jail *jail, const struct vm_machine *machine, struct error *err);
void fc_jail_clear(struct fc_jail *jail); /* what it owns here; on the host nothing changes */
/* Puts the kernel that fc_kernel_prepare() chose into it; *kernel is then its name there. */
int fc_jail_kernel(const struct fc_jail *jail, const char **kernel, struct error *err);
/* As hv_driver.argv. */
char **fc_jail_argv(const struct fc_jail *jail);

#endif
