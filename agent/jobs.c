#include "agent/jobs.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static void add_id(cJSON *reply, int64_t id)
{
	if (id < 0)
		cJSON_AddNullToObject(reply, "id");
	else
		json_add_int(reply, "id", id);
}

cJSON *reply_result(int64_t id, cJSON *result_taken)
{
	cJSON *reply = cJSON_CreateObject();
	add_id(reply, id);
	cJSON_AddItemToObject(reply, "result", result_taken);
	return reply;
}

cJSON *reply_error(int64_t id, const struct error *err)
{
	cJSON *reply = cJSON_CreateObject();
	add_id(reply, id);
	cJSON *body = cJSON_AddObjectToObject(reply, "error");
	json_add_str(body, "code", error_code_name(err->code));
	json_add_str(body, "text", err->text);
	return reply;
}

_Noreturn static void job_child(int fd, int64_t id, job_fn *run, const void *arg)
{
	struct error err = { 0 };
	cJSON *result = cJSON_CreateObject();
	cJSON *reply =
		run(arg, result, &err) < 0 ? reply_error(id, &err) : reply_result(id, result);
	char *text = json_print(reply);
	_exit(fs_write_all(fd, text, strlen(text)) < 0);
}

int jobs_start(struct jobs *jobs, int64_t id, job_fn *run, const void *arg, struct error *err)
{
	struct job *job = jobs->at;
	while (job < jobs->at + JOBS_MAX && job->pid)
		job++;
	if (job == jobs->at + JOBS_MAX)
		return error_set(err, ERROR_BUSY, "%d requests are being worked on", JOBS_MAX);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, "cannot make a pipe");
	auto_close int read_end = ends[0];
	auto_close int write_end = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return error_sys(err, "cannot fork");
	if (pid == 0)
		job_child(write_end, id, run, arg);
	if (fcntl(read_end, F_SETFL, O_NONBLOCK) < 0)
		BUG("no O_NONBLOCK on a pipe");
	*job = (struct job){ .pid = pid, .fd = take_fd(&read_end), .id = id, .reply = BUF_INIT };
	return 0;
}

size_t jobs_poll(const struct jobs *jobs, struct pollfd poll[JOBS_MAX])
{
	size_t count = 0;
	for (size_t i = 0; i < JOBS_MAX; i++)
		if (jobs->at[i].pid)
			poll[count++] = (struct pollfd){ .fd = jobs->at[i].fd, .events = POLLIN };
	return count;
}

/* 1: more to come, 0: complete, -1: it failed or says too much. */
static int read_reply(struct job *job)
{
	for (;;) {
		char *to = buf_grow(&job->reply, 4096);
		ssize_t got = read(job->fd, to, 4096);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? 1 : -1;
		if (got == 0)
			return 0;
		buf_grown(&job->reply, (size_t)got);
		if (job->reply.len > JOBS_REPLY_MAX)
			return -1;
	}
}

static void job_end(struct job *job)
{
	kill(job->pid, SIGKILL); /* not yet waited for: still ours */
	waitpid(job->pid, NULL, 0);
	close(job->fd);
	buf_clear(&job->reply);
	*job = (struct job){ 0 };
}

void jobs_read(struct jobs *jobs, struct channel *channel)
{
	for (struct job *job = jobs->at; job < jobs->at + JOBS_MAX; job++) {
		int more = job->pid ? read_reply(job) : 1;
		if (more == 1)
			continue;
		struct error err = { 0 };
		auto_json cJSON *reply =
			more < 0 ? NULL : json_parse(job->reply.data, job->reply.len, &err);
		if (!reply) {
			error_set(&err, ERROR_SYSTEM, "the work ended without an answer");
			reply = reply_error(job->id, &err);
		}
		channel_send(channel, reply);
		job_end(job);
	}
}

void jobs_clear(struct jobs *jobs)
{
	for (struct job *job = jobs->at; job < jobs->at + JOBS_MAX; job++)
		if (job->pid)
			job_end(job);
}
