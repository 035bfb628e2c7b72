/* sys/proc: what the tests of programs share: a directory of their own, and no child left. */
#ifndef TESTS_TEST_SYS_HELP_H
#define TESTS_TEST_SYS_HELP_H

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct error err;
static char dir_path[64];
static int dir_fd, proc_fd;

static inline int setup(void **state)
{
	(void)state;
	err = (struct error){ 0 };
	str_copy(dir_path, sizeof(dir_path), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(dir_path))
		return -1;
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 || proc_fd < 0 ? -1 : 0;
}

static inline int teardown(void **state)
{
	(void)state;
	close(dir_fd);
	close(proc_fd);
	return fs_remove_tree(AT_FDCWD, dir_path, &err);
}

/* A shell is the shortest way to say what a child does; banger itself never uses one. */
#define SHELL(script) ((const char *const[]){ "sh", "-c", script, NULL })

static inline void no_child_is_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

#endif
