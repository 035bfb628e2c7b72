/* base/vec.h - a growing array of values.
 *
 *	DEFINE_VEC(change_vec, struct change)   makes struct change_vec { at, count, room }
 *	struct change_vec v = { 0 };
 *	change_vec_push(&v, (struct change){ … });
 *	change_vec_clear(&v);                   frees the array, not what elements own */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "base/mem.h"

#include <stdlib.h>

#define DEFINE_VEC(name, type)                                                                     \
	struct name {                                                                              \
		type *at;                                                                          \
		size_t count, room;                                                                \
	};                                                                                         \
	__attribute__((unused)) static inline type *name##_push(struct name *v, type item)         \
	{                                                                                          \
		if (v->count == v->room) {                                                         \
			v->room = v->room ? v->room * 2 : 8;                                       \
			v->at = xreallocarray(v->at, v->room, sizeof(type));                       \
		}                                                                                  \
		v->at[v->count] = item;                                                            \
		return &v->at[v->count++];                                                         \
	}                                                                                          \
	__attribute__((unused)) static inline void name##_clear(struct name *v)                    \
	{                                                                                          \
		free(v->at);                                                                       \
		*v = (struct name){ 0 };                                                           \
	}

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
