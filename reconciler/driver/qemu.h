/* driver/qemu.h - the parts of the QEMU driver, for each other and for the tests. */
#ifndef DRIVER_QEMU_H
#define DRIVER_QEMU_H

#include "driver/driver.h"

#include <stddef.h>

#define QEMU_PROGRAM	    "qemu-system-x86_64"
#define QEMU_NETDEV	    "net0"
#define QEMU_SSH_GUEST_PORT 22
#define QEMU_MEMORY	    "memory1" /* the device that plugs memory */
/* What kernels of every age can plug and unplug at once. */
#define QEMU_MEMORY_BLOCK (4u << 20)
#define QEMU_NODE_ROOT	  "root"
#define QEMU_NODE_WORK	  "work"

/* The argument vector: identity first, so that a short read of a command line tells whose it is.
 * NULL-terminated, hv_argv_free(). */
char **qemu_argv(const struct vm_machine *machine);

/* Reads what qemu_argv() wrote back from a NUL-separated command line: id, vcpus, memory and its
 * bound, accel and nat. *ret_vms_dir gets the part of the pid file's path above the id. false: not
 * one of ours. */
bool qemu_cmdline_parse(const char *cmdline, size_t len, struct hv_process *ret,
			struct buf *ret_vms_dir);

/* hv_driver.find with the /proc to look at; proc_dirfd is borrowed. */
int qemu_find_in(int proc_dirfd, const char *state_vms_dir, struct hv_process_vec *ret,
		 struct error *err);

/* hv_driver.set_ports */
int qemu_set_ports(int vm_dirfd, const struct port_list *from, const struct port_list *to,
		   struct error *err);

/* hv_driver.set_memory and .grow_disk */
int qemu_set_memory(int vm_dirfd, uint64_t bytes, struct hv_memory *ret, struct error *err);
int qemu_grow_disk(int vm_dirfd, enum hv_disk disk, uint64_t size_bytes, struct error *err);

/* --- for qemu_adopt.c, of a process that is not ours --- */
struct qmp;
struct hv_foreign;
/* Size, disks, devices, network. */
int qemu_ask_machine(struct qmp *qmp, int proc_dirfd, struct hv_foreign *ret, struct error *err);
/* "127.0.0.1:8080:80,…/udp"; NULL when there are none. */
int qemu_list_ports(struct qmp *qmp, char **ret, struct error *err);
/* Absolute and without links, seen from the process's directory. */
char *foreign_path(int proc_dirfd, pid_t pid, const char *path);

/* One forwarding as QEMU writes it, "tcp:127.0.0.1:8080" (guest 0) or "tcp:127.0.0.1:8080-:80". */
void qemu_forward_text(struct buf *to, const struct port_spec *port, bool with_guest);
/* The reverse, of the part before "-"; address points into room. */
bool qemu_forward_parse(const char *text, struct port_spec *ret, char room[16]);

#endif
