#include "base/failpoint.h"

#ifdef BANGER_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef BANGER_COVERAGE
#include <gcov.h>
#else
#define __gcov_dump() ((void)0)
#endif

void failpoint_hit(const char *name)
{
	static atomic_ulong passages;
	const char *wanted = getenv("BANGER_FAILPOINT");
	size_t len = strlen(name);
	if (!wanted || strncmp(wanted, name, len) != 0)
		return;
	unsigned long nth = 1;
	if (wanted[len] == '@')
		nth = strtoul(wanted + len + 1, NULL, 10);
	else if (wanted[len] != '\0')
		return;
	if (atomic_fetch_add(&passages, 1) + 1 != nth)
		return;
	__gcov_dump(); /* what was counted up to here */
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

void failpoint_step(const char *when, const char *step)
{
	char name[64];
	snprintf(name, sizeof(name), "%s %s", when, step);
	failpoint_hit(name);
}

bool fault_active(const char *name, int64_t *ret_number)
{
	const char *dir = getenv("BANGER_FAULTS");
	char path[256];
	long long number = 0;
	if (!dir || (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return false;
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	if (fscanf(file, "%lld", &number) != 1)
		number = 0;
	fclose(file);
	if (ret_number)
		*ret_number = number;
	return true;
}
#endif
