/* source/watch.h - inotify on one directory that may come, go and be switched. */
#ifndef SOURCE_WATCH_H
#define SOURCE_WATCH_H

#include "base/cleanup.h"
#include "base/error.h"
#include "source/dir.h"
#include "source/names.h"

struct watch;

/* path: absolute; need not exist. NULL when the kernel gives no inotify descriptor. */
struct watch *watch_new(const char *path, struct error *err);
void watch_free(struct watch *watch);
DEFINE_CLEANUP(watch, watch_free)

int watch_fd(const struct watch *watch);
/* Reads events, a bounded number. Never blocks. */
enum source_news watch_drain(struct watch *watch);
/* Re-arms what is missing, then opens the directory: what changes from here on is reported. The
 * descriptor is the caller's. -1: the directory cannot be looked at; err->sys says why. */
int watch_open(struct watch *watch, struct error *err);

/* Names noted by drain; the scan reads and settles them. */
struct notes *watch_notes(struct watch *watch);
/* What the events leave open; cleared by the scan that settled it. */
struct watch_doubts {
	bool lost;    /* some may have been: stat alone is not believed */
	bool names;   /* entries came or went: the directory has to be listed */
	bool entries; /* something may differ that no note names: every file has to be looked at */
};
struct watch_doubts *watch_doubts(struct watch *watch);
/* Why not everything could be watched, or NULL. Borrowed until the next watch_open(). */
const char *watch_problem(const struct watch *watch);

/* A spec file that is a symlink: its target (open as fd, -1 when it dangles) is watched for writes
 * in place, and `through`, the entry of the directory that it leads over ("..data", may be NULL),
 * for switches. Forgotten first when it was told before. */
void watch_target(struct watch *watch, const char *name, int fd, const char *through);
void watch_forget_target(struct watch *watch, const char *name);

#endif
