/* sys/library.h - shared libraries that are loaded when they are first needed: what one brings
 * along may take as much memory as all the rest of a daemon that never calls it. */
#ifndef SYS_LIBRARY_H
#define SYS_LIBRARY_H

#include <stdbool.h>

struct library_symbol {
	const char *name;
	void *to; /* a function pointer, in POSIX's eyes no different */
};

/* A row whose pointer is a member of a struct named like the function. */
#define LIBRARY_SYMBOL(table, function)                                                            \
	{                                                                                          \
#function, &(table).function                                                       \
	}
/* Such a member. */
#define LIBRARY_FUNCTION(function) __typeof__(&(function)) function

/* Loads the first of names that is installed and fills in all symbols; both lists end with NULL.
 * False when there is none, or it lacks a symbol. Never unloaded. To be called once
 * (pthread_once()): nothing here is locked. */
bool library_load(const char *const *names, const struct library_symbol *symbols);

#endif
