/* base/cleanup.h - resources that end with their scope.
 *
 *	auto_close int fd = open(…);        closed at scope exit
 *	auto_free char *text = xstrdup(…);  freed at scope exit
 *	auto_ptr(vm_spec) spec = …;         vm_spec_free() at scope exit, after DEFINE_CLEANUP
 *	*ret_fd = take_fd(&fd);             ownership leaves the scope */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

static inline void cleanup_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define auto_free  __attribute__((cleanup(cleanup_free)))
#define auto_close __attribute__((cleanup(cleanup_close)))
#define auto_file  __attribute__((cleanup(cleanup_file)))
#define auto_dir   __attribute__((cleanup(cleanup_dir)))

#define auto_ptr(type) __attribute__((cleanup(cleanup_##type))) struct type *
#define DEFINE_CLEANUP(type, free_fn)                                                              \
	static inline void cleanup_##type(struct type **p)                                         \
	{                                                                                          \
		free_fn(*p);                                                                       \
	}

static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

/* char *keep = take_ptr(&text); any pointer type */
static inline void *take_ptr(void *p)
{
	void *taken = *(void **)p;
	*(void **)p = NULL;
	return taken;
}

#endif
