/* Stands in for qemu-system-x86_64 where only the moment of its exec matters: notes the time of its
 * first instruction and its arguments, and ends.
 *
 *	BENCH_STAND_IN=FILE qemu-system-x86_64 ARGUMENT…
 *
 * appends to FILE: CLOCK_MONOTONIC in ns as text, then every argument, each ended by a NUL, and a
 * newline. One write, so that two of them do not mix. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char line[65536];
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	const char *path = getenv("BENCH_STAND_IN");
	if (!path)
		return 1;
	size_t len = (size_t)snprintf(line, sizeof(line), "%lld",
				      (long long)now.tv_sec * 1000000000 + now.tv_nsec) +
		     1;
	for (int i = 0; i < argc && len + strlen(argv[i]) + 2 < sizeof(line); i++) {
		memcpy(line + len, argv[i], strlen(argv[i]) + 1);
		len += strlen(argv[i]) + 1;
	}
	line[len++] = '\n';
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 || write(fd, line, len) != (ssize_t)len;
}
