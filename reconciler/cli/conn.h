/* cli/conn.h - the way to the daemon: found, started when nobody answers, found again.
 *
 * A command just calls; the first call connects. When bangerd ends between two calls the next one
 * starts it again: VMs do not depend on it. */
#ifndef CLI_CONN_H
#define CLI_CONN_H

#include "cli/cli.h"

#define CONN_CALL_MS 60000 /* a daemon that says nothing for so long is stuck */

struct daemon_info {
	char version[64], commit[64];
	int64_t pid, started_ms, vms, running;
};

/* Connects if that has not been done; start: runs bangerd when nobody answers. Fails with
 * ERROR_UNAVAILABLE. */
int conn_open(struct cli *cli, bool start, struct error *err);
void conn_close(struct cli *cli);
/* Who answered when the connection was made. */
const struct daemon_info *conn_daemon(const struct cli *cli);

/* For waiting until it ends; -1 when there is none. */
int conn_fd(const struct cli *cli);

/* Calls, connecting first. params is borrowed, may be NULL. fd -1: none. *ret is the caller's. */
int conn_call(struct cli *cli, const char *method, const cJSON *params, cJSON **ret,
	      struct error *err);
int conn_call_fd(struct cli *cli, const char *method, const cJSON *params, int fd, cJSON **ret,
		 struct error *err);
/* The same, with a descriptor for an answer: the daemon is given one end of a socket pair and puts
 * it in there. *ret_fd is the caller's. */
int conn_call_for_fd(struct cli *cli, const char *method, const cJSON *params, int *ret_fd,
		     struct error *err);
/* True when err of a failed call means that the daemon is gone, not that it said no. */
bool conn_is_lost(const struct error *err);

/* Every item of a paged list, as one array. params may be NULL. */
int conn_list(struct cli *cli, const char *method, const cJSON *params, cJSON **ret,
	      struct error *err);

/* The error that an object carries in "error", if it does. */
bool conn_item_error(const cJSON *item, struct error *ret);

#endif
