/* base/log.h - one line to stderr for each thing worth saying; journald or the log file keeps it.
 *
 * Layers up to driver/ return errors and log at debug only; daemon/ and cli/ say each failure once.
 * Texts: lower case, no full stop, fault first, subject in quotes; ignored faults end ", ignoring".
 * When stderr is journald's, lines begin with its <N> priority. Safe from any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };

void log_set_level(enum log_level most_verbose); /* default LOG_INFO; before any thread */
enum log_level log_get_level(void);
/* vm may be NULL; otherwise the line carries vm=<name>. */
void log_line(enum log_level level, const char *vm, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(vm, ...) log_line(LOG_ERROR, vm, __VA_ARGS__)
#define log_warn(vm, ...)  log_line(LOG_WARN, vm, __VA_ARGS__)
#define log_info(vm, ...)  log_line(LOG_INFO, vm, __VA_ARGS__)
#define log_debug(vm, ...) log_line(LOG_DEBUG, vm, __VA_ARGS__)

#endif
