/* cli/command.h - the commands as data.
 *
 * One row of commands[] is a command: its help, its section in banger(1), its completion and its
 * dispatch all read it, so that none of them can forget a flag. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct cli;

/* What may be completed in a place. */
enum complete {
	COMPLETE_NOTHING,
	COMPLETE_VM,
	COMPLETE_IMAGE,
	COMPLETE_FILE,
	COMPLETE_DIR,
	COMPLETE_COMMAND,
	COMPLETE_WORDS, /* those of flag.words */
};

struct flag {
	const char *name;  /* without dashes; NULL ends a table */
	const char *value; /* what it takes, as shown in help ("FILE"); NULL: a switch */
	const char *doc;
	const char *words; /* the values it may take, separated by spaces; NULL: any */
	enum complete complete;
	char letter; /* 0: none */
};

enum command_group { GROUP_STACK, GROUP_VM, GROUP_IMAGE, GROUP_OP, GROUP_DAEMON, GROUP_COUNT_ };
#define WORDS_ANY 1000000u

struct command {
	const char *name;  /* "apply", "image pull" */
	const char *alias; /* "ls"; NULL: none */
	enum command_group group;
	bool vm_verb;	  /* also "vm NAME" */
	bool hidden;	  /* not in help: for our own build and for completion */
	const char *args; /* "NAME…"; "" for none */
	const char *doc;  /* one line, lower case, no full stop */
	const char *more; /* paragraphs for help and man page, separated by empty lines; NULL */
	const struct flag *flags; /* its own; NULL: none */
	unsigned min_words, max_words;
	/* So many words are ours; what follows is passed on as it stands, flags too. 0: no such
	 * end. */
	unsigned verbatim_after;
	enum complete complete;
	int (*run)(struct cli *cli);
};

extern const struct command commands[];
extern const size_t command_count;
extern const struct flag global_flags[];

const char *command_group_title(enum command_group group);

/* The command that words begin with; *ret_used is how many of them name it. NULL: no such. */
const struct command *command_find(const char *const *words, size_t count, size_t *ret_used);
/* The known command that was most likely meant, NULL when none is near. */
const char *command_suggest(const char *first, const char *second);
/* Some command begins with this word ("image"). */
bool command_is_family(const char *word);
const struct flag *command_flag(const struct command *command, const char *name);

#endif
