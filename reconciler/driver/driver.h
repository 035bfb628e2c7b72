/* driver/driver.h - what a hypervisor, a disk and a network driver do; one struct a kind.
 *
 * Everything blocks and runs in worker threads, except the monitor_* functions, which the loop
 * thread calls and which never block. Drivers are dumb: they know no spec, no store, no other
 * driver; exec/ puts a struct vm_machine together. Every call is idempotent: already there and
 * already gone are success. What a driver makes is named after the VM's id and lies in the VM's
 * directory, so that a scan finds it without any database.
 *
 * Names below a VM's directory (<state>/vms/<id>/): */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include "base/buf.h"
#include "base/error.h"
#include "base/vec.h"
#include "schema/vm_spec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VM_FILE_LOCK	    "lock" /* flock held by the hypervisor itself */
#define VM_FILE_PID	    "pid"
#define VM_FILE_RUN	    "run" /* a run was prepared, and not all of it is released yet */
#define VM_FILE_MONITOR	    "qmp.sock"
#define VM_FILE_AGENT	    "agent.sock"
#define VM_FILE_EXEC	    "exec.sock"	   /* commands without SSH: agent/PROTOCOL.md */
#define VM_FILE_CONSOLE	    "console.sock" /* the console arrives here ... */
#define VM_FILE_CONSOLE_LOG "console.log"  /* ... and bangerd keeps a bounded tail of it here */
#define VM_FILE_LOG	    "hypervisor.log"
/* Firecracker's: */
#define VM_FILE_API	     "fc.sock"
#define VM_FILE_VSOCK	     "vsock.sock"   /* agent and exec: base/vsock_ports.h */
#define VM_FILE_CONSOLE_PIPE "console.pipe" /* a FIFO in place of console.sock */
#define VM_FILE_KERNEL	     "vmlinux"	    /* unpacked from a bzImage, while it starts */
#define VM_FILE_STARTING     "starting"	    /* it waits still to be told what to be */
#define VM_FILE_JAIL	     "jail"	    /* a directory: driver/jail.h */
#define VM_FILE_INITRD	     "initrd"	    /* kernel modules + agent + seed, made at every start */
/* The name tells the format. Its content never does: a guest could write a qcow2 header with a
 * backing file of the host's into its raw disk. */
#define VM_FILE_ROOT_DISK    "root.img"	    /* raw reflink, or ... */
#define VM_FILE_ROOT_OVERLAY "root.qcow2"   /* ... qcow2 overlay, or ... */
#define VM_FILE_ROOT_COW     "root.cow"	    /* ... what a dm-snapshot of the image differs in */
#define VM_FILE_WORK_DISK    "work.img"	    /* raw, sparse, ext4 */
#define VM_FILE_HANDLES	     "handles.json" /* a cache, never believed */
#define VM_FILE_ADOPTED	     "adopted.json" /* which foreign process it is: exec/adopt.h */
#define VM_FILE_MADE	     "made"	    /* its creation is complete: exec/handles.h */

enum accel { ACCEL_TCG, ACCEL_KVM };

struct proc_user;

/* Can this be the id of a VM, as the store makes them? */
bool vm_id_fits(const char *text);
/* Does a hypervisor have its lock? */
bool vm_lock_is_held(const char *vms_dir, const char *id);

struct vm_machine {
	const char *id;	  /* short id */
	const char *name; /* for the process title and messages */
	const char *dir;  /* absolute path of the VM's directory */
	int dirfd;	  /* the same, open */
	uint32_t vcpus;
	uint64_t memory;	  /* bytes */
	uint64_t memory_max;	  /* how far it can grow while it runs; <= memory: not at all */
	const char *kernel;	  /* path of vmlinux or bzImage */
	const char *kernel_args;  /* the user's, appended to the driver's own; may be "" */
	const char *modules_disk; /* path of an ext4, shared and never written; NULL: none */
	bool has_work_disk;
	bool root_is_qcow2;
	const char *root_device; /* of a root disk that is no file of the directory; NULL: it is */
	const char *mac;	 /* 52:54:00:xx:xx:xx */
	const char *tap;	 /* of the bridge's network; NULL: user networking, which is ... */
	const char *address;	 /* 127.x.y.z: SSH is forwarded from its port 2222 */
	bool nat;		 /* false: restrict=on */
	const struct port_list *ports;
	enum accel accel;
	const struct proc_user *user; /* of its own: driver/vm_user.h; NULL: as we are */
};

struct hv_process {
	const struct hv_driver *hv;
	char id[16];
	pid_t pid;
	int pidfd;	      /* owned */
	uint64_t start_ticks; /* field 22 of /proc/pid/stat */
	uint32_t vcpus;	      /* as its command line says */
	uint64_t memory;      /* that it was started with */
	uint64_t memory_max;  /* that it can have without a restart */
	enum accel accel;
	bool nat;
	bool unborn;  /* who started it did not get to the end: it will never run a guest */
	bool stopped; /* by SIGSTOP */
	bool jailed, is_jailer; /* only parse() and find() of the driver */
};
DEFINE_VEC(hv_process_vec, struct hv_process)
void hv_processes_clear(struct hv_process_vec *found); /* closes the pidfds */

/* What the monitor told. */
enum monitor_event {
	MONITOR_NOTHING,
	MONITOR_READY,		/* greeting and handshake done */
	MONITOR_GUEST_RESET,	/* the guest rebooted by itself, the process goes on */
	MONITOR_GUEST_POWEROFF, /* it will end: by the guest's wish */
	MONITOR_GUEST_PANIC,
	MONITOR_HOST_QUIT, /* it will end: by our quit, or by a signal from outside */
	MONITOR_PAUSED,	   /* it stands still: the host's disk is full, or KVM failed */
	MONITOR_RESUMED,
	MONITOR_MEMORY, /* the guest has more or less of it now: monitor_plugged() */
	MONITOR_BROKEN, /* garbage or too much of it: drop the connection */
};

enum hv_disk { HV_DISK_ROOT, HV_DISK_WORK };

/* Bytes a guest has, at its start and plugged since. */
struct hv_memory {
	uint64_t goal; /* what was asked of the guest */
	uint64_t now;  /* what it has */
};

struct hv_driver {
	const char *name;   /* "qemu" */
	bool needs_kvm;	    /* it emulates nothing */
	bool needs_tap;	    /* it has no network of its own */
	bool ends_by_reset; /* a guest that powers off halts and it goes on */
	struct capabilities can;
	/* Memory beyond that of the start comes in multiples of this; what is left over of a size
	 * is not given. */
	uint64_t memory_block;

	/* Is it usable on this host? 0 and a line for people
	 * ("/usr/bin/qemu-system-x86_64 7.2.22"), or -1 with what to install. */
	int (*probe)(struct buf *ret_detail, struct error *err);

	/* Every process of this driver that serves a VM below state_vms_dir and is ours by uid:
	 * found by command line, pinned by pidfd, then checked again. */
	int (*find)(const char *state_vms_dir, struct hv_process_vec *ret, struct error *err);

	/* The argument vector, for tests and for start(); NULL-terminated, caller frees with
	 * hv_argv_free(). */
	char **(*argv)(const struct vm_machine *machine);
	/* Starts it. BUSY when the lock is held; SYSTEM quotes the tail of VM_FILE_LOG. Returns
	 * when its monitor answers (at most timeout_ms), the guest is then on its way. */
	int (*start)(const struct vm_machine *machine, uint64_t timeout_ms, pid_t *ret_pid,
		     int *ret_pidfd, struct error *err);
	/* Changes forwarded ports of a running VM. from/to are whole lists. */
	int (*set_ports)(int vm_dirfd, const struct port_list *from, const struct port_list *to,
			 struct error *err);
	/* Asks the guest to have so much memory and says how far it is: called again until `now` is
	 * `goal`. INVALID: less than it was started with, or more than it has room for. */
	int (*set_memory)(int vm_dirfd, uint64_t bytes, struct hv_memory *ret, struct error *err);
	/* Lets a running guest see a larger disk. Never shrinks. */
	int (*grow_disk)(int vm_dirfd, enum hv_disk disk, uint64_t size_bytes, struct error *err);
	/* Ends it at once, disks flushed as far as the host knows them (quit); the caller waits on
	 * the pidfd and kills when this failed. */
	int (*quit)(int vm_dirfd, uint64_t timeout_ms, struct error *err);

	/* It has no monitor to be asked over: the whole process is stopped by SIGSTOP, and that it
	 * is, /proc says (proc_is_stopped()). */
	bool stands_by_signal;
	/* Lets a guest that stands still try again (there is room on the disk now). pidfd: of its
	 * process, borrowed. */
	int (*resume)(int vm_dirfd, int pidfd, struct error *err);

	/* The loop's own connection (all NULL: this hypervisor tells nothing): connects
	 * (non-blocking), then every chunk read goes to feed, which returns one event at a time
	 * (call again with len 0 until MONITOR_NOTHING). */
	int (*monitor_open)(int vm_dirfd, struct error *err); /* descriptor */
	struct hv_monitor *(*monitor_new)(void);
	enum monitor_event (*monitor_feed)(struct hv_monitor *monitor, int fd, const char *data,
					   size_t len);
	/* Asks for the guest to stand still; MONITOR_PAUSED follows. False: it could not be asked.
	 * NULL: this hypervisor cannot. */
	bool (*monitor_stop)(struct hv_monitor *monitor, int fd);
	/* Bytes of memory beyond those of the start, as MONITOR_MEMORY found them. */
	uint64_t (*monitor_plugged)(const struct hv_monitor *monitor);
	void (*monitor_free)(struct hv_monitor *monitor);
};

extern const struct hv_driver hv_qemu, hv_firecracker;
/* Every driver, NULL-terminated. */
extern const struct hv_driver *const hv_drivers[];
/* The one that a spec asks for; auto is QEMU, or what BANGER_HYPERVISOR says. */
const struct hv_driver *hv_driver_for(enum hypervisor_kind kind);
/* hv_driver.find of all drivers. */
int hv_find_all(const char *state_vms_dir, struct hv_process_vec *ret, struct error *err);
/* Removes what processes of any driver left in the VM's directory: sockets, pipes, a jail with its
 * cgroup. None may live. */
int hv_files_remove(int vm_dirfd, struct error *err);
void hv_argv_free(char **argv);

/* The console of a running VM, to be read; does not block. */
int hv_console_open(int vm_dirfd, uint64_t timeout_ms, struct error *err);

/* --- acceleration --- */
/* KVM only when a timed guest loop shows that it works (design.md). The verdict and the reason are
 * cached in cache_dir/accel.json by boot id and kernel. Blocks up to two seconds the first time. */
int accel_choose(const char *cache_dir, enum accel *ret, struct buf *ret_detail, struct error *err);

/* --- disks --- */
struct disk_image {
	const char *base;    /* path of the image's read-only rootfs (raw ext4) */
	uint64_t size_bytes; /* virtual size of the VM's system disk */
};
#define DISK_DEVICE_MAX 96
/* How a system disk is kept, copy-on-write over its image. The file below the VM's directory says
 * which driver made it; its content is never asked. */
struct disk_driver {
	const char *name; /* "reflink" */
	const char *file; /* VM_FILE_ROOT_… */
	/* 0 made, 1: this host or file system cannot, nothing is left. */
	int (*create)(int vm_dirfd, const char *dir, const struct disk_image *image,
		      struct error *err);
	int (*stat)(int vm_dirfd, uint64_t *ret_size, struct error *err);
	int (*grow)(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err);
	/* NULL: the file is the disk. Else what a run needs beside it: a device, gone again after
	 * the run; attach begins by taking away what a crash left of an earlier one. */
	int (*attach)(const char *id, int vm_dirfd, const char *dir, const char *base,
		      char ret_device[DISK_DEVICE_MAX], struct error *err);
	int (*detach)(const char *id, struct error *err);
	/* Under a running guest: the device shows the size that grow() gave the file. */
	int (*refresh)(const char *id, int vm_dirfd, struct error *err);
	/* Holds room on the host's disk for what the guest may write before it is asked again. 1:
	 * there is none, and what is left of it will not last: the guest must stand still. */
	int (*reserve)(const char *id, int vm_dirfd, struct error *err);
	uint64_t reserve_bytes; /* that it wants to see free */
};
extern const struct disk_driver disk_reflink, disk_qcow2, disk_dm;
/* In order of preference, ends with NULL: without root, and with it. */
extern const struct disk_driver *const disk_drivers_session[], *const disk_drivers_system[];
/* Of that name alone; NULL: there is none. */
const struct disk_driver *const *disk_drivers_named(const char *name);

/* Makes a system disk by the first of the drivers that can. Existing: success and untouched. */
int disk_root_create(int vm_dirfd, const char *dir, const struct disk_image *image,
		     const struct disk_driver *const *drivers, struct error *err);
/* Of the disk that is there; NULL: none is. */
const struct disk_driver *disk_root_driver(int vm_dirfd);
/* Sparse raw ext4 (mke2fs, uid 0 root directory, assume_storage_prezeroed). Existing: untouched. */
int disk_work_create(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err);
int disk_root_remove(int vm_dirfd, struct error *err);
int disk_work_remove(int vm_dirfd, struct error *err);
/* Grows the device of a stopped VM; the guest grows its file system at boot. Never shrinks. */
int disk_root_grow(int vm_dirfd, const char *dir, uint64_t size_bytes, struct error *err);
int disk_work_grow(int vm_dirfd, uint64_t size_bytes, struct error *err);
/* What is there: virtual sizes, 0 when missing. */
int disk_root_stat(int vm_dirfd, uint64_t *ret_size, bool *ret_qcow2, struct error *err);
int disk_work_stat(int vm_dirfd, uint64_t *ret_size, struct error *err);
/* Enough room for what will surely be written? Error names the directory and the numbers. */
int disk_check_space(const char *dir, uint64_t bytes, struct error *err);

/* --- user networking --- */
#define USER_SSH_PORT 2222
/* A loopback address of our own whose SSH port can be bound; taken: addresses in use by other VMs.
 * Deterministic start from the id, so that two daemons rarely meet. */
int net_user_address(const char *id, const char *const *taken, size_t count, char ret[16],
		     struct error *err);
/* BUSY naming the port and who has it ("port 127.0.0.1:8080/tcp is taken by nginx (pid 12)").
 * INVALID: two ports of the list overlap, a port is root's, an address is not this host's. With an
 * address its SSH port is asked for as well; NULL when the VM runs and holds it (then ports must be
 * only those that are new). */
int net_user_ports_free(const char *address, const struct port_list *ports, struct error *err);
/* INVALID: only root may open one of them, and its hypervisor is not root. */
int net_user_ports_allowed(const struct port_list *ports, struct error *err);
/* 52:54:00 and three bytes of the id. */
void net_mac(const char *id, char ret[18]);

#endif
