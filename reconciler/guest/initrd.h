/* guest/initrd.h - archives one after the other in one file, as the kernel reads them. */
#ifndef GUEST_INITRD_H
#define GUEST_INITRD_H

#include "base/error.h"

#define INITRD_ALIGN	4096
#define INITRD_PART_MAX (256u << 20) /* bytes; beyond, the path is surely a wrong one */

/* Appends the file at path to fd, whose offset is a multiple of INITRD_ALIGN, and moves on to the
 * next such multiple; what lies between reads as zeros once something follows. */
int initrd_add_part(int fd, const char *path, struct error *err);

#endif
