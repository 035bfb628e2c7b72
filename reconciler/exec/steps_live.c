/* Changes of a running VM, in the order they are made. */
#include "exec/job.h"
#include "exec/live_resize.h"
#include "guest/guest.h"

#include <string.h>

#define AGENT_TIMEOUT_MS 4000

static int change_ports(struct job *job, struct error *err)
{
	if (!net_address_is_user(job->address))
		return job_put_rules(job, job->want, err);
	if (job->host->own_users && net_user_ports_allowed(&job->want->ports, err) < 0)
		return -1;
	return job->ran_by->set_ports(job->dirfd, &job->have->ports, &job->want->ports, err);
}

static void change_ports_back(struct job *job)
{
	struct error ignored;
	if (!net_address_is_user(job->address))
		job_put_rules(job, job->have, &ignored);
	else
		job->ran_by->set_ports(job->dirfd, &job->want->ports, &job->have->ports, &ignored);
}

static bool same_keys(const struct string_list *a, const struct string_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->at[i], b->at[i]))
			return false;
	return true;
}

static int change_keys(struct job *job, struct error *err)
{
	if (same_keys(&job->have->ssh_keys, &job->want->ssh_keys))
		return 0;
	auto_json cJSON *params = cJSON_CreateObject();
	cJSON *keys = cJSON_AddArrayToObject(params, "keys");
	cJSON_AddItemToArray(keys, cJSON_CreateString(job->host->client_key));
	for (size_t i = 0; i < job->want->ssh_keys.count; i++)
		cJSON_AddItemToArray(keys, cJSON_CreateString(job->want->ssh_keys.at[i]));
	return agent_call(job->dirfd, "authorized_keys", params, AGENT_TIMEOUT_MS, NULL, err);
}

/* A guest that is still waited for must know for what. One whose agent is older hears of it at its
 * next start. */
static int change_ready(struct job *job, struct error *err)
{
	const struct ready_spec *have = &job->have->ready, *want = &job->want->ready;
	if (have->kind == want->kind && have->port == want->port)
		return 0;
	auto_json cJSON *params = cJSON_CreateObject();
	seed_add_ready(params, want);
	if (agent_call(job->dirfd, "ready", params, AGENT_TIMEOUT_MS, NULL, err) == 0)
		return 0;
	return err->code == ERROR_NOT_FOUND ? 0 : -1;
}

/* First of all: a guest that stands still answers nothing. */
static int resume_guest(struct job *job, struct error *err)
{
	if (job_open_directory(job, err) < 0)
		return -1;
	return job->resume ? job->ran_by->resume(job->dirfd, job->pidfd, err) : 0;
}

const struct step steps_live[] = {
	{ "resume", resume_guest, NULL },
	{ "ports", change_ports, change_ports_back },
	{ "memory", live_memory, NULL },
	{ "grow system disk", live_system_disk, NULL },
	{ "grow work disk", live_work_disk, NULL },
	{ "ssh keys", change_keys, NULL },
	{ "ready", change_ready, NULL },
	{ 0 },
};
