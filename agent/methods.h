/* agent/methods.h - what the host can ask: a table of {name, function}. */
#ifndef AGENT_METHODS_H
#define AGENT_METHODS_H

#include "agent/agent.h"

struct request {
	int64_t id;	     /* 0 … 2^53; -1 when it could not be read */
	const char *method;  /* borrowed from json, as is params */
	const cJSON *params; /* an object, or NULL when none were given */
	cJSON *json;	     /* owned */
};

enum method_answer {
	METHOD_FAILED = -1, /* err is set */
	METHOD_DONE = 0,    /* result is filled */
	METHOD_LATER = 1,   /* a job will answer */
};

struct method {
	const char *name;
	enum method_answer (*run)(struct agent *agent, const struct request *request, cJSON *result,
				  struct error *err);
};

/* The table; ends with a NULL name. */
extern const struct method methods[];

/* line need not be terminated. On failure id is set when it could be read, the rest is empty. */
int request_parse(const char *line, size_t len, struct request *ret, struct error *err);
void request_clear(struct request *request);

/* Answers one line of the host through agent->channel; line NULL: it was too long. */
void methods_answer(const struct method *table, struct agent *agent, const char *line, size_t len);

#endif
