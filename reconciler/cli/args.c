#include "cli/args.h"
#include "base/units.h"

#include <stdlib.h>
#include <string.h>

#define SUGGEST_MAX 63 /* longer words are not typing mistakes */

/* Damerau-Levenshtein over three rows: a swap of neighbours is one mistake. */
static unsigned edit_distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	unsigned rows[3][SUGGEST_MAX + 1];
	if (a_len > SUGGEST_MAX || b_len > SUGGEST_MAX)
		return SUGGEST_MAX;
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *over = rows[(i + 1) % 3];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    over[j - 2] + 1 < best)
				best = over[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[a_len % 3][b_len];
}

const char *suggest(const char *typed, const char *const *names, size_t count)
{
	const char *best = NULL;
	unsigned limit = strlen(typed) < 4 ? 1 : 2, least = limit + 1;
	for (size_t i = 0; i < count; i++) {
		unsigned distance = edit_distance(typed, names[i]);
		if (distance < least) {
			least = distance;
			best = names[i];
		}
	}
	return best;
}

static const struct flag *find_letter(const struct command *command, char letter)
{
	for (const struct flag *f = command ? command->flags : NULL; f && f->name; f++)
		if (f->letter == letter)
			return f;
	for (const struct flag *f = global_flags; f->name; f++)
		if (f->letter == letter)
			return f;
	return NULL;
}

static int unknown_flag(const struct command *command, const char *name, struct error *err)
{
	struct word_vec names = { 0 };
	for (const struct flag *f = command ? command->flags : NULL; f && f->name; f++)
		word_vec_push(&names, f->name);
	for (const struct flag *f = global_flags; f->name; f++)
		word_vec_push(&names, f->name);
	const char *meant = suggest(name, names.at, names.count);
	word_vec_clear(&names);
	if (meant)
		return error_set(err, ERROR_INVALID, "unknown flag '--%.60s', did you mean '--%s'?",
				 name, meant);
	return error_set(err, ERROR_INVALID, "unknown flag '--%.60s'", name);
}

static bool is_one_of(const char *text, const char *words)
{
	size_t len = strlen(text);
	for (const char *at = words; len && (at = strstr(at, text)); at += len)
		if ((at == words || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
			return true;
	return false;
}

static int add_value(struct args *args, const struct flag *flag, const char *text,
		     struct error *err)
{
	const char *words = flag->value ? flag->words : "true false";
	if (words && !is_one_of(text, words))
		return error_set(err, ERROR_INVALID, "--%s cannot be '%.60s', it is one of: %s",
				 flag->name, text, words);
	uint64_t ms;
	if (flag->value && !strcmp(flag->value, "DURATION") &&
	    units_parse_duration(text, &ms, err) < 0)
		return error_wrap(err, "--%s", flag->name);
	flag_value_vec_push(&args->flags, (struct flag_value){ flag, text });
	return 0;
}

/* argv[0] is "--name" or "--name=value". *used: 1, or 2 when the value was the next one. */
static int parse_long(struct args *args, const struct command *command, const char *const *argv,
		      size_t count, size_t *used, struct error *err)
{
	const char *name = argv[0] + 2, *equals = strchr(name, '=');
	auto_free char *bare = equals ? xstrndup(name, (size_t)(equals - name)) : xstrdup(name);
	const struct flag *flag = command_flag(command, bare);
	*used = 1;
	if (!flag)
		return unknown_flag(command, bare, err);
	if (equals)
		return add_value(args, flag, equals + 1, err);
	if (!flag->value)
		return add_value(args, flag, "true", err);
	if (count < 2)
		return error_set(err, ERROR_INVALID, "--%s needs a value: --%s %s", flag->name,
				 flag->name, flag->value);
	*used = 2;
	return add_value(args, flag, argv[1], err);
}

/* argv[0] is "-x", "-xvalue" or a bundle of switches. */
static int parse_short(struct args *args, const struct command *command, const char *const *argv,
		       size_t count, size_t *used, struct error *err)
{
	*used = 1;
	for (const char *at = argv[0] + 1; *at; at++) {
		const struct flag *flag = find_letter(command, *at);
		if (!flag)
			return error_set(err, ERROR_INVALID, "unknown flag '-%c' in '%.60s'", *at,
					 argv[0]);
		if (!flag->value) {
			if (add_value(args, flag, "true", err) < 0)
				return -1;
			continue;
		}
		if (at[1])
			return add_value(args, flag, at + 1, err);
		if (count < 2)
			return error_set(err, ERROR_INVALID, "-%c needs a value: -%c %s", *at, *at,
					 flag->value);
		*used = 2;
		return add_value(args, flag, argv[1], err);
	}
	return 0;
}

int args_parse(struct args *args, const struct command *command, const char *const *argv,
	       size_t count, size_t *ret_used, struct error *err)
{
	size_t i = 0;
	bool verbatim = false;
	while (i < count) {
		const char *arg = argv[i];
		size_t used = 1;
		if (!verbatim && !strcmp(arg, "--")) {
			verbatim = args->dashes = true;
			args->words_before = args->words.count;
		} else if (!verbatim && arg[0] == '-' && arg[1] == '-') {
			if (parse_long(args, command, argv + i, count - i, &used, err) < 0)
				return -1;
		} else if (!verbatim && arg[0] == '-' && arg[1]) {
			if (parse_short(args, command, argv + i, count - i, &used, err) < 0)
				return -1;
		} else {
			if (!command)
				break;
			/* `ssh web uname -a`: from uname on, nothing is ours. */
			if (command->verbatim_after && args->words.count >= command->verbatim_after)
				verbatim = true;
			word_vec_push(&args->words, arg);
		}
		i += used;
	}
	*ret_used = i;
	return 0;
}

void args_clear(struct args *args)
{
	word_vec_clear(&args->words);
	flag_value_vec_clear(&args->flags);
}
