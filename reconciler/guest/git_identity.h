/* guest/git_identity.h - who commits: user.name and user.email of the host's user. */
#ifndef GUEST_GIT_IDENTITY_H
#define GUEST_GIT_IDENTITY_H

#include "base/buf.h"
#include "sys/person.h"

#include <stdbool.h>

/* Appends a gitconfig with the identity of the user whose home is home ("" and NULL: none); false
 * and nothing appended when there is none. Reads .config/git/config and .gitconfig itself, the
 * second wins; includes are not followed: this runs at every start and a git process costs more
 * than the rest of the seed. reader: with whose rights; NULL: ours. */
bool git_identity(const char *home, const struct person *reader, struct buf *ret);

/* The parser, for tests and fuzzing: the last user.name and user.email of text; NULL when unset.
 * What is there already is replaced. Bad syntax ends the reading, as it does for git. */
struct git_user {
	char *name, *email;
};
void git_user_parse(const char *text, struct git_user *user);
void git_user_clear(struct git_user *user);

#endif
