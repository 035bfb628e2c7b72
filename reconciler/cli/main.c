#include "cli/cli.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct cli_io io = {
		.in = stdin,
		.out = stdout,
		.err = stderr,
		.in_tty = isatty(STDIN_FILENO),
		.out_tty = isatty(STDOUT_FILENO),
		.err_tty = isatty(STDERR_FILENO),
	};
	const char *term = getenv("TERM");
	struct winsize size;
	/* Without a size nothing is painted: a terminal that cannot move its cursor is a log. */
	if (term && strcmp(term, "dumb") != 0 &&
	    (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ||
	     ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)) {
		io.columns = size.ws_col;
		io.rows = size.ws_row;
	}
	setlocale(LC_CTYPE, "");
	io.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	return cli_run(argc, argv, &io);
}
