/* driver/find.h - finding a driver's processes in /proc; hv_driver.find of all of them. */
#ifndef DRIVER_FIND_H
#define DRIVER_FIND_H

#include "driver/driver.h"

struct find_rules {
	/* Reads a NUL-separated command line back: what is known of the machine, and in
	 * *ret_vms_dir the directory of all VMs, or when it says jailed the process's root in the
	 * VM's directory. false: not one of ours. */
	bool (*parse)(const char *cmdline, size_t len, struct hv_process *ret,
		      struct buf *ret_vms_dir);
	/* exe: name of the executable, perhaps with " (deleted)" after it; argv0: as it was called.
	 */
	bool (*is_program)(const char *exe, const char *argv0);
};
/* proc_dirfd is borrowed. */
int find_processes(const struct find_rules *rules, int proc_dirfd, const char *state_vms_dir,
		   struct hv_process_vec *ret, struct error *err);

/* For parse(): the argument at *at, which then stands at the next; NULL at the end or when it is
 * cut off. */
const char *find_argument(const char **at, const char *end);
/* "/state/vms/ab12/pid" with file "pid": the id is ab12, the rest above it is the directory. */
bool find_our_path(const char *path, const char *file, struct hv_process *ret,
		   struct buf *ret_vms_dir);

#endif
