/* base/error.h - what went wrong, as a value.
 *
 * A function that can fail returns 0 or -1 (or a pointer or NULL) and fills the caller's struct
 * error, which is never NULL. The code decides what happens next, the text is for people: it names
 * the VM, the object, the cause, and what to do. Setters return -1, so the failing path is one
 * statement. No allocation, nothing to free, may cross threads. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

enum error_retry {
	RETRY_NEVER,	 /* nothing to retry */
	RETRY_ON_CHANGE, /* only a changed spec can help */
	RETRY_BACKOFF,	 /* try again, later each time */
};

#define ERROR_CODES(X) /* name, wire name, exit status, what the reconciler does next */           \
	X(NONE, "none", 0, RETRY_NEVER)                                                            \
	X(INVALID, "invalid", 2, RETRY_ON_CHANGE)	/* the input is wrong */                   \
	X(NOT_FOUND, "not-found", 2, RETRY_ON_CHANGE)	/* no such VM, image, kernel, stack */     \
	X(CONFLICT, "conflict", 3, RETRY_ON_CHANGE)	/* refused: owned, protected, in use */    \
	X(BUSY, "busy", 4, RETRY_BACKOFF)		/* port taken, lock held */                \
	X(SYSTEM, "system", 4, RETRY_BACKOFF)		/* the host or the hypervisor failed */    \
	X(TIMEOUT, "timeout", 5, RETRY_BACKOFF)		/* a deadline passed */                    \
	X(CANCELLED, "cancelled", 4, RETRY_NEVER)	/* superseded by a later request */        \
	X(UNAVAILABLE, "unavailable", 4, RETRY_BACKOFF) /* the daemon cannot be reached */

enum error_code {
#define X(name, wire, status, retry) ERROR_##name,
	ERROR_CODES(X)
#undef X
		ERROR_COUNT_
};

struct error {
	enum error_code code;
	int sys; /* errno of the cause, 0 when none */
	char text[1000];
};

/* All return -1. error_sys() appends ": <strerror(errno)>" and takes errno as it is on entry. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int error_sys(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "fmt: " before the text that is there; code and errno stay. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends, e.g. the tail of a program's stderr or a hint. */
int error_append(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *error_code_name(enum error_code code);  /* "conflict" */
enum error_code error_code_parse(const char *name); /* unknown or NULL: ERROR_SYSTEM */
int error_exit_status(enum error_code code);
enum error_retry error_retry(enum error_code code);

#endif
