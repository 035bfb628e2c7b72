/* source/dir.h - a directory of YAML files as a desired set that never says more than it knows.
 *
 * The rules of spec.md "Deletion is guarded" that concern one look at the directory live here: a
 * file that is broken, unreadable or being written keeps its last good version, and the result says
 * that it is not complete, so that nothing is deleted on its word. What the loop does over time
 * (two quiet seconds, the half of ten minutes) is the daemon's and plan_guard_allowance()'s.
 *
 * Files are *.yaml and *.yml, not recursive; dotfiles, editor backups (~, #x#, .swp) and temporary
 * names are skipped; symlinks are followed (Kubernetes' ..data switch). A file is "being written"
 * when inotify said MODIFY without CLOSE_WRITE yet, or when a read lease cannot be had on it.
 * Of a file that vanished the VMs leave the union in the next complete result; until then they
 * stay, unless another file has them now (a rename). A valid file without `vms` says nothing and
 * counts as broken: only `vms: {}` says "none". */
#ifndef SOURCE_DIR_H
#define SOURCE_DIR_H

#include "schema/spec_load.h"

struct source_dir;

#define SOURCE_FILES_MAX 10000

struct source_result {
	/* The union of what is in force, sorted by name; array owned, specs borrowed from the
	 * source_dir until its next scan or free. */
	const struct vm_spec **vms;
	size_t count;
	struct string_list empty_sets; /* `replicas: 0`; array owned, names borrowed likewise */
	/* `stack:` or the directory's name; owned. While incomplete: the last complete scan's. */
	char *stack;
	bool complete;		 /* everything was read and valid: absence of a VM means "gone" */
	char *incomplete_reason; /* "web.yaml is not valid" …, NULL when complete; owned */
	char *unwatched; /* why changes may go unseen until the next resync, or NULL; owned */
	bool closing;	 /* look again soon: a close is on its way, no event will tell */
	struct fault_vec faults; /* of broken files, unchanged since last scan included; owned */
	uint64_t revision; /* equal when nothing the set says has changed since the last scan */
};
void source_result_clear(struct source_result *result);

/* path: the directory as given, made absolute by the caller; it need not exist at this moment.
 * context is copied (its strings borrowed for the life of the object). NULL on failure. */
struct source_dir *source_dir_new(const char *path, const struct spec_context *context,
				  struct error *err);
void source_dir_free(struct source_dir *dir);
DEFINE_CLEANUP(source_dir, source_dir_free)

/* An inotify descriptor for the loop (owned by dir). It watches the directory, the parent that
 * would show its return or its switch, and survives all of them being replaced. */
int source_dir_fd(const struct source_dir *dir);
enum source_news {
	SOURCE_QUIET,	/* nothing that matters */
	SOURCE_WRITING, /* a file is being written: more will come, nearly always at once */
	SOURCE_CHANGED, /* a scan is worth it (after an overflow always) */
};
/* Reads what inotify has. Never blocks. */
enum source_news source_dir_drain(struct source_dir *dir);
/* Looks at the directory now. Only files that changed (device, inode, size, mtime) are parsed
 * again. Never fails: trouble makes the result incomplete. Re-arms watches that were lost. */
void source_dir_scan(struct source_dir *dir, struct source_result *ret);
/* The same on the word of inotify: what it named since the last scan is looked at, the rest is as
 * it was; everything, when events were lost. Its time depends on what changed, not on how many
 * files there are, but writes that inotify does not report (another host's, on a network file
 * system) are only found by source_dir_scan(). */
void source_dir_glance(struct source_dir *dir, struct source_result *ret);

#endif
