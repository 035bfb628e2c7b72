/* source/trail.h - the places that decide where a path leads. */
#ifndef SOURCE_TRAIL_H
#define SOURCE_TRAIL_H

#include <stdbool.h>
#include <stddef.h>

struct trail_place {
	char *directory; /* without symlinks */
	char *name;	 /* the entry in it that matters */
	int wd;		 /* the watch's; -1: none */
};

struct trail {
	struct trail_place *at;
	size_t count, room;
};

/* Walks path (absolute) as the kernel would and notes each place whose entry is a symlink of the
 * path, its last component, or its first missing one. Overwrites ret. */
void trail_walk(struct trail *ret, const char *path);
void trail_clear(struct trail *trail);

bool trail_has(const struct trail *trail, int wd);
/* Does an event there concern the path? name "": the directory itself. */
bool trail_concerns(const struct trail *trail, int wd, const char *name);
/* The watch is gone; true when it was one of these. */
bool trail_lose(struct trail *trail, int wd);

#endif
