/* driver/last_words.h - what a hypervisor said before it ended. */
#ifndef DRIVER_LAST_WORDS_H
#define DRIVER_LAST_WORDS_H

#include "driver/driver.h"

#define LAST_WORDS_QUOTE 500 /* bytes of them in an error */

/* The end of VM_FILE_LOG as one line of printable text; nothing when there is none. */
void last_words(int vm_dirfd, struct buf *ret);
/* SYSTEM: "<program> ended at once: <words>". */
int last_words_error(const char *program, const struct buf *words, struct error *err);

#endif
