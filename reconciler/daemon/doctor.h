/* daemon/doctor.h - what a host must have for VMs to run: one row a requirement.
 *
 * A row looks, says what it found and, when that is not well, what to do. Rows of which banger can
 * do that itself, without harm and so that it can be taken back, have a function that does (`doctor
 * --fix`); then the row looks again. Everything blocks: a worker's. */
#ifndef DAEMON_DOCTOR_H
#define DAEMON_DOCTOR_H

#include "exec/ledger.h"
#include "base/json.h"
#include "sys/paths.h"

enum health { HEALTH_PASS, HEALTH_WARN, HEALTH_FAIL };
enum { IN_SESSION = 1, IN_SYSTEM = 2, IN_BOTH = 3 };

struct doctor {
	const struct paths *paths;
	const struct ledger *ledger; /* looked at, as far as that was possible */
	const struct error *ledger_err;
};

struct finding {
	enum health health;
	struct buf detail;
	struct buf fix; /* empty: the row's */
	/* Modules that may mend it, the first that can be loaded: the caller's to do, if he is
	 * root. bangerd has no right to. NULL: none */
	const char *const *modules;
};

struct doctor_row {
	const char *check;
	unsigned modes; /* in which it matters */
	void (*look)(const struct doctor *doctor, const struct doctor_row *row,
		     struct finding *ret);
	const char *fix;
	/* Says what it did; nothing: it could do nothing. NULL: only a person can. */
	int (*mend)(const struct doctor *doctor, const struct doctor_row *row, struct buf *ret_done,
		    struct error *err);
	/* for rows that share their functions */
	const char *what;	    /* program, module, library, file */
	const char *without;	    /* what does not work without it */
	enum health if_missing;	    /* how bad that is */
	const char *const *modules; /* of a device, ends with NULL */
};

/* Each ends with check NULL. */
extern const struct doctor_row doctor_programs[], doctor_kernel[], doctor_own[];

/* PASS: 0, so that a row only says what is wrong. */
void finding_set(struct finding *ret, enum health health, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds {check, status, detail, fix, fixed} for every row that matters here. */
void doctor_report(const struct doctor *doctor, bool mend, cJSON *items);

#endif
