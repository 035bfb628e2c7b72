/* schema/text_map.h - which string was seen where: a hash map that borrows its keys.
 *
 *	struct text_map seen = text_map_make(pairs);
 *	void **slot = text_map_slot(&seen, key);
 *	if (*slot) … seen before …
 *	*slot = node; */
#ifndef SCHEMA_TEXT_MAP_H
#define SCHEMA_TEXT_MAP_H

#include <stddef.h>
#include <stdint.h>

struct text_map_entry {
	const char *key; /* NULL: free */
	uint32_t hash;
	void *value;
};

struct text_map {
	struct text_map_entry *entries; /* room is a power of two, or 0 */
	size_t room, count;
};

/* expected: how many keys are to come, a hint. */
struct text_map text_map_make(size_t expected);
void text_map_clear(struct text_map *map);
/* Finds the key or enters it with value NULL. Valid until the next call. */
void **text_map_slot(struct text_map *map, const char *key);

#define auto_text_map __attribute__((cleanup(text_map_clear)))

#endif
