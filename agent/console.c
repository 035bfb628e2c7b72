#include "agent/console.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void console_say(const char *fmt, ...)
{
	int saved = errno;
	char line[1100] = "banger: ";
	size_t start = 8, room = sizeof(line) - start - 2;
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(line + start, room, fmt, args);
	va_end(args);
	if (len < 0)
		len = 0;
	size_t end = start + ((size_t)len < room ? (size_t)len : room - 1);
	/* The console's terminal is not in a mode that returns the carriage. */
	line[end++] = '\r';
	line[end++] = '\n';
	ssize_t put = write(STDERR_FILENO, line, end);
	(void)put;
	errno = saved;
}
