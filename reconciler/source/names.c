#include "source/names.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define NOTES_MAX 10000

bool source_name_counts(const char *name)
{
	size_t len = strlen(name);
	if (strchr(".#~", *name)) /* "" too */
		return false;
	return (len > 5 && !strcmp(name + len - 5, ".yaml")) ||
	       (len > 4 && !strcmp(name + len - 4, ".yml"));
}

/* Where name is or belongs. */
static size_t notes_place(const struct notes *notes, const char *name, bool *found)
{
	size_t low = 0, high = notes->count;
	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(notes->at[middle].name, name);
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct note *notes_find(const struct notes *notes, const char *name)
{
	bool found;
	size_t place = notes_place(notes, name, &found);
	return found ? &notes->at[place] : NULL;
}

struct note *notes_add(struct notes *notes, const char *name)
{
	bool found;
	size_t place = notes_place(notes, name, &found);
	if (found)
		return &notes->at[place];
	if (notes->count >= NOTES_MAX)
		return NULL;
	if (notes->count == notes->room) {
		notes->room = notes->room ? notes->room * 2 : 16;
		notes->at = xreallocarray(notes->at, notes->room, sizeof(*notes->at));
	}
	struct note *at = &notes->at[place];
	memmove(at + 1, at, (notes->count - place) * sizeof(*at));
	*at = (struct note){ .name = xstrdup(name) };
	notes->count++;
	return at;
}

void notes_remove(struct notes *notes, const char *name)
{
	bool found;
	size_t place = notes_place(notes, name, &found);
	if (!found)
		return;
	struct note *at = &notes->at[place];
	free(at->name);
	memmove(at, at + 1, (notes->count - place - 1) * sizeof(*at));
	notes->count--;
}

void notes_settle(struct notes *notes)
{
	size_t kept = 0;
	for (size_t i = 0; i < notes->count; i++) {
		struct note note = notes->at[i];
		if (!note.seen || !note.writing) {
			free(note.name);
			continue;
		}
		note.seen = note.touched = false;
		notes->at[kept++] = note;
	}
	notes->count = kept;
}

void notes_clear(struct notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		free(notes->at[i].name);
	free(notes->at);
	*notes = (struct notes){ 0 };
}
