/* agent/jobs.h - what may take long runs in a forked child, so that `poweroff` and `ping` are
 * answered meanwhile. The child writes the reply's line into a pipe and exits. */
#ifndef AGENT_JOBS_H
#define AGENT_JOBS_H

#include "agent/channel.h"

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

#define JOBS_MAX       8
#define JOBS_REPLY_MAX CHANNEL_LINE_MAX

struct job {
	pid_t pid; /* 0: free */
	int fd;	   /* read end, owned */
	int64_t id;
	struct buf reply;
};

struct jobs {
	struct job at[JOBS_MAX];
};

/* Work of a job, in the child. result is an empty object to fill. arg is copied by the fork. */
typedef int job_fn(const void *arg, cJSON *result, struct error *err);

/* Fails with ERROR_BUSY when JOBS_MAX run already. id: of the request to be answered. */
int jobs_start(struct jobs *jobs, int64_t id, job_fn *run, const void *arg, struct error *err);

/* Adds the pipes to poll[]; returns how many. */
size_t jobs_poll(const struct jobs *jobs, struct pollfd poll[JOBS_MAX]);
/* Reads what there is and sends the replies that are complete. */
void jobs_read(struct jobs *jobs, struct channel *channel);
/* Kills what still runs. */
void jobs_clear(struct jobs *jobs);

/* The two shapes of a reply; the caller frees. id < 0: null, for what had no readable id. */
cJSON *reply_result(int64_t id, cJSON *result_taken);
cJSON *reply_error(int64_t id, const struct error *err);

#endif
