/* driver/id_hash.h - the bytes that a VM's UUID, MAC and address are derived from. */
#ifndef DRIVER_ID_HASH_H
#define DRIVER_ID_HASH_H

#include <stdint.h>

/* FNV-1a, then splitmix64's finaliser, as FNV alone keeps similar ids close together. The results
 * are written to the store (addresses) and seen in guests (MAC): never change this. */
static inline uint64_t id_hash(const char *id, uint64_t salt)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ salt;
	for (; *id; id++)
		hash = (hash ^ (unsigned char)*id) * UINT64_C(0x100000001b3);
	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

#endif
