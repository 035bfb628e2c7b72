/* cli/git.h - a repository on this host, read by the caller's own git.
 *
 * Nothing that the repository's configuration names is run: hooks, filters, fsmonitor, external
 * diffs, ssh commands and pagers are switched off on each command line. Nothing is written either,
 * no lock, no index. All lists are NUL-separated: a name may hold any other byte. */
#ifndef CLI_GIT_H
#define CLI_GIT_H

#include "base/buf.h"
#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>

DEFINE_VEC(string_vec, char *)
void strings_clear(struct string_vec *strings);
#define auto_strings __attribute__((cleanup(strings_clear)))

struct git {
	char *source; /* as named, absolute */
	char *root;   /* of the working tree; of the repository itself when it is bare */
	bool bare;
	bool sha256;
	char *head, *branch;	     /* of this host; branch "" when HEAD is detached */
	struct string_vec overrides; /* "-c", "key=value", … */
};
/* "not a git repository", "no commits yet": ERROR_INVALID. */
int git_open(struct git *ret, const char *source, struct error *err);
void git_clear(struct git *git);
#define auto_git __attribute__((cleanup(git_clear)))

/* git with these words (NULL-terminated), stdout into out (binary) or into out_fd. in_fd -1: none.
 * ret_status NULL: a status other than 0 is an error. */
int git_run(const struct git *git, const char *const *words, struct buf *out, int *ret_status,
	    struct error *err);
int git_pipe(const struct git *git, const char *const *words, int in_fd, int out_fd,
	     struct error *err);
/* The commit that a name means; NULL with ERROR_INVALID. Caller frees. */
char *git_commit_of(const struct git *git, const char *name, struct error *err);
/* A value of its configuration, "" when it has none. Caller frees. */
char *git_config(const struct git *git, const char *key);

/* NUL-separated text as a list of its parts. */
void git_split(const struct buf *text, struct string_vec *ret);

/* What is on disk beside the commit HEAD. */
struct git_changes {
	struct string_vec changed;   /* tracked, other than in HEAD: ships as it is on disk */
	struct string_vec removed;   /* tracked in HEAD, gone from disk or index */
	struct string_vec untracked; /* and not ignored */
};
void git_changes_clear(struct git_changes *changes);
#define auto_git_changes __attribute__((cleanup(git_changes_clear)))
int git_changes(const struct git *git, struct git_changes *ret, struct error *err);
/* Reads `diff-index --name-status -z`. */
int git_parse_status(const struct buf *text, struct git_changes *ret, struct error *err);
/* Paths of the submodules of a commit. */
int git_submodules(const struct git *git, const char *commit, struct string_vec *ret,
		   struct error *err);
/* Names of a commit's files. */
int git_files(const struct git *git, const char *commit, struct string_vec *ret, struct error *err);
/* Without user and password, which are nobody's business in a guest. Caller frees. */
char *git_clean_url(const char *url);

#endif
