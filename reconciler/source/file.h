/* source/file.h - one spec file: what it says now, and what of it is in force. */
#ifndef SOURCE_FILE_H
#define SOURCE_FILE_H

#include "base/buf.h"
#include "schema/spec_load.h"
#include "source/watch.h"

#include <sys/stat.h>

/* Equal as long as nobody wrote: content has not to be read again. */
struct file_key {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

enum file_state {
	FILE_NEW,    /* never looked at */
	FILE_VALID,  /* fresh, or good when there is no fresh, is its content */
	FILE_BROKEN, /* faults say why */
	FILE_BUSY,   /* being written */
	FILE_GONE,   /* not in the directory; good stays until a complete result */
};

struct source_file {
	char *name; /* in the directory */
	char *path; /* as shown */
	enum file_state state;
	bool key_valid;
	struct file_key key;
	bool racy;     /* read so soon after it changed that equal times prove nothing */
	bool linked;   /* the watch was told of it as a symlink */
	bool was_gone; /* since good was accepted: another file may have its VMs by now */
	bool has_good, has_fresh;
	struct spec_set good;  /* in force */
	struct spec_set fresh; /* valid, read but not accepted yet */
	bool rejected;	       /* by this scan: fresh contradicts another file */
	struct fault_vec faults;
	char problem[200]; /* "is not valid" …; "" when VALID */
};

struct source_file *source_file_new(const char *directory, const char *name);
void source_file_free(struct source_file *file);

/* What would be in force if this scan had no objection; NULL: nothing. */
const struct spec_set *source_file_candidate(const struct source_file *file);

struct file_look {
	int dirfd;
	const char *directory; /* absolute, for relative paths in the files */
	const struct spec_context *context;
	struct watch *watch;
	struct buf text; /* room that is used again */
	bool distrust;	 /* events were lost */
	bool by_notes;	 /* what was read and has no note is as it was */
	bool closing;	 /* out: a file was closed, and has a writer all the same */
};
/* Looks at the file now, reading it only when it changed. Never blocks on a FIFO or a writer. */
void source_file_look(struct source_file *file, struct file_look *look);
/* It is not in the directory any more. */
void source_file_gone(struct source_file *file, struct watch *watch);
/* What was read cannot be used for a reason outside of the file; the next look reads it again. */
void source_file_reject(struct source_file *file, const char *why);

#endif
