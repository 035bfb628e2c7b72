/* source/names.h - which names in a watched directory count, and what is noted about them. */
#ifndef SOURCE_NAMES_H
#define SOURCE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* *.yaml and *.yml, but no dotfile, editor backup or lock (~x, x~, #x#). */
bool source_name_counts(const char *name);

/* What inotify said about a name since it was last looked at. */
struct note {
	char *name;
	bool writing; /* modified and not closed yet */
	bool touched; /* its content may differ even if stat says the same */
	bool closed;  /* the last that was said: a writer closed it */
	bool seen;    /* by the scan that runs */
};

struct notes { /* sorted by name */
	struct note *at;
	size_t count, room;
};

struct note *notes_find(const struct notes *notes, const char *name); /* NULL: none */
/* NULL when there are already too many; the caller then distrusts everything. */
struct note *notes_add(struct notes *notes, const char *name);
void notes_remove(struct notes *notes, const char *name);
/* After a scan: only what it saw and what is still being written stays. */
void notes_settle(struct notes *notes);
void notes_clear(struct notes *notes);

#endif
