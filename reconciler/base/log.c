#include "base/log.h"
#include "base/buf.h"
#include "base/cleanup.h"

#include <stdarg.h>
#include <time.h>

static enum log_level threshold = LOG_INFO;

void log_set_level(enum log_level most_verbose)
{
	threshold = most_verbose;
}

enum log_level log_get_level(void)
{
	return threshold;
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error";
	case LOG_WARN:
		return "warn";
	case LOG_INFO:
		return "info";
	case LOG_DEBUG:
		break;
	}
	return "debug";
}

void log_line(enum log_level level, const char *vm, const char *fmt, ...)
{
	if (level > threshold)
		return;
	auto_buf struct buf line = BUF_INIT;
	if (getenv("JOURNAL_STREAM")) {
		buf_addf(&line, "<%d>", level);
	} else {
		struct timespec now;
		struct tm utc;
		char stamp[32];
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &utc);
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
		buf_addf(&line, "%s.%03ldZ %s ", stamp, now.tv_nsec / 1000000, level_name(level));
	}
	if (vm)
		buf_addf(&line, "vm=%s ", vm);
	va_list args;
	va_start(args, fmt);
	size_t from = line.len;
	buf_addv(&line, fmt, args);
	va_end(args);
	/* One thing, one line: what a guest or a file put into a text cannot forge another. */
	for (size_t i = from; i < line.len; i++)
		if ((unsigned char)line.data[i] < ' ')
			line.data[i] = ' ';
	buf_add_char(&line, '\n');
	ssize_t written = write(STDERR_FILENO, line.data, line.len);
	(void)written; /* a full disk must not stop the controller */
}
