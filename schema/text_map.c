#include "schema/text_map.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a. Its collisions can be made on purpose; callers bound their keys to 10,000 a map. */
static uint32_t hash_text(const char *text)
{
	uint32_t hash = 2166136261u;
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		hash = (hash ^ *p) * 16777619u;
	return hash;
}

struct text_map text_map_make(size_t expected)
{
	struct text_map map = { .room = 16 };
	while (map.room < expected * 2)
		map.room *= 2;
	map.entries = xcalloc(map.room, sizeof(*map.entries));
	return map;
}

void text_map_clear(struct text_map *map)
{
	free(map->entries);
	*map = (struct text_map){ 0 };
}

static struct text_map_entry *find(const struct text_map *map, const char *key, uint32_t hash)
{
	size_t i = hash & (map->room - 1);
	for (;; i = (i + 1) & (map->room - 1)) {
		struct text_map_entry *e = &map->entries[i];
		if (!e->key || (e->hash == hash && !strcmp(e->key, key)))
			return e;
	}
}

static void grow(struct text_map *map)
{
	struct text_map bigger = text_map_make(map->room);
	bigger.count = map->count;
	for (size_t i = 0; i < map->room; i++)
		if (map->entries[i].key)
			*find(&bigger, map->entries[i].key, map->entries[i].hash) = map->entries[i];
	text_map_clear(map);
	*map = bigger;
}

void **text_map_slot(struct text_map *map, const char *key)
{
	if (map->count * 2 >= map->room)
		grow(map);
	uint32_t hash = hash_text(key);
	struct text_map_entry *e = find(map, key, hash);
	if (!e->key) {
		*e = (struct text_map_entry){ .key = key, .hash = hash };
		map->count++;
	}
	return &e->value;
}
