/* agent/exec.h - execve() as it should have been declared. */
#ifndef AGENT_EXEC_H
#define AGENT_EXEC_H

#include <stdint.h>
#include <unistd.h>

#define EXEC_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Returns only on failure, with errno. Both lists end with NULL. */
static inline void exec_program(const char *path, const char *const argv[], const char *const env[])
{
	execve(path, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
}

#endif
