/* source/watch.h - inotify on one directory that may come, go and be switched. */
#ifndef SOURCE_WATCH_H
#define SOURCE_WATCH_H

#include "base/cleanup.h"
#include "base/error.h"
#include "source/names.h"

struct watch;

/* path: absolute; need not exist. NULL when the kernel gives no inotify descriptor. */
struct watch *watch_new(const char *path, struct error *err);
void watch_free(struct watch *watch);
DEFINE_CLEANUP(watch, watch_free)

int watch_fd(const struct watch *watch);
/* Reads events, a bounded number; true when one of them is worth a scan. Never blocks. */
bool watch_drain(struct watch *watch);
/* Re-arms what is missing, then opens the directory: what changes from here on is reported. The
 * descriptor is the caller's. -1: the directory cannot be looked at; err->sys says why. */
int watch_open(struct watch *watch, struct error *err);

/* Names noted by drain; the scan reads and settles them. */
struct notes *watch_notes(struct watch *watch);
/* False once after events may have been lost: then stat alone is not believed. */
bool watch_was_reliable(struct watch *watch);
/* Why not everything could be watched, or NULL. Borrowed until the next watch_open(). */
const char *watch_problem(const struct watch *watch);

/* A spec file that is a symlink: its target (open as fd, -1 when it dangles) is watched for writes
 * in place, and `through`, the entry of the directory that it leads over ("..data", may be NULL),
 * for switches. Forgotten first when it was told before. */
void watch_target(struct watch *watch, const char *name, int fd, const char *through);
void watch_forget_target(struct watch *watch, const char *name);

#endif
