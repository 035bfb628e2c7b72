#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int status;
	enum error_retry retry;
} codes[ERROR_COUNT_] = {
#define X(name, wire, status, retry) [ERROR_##name] = { wire, status, retry },
	ERROR_CODES(X)
#undef X
};

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	err->code = code;
	err->sys = 0;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return -1;
}

int error_sys(struct error *err, const char *fmt, ...)
{
	int saved = errno;
	va_list args;
	va_start(args, fmt);
	err->code = ERROR_SYSTEM;
	err->sys = saved;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return error_append(err, ": %s", strerror(saved));
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	char old[sizeof(err->text)];
	memcpy(old, err->text, sizeof(old));
	va_list args;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return error_append(err, ": %s", old);
}

int error_append(struct error *err, const char *fmt, ...)
{
	size_t len = strnlen(err->text, sizeof(err->text) - 1);
	va_list args;
	va_start(args, fmt);
	vsnprintf(err->text + len, sizeof(err->text) - len, fmt, args);
	va_end(args);
	return -1;
}

const char *error_code_name(enum error_code code)
{
	return code < ERROR_COUNT_ ? codes[code].name : "system";
}

enum error_code error_code_parse(const char *name)
{
	for (int i = 0; name && i < ERROR_COUNT_; i++)
		if (!strcmp(codes[i].name, name))
			return (enum error_code)i;
	return ERROR_SYSTEM;
}

int error_exit_status(enum error_code code)
{
	return code < ERROR_COUNT_ ? codes[code].status : 4;
}

enum error_retry error_retry(enum error_code code)
{
	return code < ERROR_COUNT_ ? codes[code].retry : RETRY_BACKOFF;
}
