/* cli/help.h - the command table as text for people. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "base/buf.h"
#include "cli/command.h"

void help_all(struct buf *out);
void help_command(struct buf *out, const struct command *command);
void help_family(struct buf *out, const char *family);
void help_flag_label(struct buf *out, const struct flag *flag); /* "-f, --file FILE" */
void help_wrap(struct buf *out, const char *text, unsigned width);

#endif
