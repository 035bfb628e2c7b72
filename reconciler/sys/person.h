/* sys/person.h - a user of this host, and files read with his rights instead of ours.
 *
 * For a path that somebody named who must not get by us what he could not get himself. The kernel
 * judges: a process that is he opens it, with his groups and none of our capabilities, so that
 * links, races and what lies on the way need no thought of ours. */
#ifndef SYS_PERSON_H
#define SYS_PERSON_H

#include "base/buf.h"
#include "base/error.h"

#include <sys/types.h>

struct person {
	uid_t uid;
	gid_t gid, *groups; /* all that he is in; owned */
	size_t group_count;
	char *home; /* owned */
};

/* As the user database has him; asks the name service, which may block. NOT_FOUND: nobody. */
int person_find(uid_t uid, struct person *ret, struct error *err);
void person_clear(struct person *person);
#define auto_person __attribute__((cleanup(person_clear)))

/* Appends the file's bytes. Blocks for at most ten seconds, whatever file system it lies on; worker
 * threads only. INVALID: more than max_bytes (err->sys is EFBIG), or no regular file, as which what
 * /proc shows does not count. The rest is as open() and read() have it. */
int person_read(const struct person *person, const char *path, size_t max_bytes, struct buf *ret,
		struct error *err);

#endif
