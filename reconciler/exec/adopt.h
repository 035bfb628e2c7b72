/* exec/adopt.h - a place below vms/ for a hypervisor that somebody else started.
 *
 * Its disks are linked, not copied, under the names of driver.h, so that a later start finds them
 * there; they stay where they were, too. Its own monitor is reached through a link called like
 * ours. vms/<id>/adopted.json says which process it is: nothing in /proc names our directory, so
 * this is the one thing about a process that has to be written down. */
#ifndef EXEC_ADOPT_H
#define EXEC_ADOPT_H

#include "driver/adopt.h"
#include "exec/job.h"

struct adopted {
	pid_t pid;
	uint64_t start_ticks;
	char *mark; /* as in struct hv_foreign; owned */
};
void adopted_free(struct adopted *adopted); /* NULL is fine */
/* NULL: there is none, or it cannot be read. */
struct adopted *adopted_read(int vm_dirfd);

/* The digests of the image and the kernel of ours that it runs; "" when they are none of ours. */
void adopt_digests(const struct host *host, const struct hv_foreign *foreign, char ret_image[65],
		   char ret_kernel[65]);
/* Refuses what a start as a user of its own could not read. */
void adopt_judge(const struct host *host, struct hv_foreign *foreign, const char *image_digest);
/* Makes the directory of a new id. Nothing is left of one that failed. */
int adopt_make(const struct host *host, const struct hv_foreign *foreign, const char *name,
	       const char *image_digest, char ret_id[16], struct error *err);
void adopt_unmake(const struct host *host, const char *id);

#endif
