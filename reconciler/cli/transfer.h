/* cli/transfer.h - a repository as a tar stream: what a guest makes a working tree of.
 *
 *	repo/.git/…	objects as one pack (made here, so that the guest need not), refs, config
 *	overlay/…	files as they are on disk where that is not what the commit says
 *	removed		NUL-separated paths that the commit has and the disk has not
 *
 * With submodules (full) the same again for each, below modules/N/, with the place in
 * modules/N/place. Nothing is checked out here: the guest does, from the pack. */
#ifndef CLI_TRANSFER_H
#define CLI_TRANSFER_H

#include "cli/git.h"

enum transfer_mode { TRANSFER_SHALLOW, TRANSFER_FULL, TRANSFER_METADATA };
/* "shallow", "full", "metadata"; -1: none of them. */
int transfer_mode_parse(const char *name);
const char *transfer_mode_name(enum transfer_mode mode);

struct transfer {
	enum transfer_mode mode;
	bool include_untracked;
	const char *branch; /* in the guest; "": detached */
	const char *base;   /* the commit to begin at */
	struct git *git;
	/* filled by transfer_plan() */
	struct git_changes changes;	      /* empty when base is not what is checked out here */
	struct string_vec submodules, others; /* others: changed, but not carried to another base */
	struct string_vec places;	      /* submodules that can be sent */
};
/* Looks, sends nothing. Refuses submodules unless full, naming them. */
int transfer_plan(struct transfer *transfer, struct error *err);
/* Writes the stream to fd. cache: a directory for the pack. sys is EPIPE when nobody reads. */
int transfer_send(const struct transfer *transfer, const char *cache, int fd, struct error *err);
void transfer_clear(struct transfer *transfer);
#define auto_transfer __attribute__((cleanup(transfer_clear)))

#endif
