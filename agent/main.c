/* banger-agent: the first process of a guest, then its agent. See PROTOCOL.md. */
#include "agent/boot.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (getpid() == 1)
		boot_run(argv[0]);
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("banger-agent " BANGER_VERSION);
		return 0;
	}
	fputs("banger-agent is the init of a guest's initrd: it runs as process 1, "
	      "or tells its --version\n",
	      stderr);
	return 2;
}
