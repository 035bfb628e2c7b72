/* cli/cli.h - one run of `banger`: what was typed, where it writes, whom it talks to.
 *
 * A command is a row of the table in command_table.c and a function int (struct cli *) that returns
 * the exit status. Results go to cli->io.out, everything else (progress, notes, errors) to
 * cli->io.err. The streams are members, not stdout and stderr, so that tests run whole commands
 * in-process. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/args.h"
#include "cli/command.h"
#include "sys/paths.h"

#include <stdbool.h>
#include <stdio.h>

/* version.c: of this program; the commit may be "unknown". */
extern const char cli_version[], cli_commit[];

/* Exit statuses beside those of base/error.h; all of them are listed in banger(1). */
enum {
	STATUS_DONE = 0,
	STATUS_DIFFERS = 1,
	STATUS_INVALID = 2,
	STATUS_REFUSED = 3,
	STATUS_FAILED = 4,
	STATUS_TIMEOUT = 5,
	STATUS_SSH = 125,
	STATUS_INTERRUPTED = 130,
};

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_NAME };

struct cli_io {
	FILE *in, *out, *err;
	bool in_tty, out_tty, err_tty;
	unsigned columns, rows; /* of the terminal; 0: none or unknown */
	bool utf8;		/* the locale can show ✓ */
};

struct conn; /* cli/conn.h */

struct cli {
	struct cli_io io;
	const struct command *command;
	struct args args;
	enum output output;
	bool quiet, verbose;
	bool system; /* the machine's bangerd, not the person's */
	bool colour; /* of what goes to out */
	struct paths paths;
	struct conn *conn; /* NULL until the daemon is needed */
};

/* A whole run; argv[0] is skipped. Returns the exit status. */
int cli_run(int argc, char *const *argv, const struct cli_io *io);

/* What was typed. A flag name that the command does not have is a bug, not a miss. */
bool cli_flag(const struct cli *cli, const char *flag);
/* The last value given, or the fallback. */
const char *cli_value(const struct cli *cli, const char *flag, const char *fallback);
/* The nth value of a repeatable flag, NULL behind the last. */
const char *cli_value_at(const struct cli *cli, const char *flag, size_t n);
/* A flag that holds a duration; 0 when it is absent. */
int cli_duration(const struct cli *cli, const char *flag, uint64_t *ret_ms, struct error *err);

/* Whoever calls is not the machine's root, whose bangerd he talks to. */
bool cli_is_member(const struct cli *cli);

/* cmd_history.c: the number of a revision, as people write it. */
int revision_parse(const char *text, int64_t *ret, struct error *err);

/* --- saying things --- */

void cli_say(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "banger: …" to err, unless quiet. */
void cli_note(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line to err as it stands, without "banger: ", quiet or not. */
void cli_complain(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "  hint: …" to err: what to do next. */
void cli_hint(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "banger: text" and, where one is known, a hint. Returns the exit status of err's code. */
int cli_fail(struct cli *cli, const struct error *err);
/* The same about one VM: "banger: vm 'web': text". */
int cli_fail_vm(struct cli *cli, const char *name, const struct error *err);
/* A wrong command line: the text and where to read more. Returns STATUS_INVALID. */
int cli_misused(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Asks on the terminal; false unless the answer begins with y. */
bool cli_ask(struct cli *cli, const char *question);

/* True (and printed) when -o json or yaml was asked for. */
bool cli_print_structured(struct cli *cli, const cJSON *value);

static inline int worse(int a, int b)
{
	return a > b ? a : b;
}

#endif
