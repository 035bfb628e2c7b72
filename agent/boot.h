/* agent/boot.h - the agent as the guest's first process: from the initrd to the image's init. */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

/* Runs as process 1 of an initrd and becomes the image's init; the agent lives on in a child. Any
 * failure is said on the console and to the host, and then the machine is powered off.
 * name: argv[0], which the agent marks as its own. */
_Noreturn void boot_run(char *name);

#endif
