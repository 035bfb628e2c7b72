#include "agent/methods.h"
#include "agent/disks.h"
#include "agent/listeners.h"
#include "agent/place.h"
#include "agent/vitals.h"
#include "base/mem.h"

#include <string.h>
#include <sys/utsname.h>

static enum method_answer method_hello(struct agent *agent, const struct request *request,
				       cJSON *result, struct error *err)
{
	struct utsname kernel;
	char boot_id[AGENT_BOOT_ID_SIZE];
	if (json_int(request->params, "version", 0) != AGENT_PROTOCOL)
		return error_set(err, ERROR_INVALID, "this agent speaks version %d",
				 AGENT_PROTOCOL);
	if (uname(&kernel) < 0)
		return error_sys(err, "cannot ask for the kernel's release");
	agent_boot_id(boot_id);
	json_add_int(result, "version", AGENT_PROTOCOL);
	json_add_str(result, "agent", BANGER_VERSION);
	json_add_str(result, "boot_id", boot_id);
	json_add_str(result, "phase", phase_name(phases_furthest(&agent->phases)));
	json_add_bool(result, "ready", agent_is_ready(agent));
	json_add_str(result, "hostname", kernel.nodename);
	json_add_str(result, "release", kernel.release);
	json_add_int(result, "uptime_ms", (int64_t)uptime_ms());
	cJSON *phases = cJSON_AddObjectToObject(result, "phases");
	for (int i = 0; i < PHASE_COUNT_; i++)
		if (agent->phases.at_ms[i])
			json_add_int(phases, phase_name((enum phase)i),
				     (int64_t)agent->phases.at_ms[i]);
	return METHOD_DONE;
}

static enum method_answer method_ping(struct agent *agent, const struct request *request,
				      cJSON *result, struct error *err)
{
	(void)agent, (void)request, (void)err;
	json_add_int(result, "uptime_ms", (int64_t)uptime_ms());
	return METHOD_DONE;
}

static int job_sync(const void *arg, cJSON *result, struct error *err)
{
	(void)arg, (void)result, (void)err;
	sync();
	return 0;
}

static enum method_answer method_sync(struct agent *agent, const struct request *request,
				      cJSON *result, struct error *err)
{
	(void)result;
	if (jobs_start(&agent->jobs, request->id, job_sync, NULL, err) < 0)
		return METHOD_FAILED;
	return METHOD_LATER;
}

static enum method_answer method_poweroff(struct agent *agent, const struct request *request,
					  cJSON *result, struct error *err)
{
	(void)request, (void)result, (void)err;
	power_request(&agent->power, uptime_ms());
	return METHOD_DONE;
}

static enum method_answer method_authorized_keys(struct agent *agent, const struct request *request,
						 cJSON *result, struct error *err)
{
	(void)result;
	const cJSON *list = json_get(request->params, "keys"), *item;
	int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
	if (count < 0 || count > SEED_MAX_KEYS)
		return error_set(err, ERROR_INVALID, "'keys' is not a list of at most %d",
				 SEED_MAX_KEYS);
	auto_free const char **keys = xcalloc((size_t)count, sizeof(*keys));
	size_t used = 0;
	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_IsString(item) || !seed_key_is_sane(item->valuestring))
			return error_set(err, ERROR_INVALID, "'keys' holds no key line at %zu",
					 used);
		keys[used++] = item->valuestring;
	}
	return place_keys(agent->home, keys, used, err) < 0 ? METHOD_FAILED : METHOD_DONE;
}

/* A guest that is ready stays so: only what is still waited for changes. */
static enum method_answer method_ready(struct agent *agent, const struct request *request,
				       cJSON *result, struct error *err)
{
	struct seed probe = { 0 };
	if (seed_parse_ready(json_get(request->params, "ready"), &probe, err) < 0)
		return METHOD_FAILED;
	agent->seed->ready_kind = probe.ready_kind;
	agent->seed->ready_port = probe.ready_port;
	if (!agent_is_ready(agent))
		agent->watch = (struct watch){ .next_ms = uptime_ms() };
	json_add_bool(result, "ready", agent_is_ready(agent));
	return METHOD_DONE;
}

struct grow {
	const char *serial, *path;
};

static int job_grow(const void *arg, cJSON *result, struct error *err)
{
	const struct grow *grow = arg;
	uint64_t bytes;
	if (disk_grow(grow->serial, grow->path, &bytes, err) < 0)
		return -1;
	json_add_int(result, "bytes", (int64_t)bytes);
	return 0;
}

static enum method_answer method_grow(struct agent *agent, const struct request *request,
				      cJSON *result, struct error *err)
{
	(void)result;
	const char *target = json_str(request->params, "target", "");
	struct grow grow = { agent->seed->root_serial, "/" };
	if (!strcmp(target, "work") && agent->seed->work_serial)
		grow = (struct grow){ agent->seed->work_serial, agent->seed->work_mount };
	else if (!strcmp(target, "work"))
		return error_set(err, ERROR_NOT_FOUND, "this VM has no work disk");
	else if (strcmp(target, "root") != 0)
		return error_set(err, ERROR_INVALID, "'target' is not 'root' or 'work'");
	if (jobs_start(&agent->jobs, request->id, job_grow, &grow, err) < 0)
		return METHOD_FAILED;
	return METHOD_LATER;
}

/* What looks at files of the guest's, any of which may be on a disk that hangs, is a job. */
static enum method_answer start_look(struct agent *agent, const struct request *request,
				     job_fn *look, struct error *err)
{
	return jobs_start(&agent->jobs, request->id, look, agent, err) < 0 ? METHOD_FAILED
									   : METHOD_LATER;
}

static int job_stats(const void *arg, cJSON *result, struct error *err)
{
	return vitals_stats(arg, result, err);
}

static enum method_answer method_stats(struct agent *agent, const struct request *request,
				       cJSON *result, struct error *err)
{
	(void)result;
	return start_look(agent, request, job_stats, err);
}

static int job_health(const void *arg, cJSON *result, struct error *err)
{
	return vitals_health(arg, result, err);
}

static enum method_answer method_health(struct agent *agent, const struct request *request,
					cJSON *result, struct error *err)
{
	(void)result;
	return start_look(agent, request, job_health, err);
}

static int job_ports(const void *arg, cJSON *result, struct error *err)
{
	(void)arg;
	return listeners_tell(result, err);
}

static enum method_answer method_ports(struct agent *agent, const struct request *request,
				       cJSON *result, struct error *err)
{
	(void)result;
	return start_look(agent, request, job_ports, err);
}

static enum method_answer method_boot(struct agent *agent, const struct request *request,
				      cJSON *result, struct error *err)
{
	(void)request, (void)err;
	json_add_int(result, "uptime_ms", (int64_t)uptime_ms());
	for (int i = 0; i < PHASE_COUNT_; i++)
		if (agent->phases.at_ms[i])
			json_add_int(result, phase_name((enum phase)i),
				     (int64_t)agent->phases.at_ms[i]);
	return METHOD_DONE;
}

const struct method methods[] = {
	{ "hello", method_hello },
	{ "ping", method_ping },
	{ "sync", method_sync },
	{ "poweroff", method_poweroff },
	{ "authorized_keys", method_authorized_keys },
	{ "ready", method_ready },
	{ "grow", method_grow },
	{ "stats", method_stats },
	{ "health", method_health },
	{ "ports", method_ports },
	{ "boot", method_boot },
	{ NULL, NULL },
};

int request_parse(const char *line, size_t len, struct request *ret, struct error *err)
{
	*ret = (struct request){ .id = -1 };
	auto_json cJSON *json = json_parse(line, len, err);
	if (!json)
		return error_wrap(err, "request");
	if (!cJSON_IsObject(json))
		return error_set(err, ERROR_INVALID, "request: not an object");
	ret->id = json_int(json, "id", -1);
	if (ret->id < 0) {
		ret->id = -1;
		return error_set(err, ERROR_INVALID, "request: 'id' is not a whole number");
	}
	const cJSON *params = json_get(json, "params");
	if (params && !cJSON_IsObject(params))
		return error_set(err, ERROR_INVALID, "request: 'params' is not an object");
	const char *method = json_str(json, "method", NULL);
	if (!method)
		return error_set(err, ERROR_INVALID, "request: 'method' is not a string");
	ret->method = method;
	ret->params = params;
	ret->json = take_ptr(&json);
	return 0;
}

void request_clear(struct request *request)
{
	cJSON_Delete(request->json);
	*request = (struct request){ .id = -1 };
}

static enum method_answer run_method(const struct method *table, struct agent *agent,
				     const struct request *request, cJSON *result,
				     struct error *err)
{
	for (const struct method *method = table; method->name; method++)
		if (!strcmp(method->name, request->method))
			return method->run(agent, request, result, err);
	return error_set(err, ERROR_NOT_FOUND, "no method '%.40s'", request->method);
}

static enum method_answer run_line(const struct method *table, struct agent *agent,
				   const char *line, size_t len, struct request *request,
				   cJSON *result, struct error *err)
{
	if (!line)
		return error_set(err, ERROR_INVALID, "request: longer than %zu bytes",
				 CHANNEL_LINE_MAX);
	if (request_parse(line, len, request, err) < 0)
		return METHOD_FAILED;
	if (request->method && !strcmp(request->method, "hello"))
		channel_begin(&agent->channel);
	return run_method(table, agent, request, result, err);
}

/* Whether a line is for the host that is there now, or of one that has gone. */
static bool line_counts(const struct channel *channel, const char *line, size_t len)
{
	if (!channel->stale)
		return true;
	struct error ignored;
	struct request request;
	bool hello = line && request_parse(line, len, &request, &ignored) == 0 && request.method &&
		     !strcmp(request.method, "hello");
	if (line)
		request_clear(&request);
	return hello;
}

void methods_answer(const struct method *table, struct agent *agent, const char *line, size_t len)
{
	struct error err = { 0 };
	struct request request = { .id = -1 };
	if (!line_counts(&agent->channel, line, len))
		return;
	auto_json cJSON *result = cJSON_CreateObject();
	auto_json cJSON *reply = NULL;
	enum method_answer answer = run_line(table, agent, line, len, &request, result, &err);
	if (answer == METHOD_DONE)
		reply = reply_result(request.id, take_ptr(&result));
	else if (answer == METHOD_FAILED)
		reply = reply_error(request.id, &err);
	if (reply)
		channel_send(&agent->channel, reply);
	request_clear(&request);
}
