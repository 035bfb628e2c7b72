/* cli/args.h - a command line taken apart.
 *
 * Flags may stand before, between and after words; "--" ends them. "--name=value", "--name value",
 * "-xvalue", "-x value" and bundled switches ("-yq") are read. A switch also takes "=true" and
 * "=false". Strings are borrowed from argv. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "base/cleanup.h"
#include "base/error.h"
#include "base/vec.h"
#include "cli/command.h"

struct flag_value {
	const struct flag *flag;
	const char *text; /* of a switch: "true" or "false" */
};
DEFINE_VEC(flag_value_vec, struct flag_value)
DEFINE_VEC(word_vec, const char *)

struct args {
	struct word_vec words;
	struct flag_value_vec flags;
	bool dashes; /* "--" was there, behind so many words */
	size_t words_before;
};

/* Appends to args. command NULL: only the global flags are known, and the first word ends it.
 * *ret_used: how many of argv were read. */
int args_parse(struct args *args, const struct command *command, const char *const *argv,
	       size_t count, size_t *ret_used, struct error *err);
void args_clear(struct args *args);

/* The nearest of names by edit distance, NULL when none is near enough to be meant. */
const char *suggest(const char *typed, const char *const *names, size_t count);

#endif
