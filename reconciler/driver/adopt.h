/* driver/adopt.h - a hypervisor that somebody else started, as far as it can be told.
 *
 * What is read: /proc/<pid> (owner, program, command line, working directory) and the monitor,
 * which serves one client at a time. What it has that a start by banger would not give back is a
 * refusal, by name; reading goes on, so that all of them are said at once. */
#ifndef DRIVER_ADOPT_H
#define DRIVER_ADOPT_H

#include "driver/driver.h"

#define FOREIGN_DISKS	 2 /* system disk and work disk */
#define FOREIGN_REFUSALS 16

struct foreign_disk {
	char *path; /* absolute */
	char *base; /* of an overlay: absolute path of what lies below; NULL */
	bool qcow2;
	uint64_t size; /* virtual */
};

struct hv_foreign {
	pid_t pid;
	int pidfd; /* owned */
	uint64_t start_ticks;
	char *name;    /* as it calls itself; NULL */
	char *monitor; /* absolute path of the socket */
	char *mark;    /* the path as its command line has it */
	uint32_t vcpus;
	uint64_t memory;
	enum accel accel;
	bool nat;
	char *ports;	   /* "127.0.0.1:8080:80,..." as `ports=` takes it */
	char *kernel;	   /* absolute path; NULL: it boots from a disk */
	char *kernel_args; /* without what banger says itself */
	struct foreign_disk disks[FOREIGN_DISKS];
	size_t disk_count;
	char *refusals[FOREIGN_REFUSALS];
	size_t refusal_count;
};
#define HV_FOREIGN_INIT                                                                            \
	(struct hv_foreign)                                                                        \
	{                                                                                          \
		.pidfd = -1                                                                        \
	}
void hv_foreign_clear(struct hv_foreign *foreign);
void hv_foreign_refuse(struct hv_foreign *foreign, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* By its pid, or (pid 0) by the path of its monitor's socket. NOT_FOUND: no such process or socket.
 * CONFLICT: it is another user's, no QEMU, banger's already, or has no monitor. TIMEOUT: another
 * client holds the monitor. */
int qemu_inspect(pid_t pid, const char *socket, const char *vms_dir, uint64_t timeout_ms,
		 struct hv_foreign *ret, struct error *err);

/* Is that process still the one that was adopted? By start time, owner, program and the monitor
 * that its command line names. Fills in pid, pidfd (the caller's) and start_ticks. */
bool qemu_recognise(pid_t pid, uint64_t start_ticks, const char *mark, struct hv_process *ret);

/* Presses the guest's power button; whether it listens is its own business. */
int qemu_power_button(int vm_dirfd, uint64_t timeout_ms, struct error *err);

#endif
