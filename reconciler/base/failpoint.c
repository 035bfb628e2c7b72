#include "base/failpoint.h"

#ifdef BANGER_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
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
#endif
