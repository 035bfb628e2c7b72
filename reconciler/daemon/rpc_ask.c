/* stats, health, ports, ping: what running guests say about themselves.
 *
 * One request may name several VMs; they are asked at the same time, and the reply goes out when
 * the last has answered or its time is over. */
#include "daemon/bangerd.h"

#include <string.h>

/* Longer than the agent gives systemd. */
#define ANSWER_MS 6000
#define PING_MS	  2000

struct survey {
	struct later *later;
	cJSON *items; /* owned: the reply */
	size_t open;  /* that have not answered, and one while asking */
};

struct question {
	struct survey *survey;
	struct bangerd *d;
	const char *method; /* static */
	cJSON *item;	    /* the survey's */
	char id[16];	    /* of the VM, which may go meanwhile */
	uint64_t asked_ms;
};

static void survey_closed(struct survey *survey)
{
	if (--survey->open)
		return;
	cJSON *reply = cJSON_CreateObject();
	cJSON_AddItemToObject(reply, "items", survey->items);
	later_answer(survey->later, reply);
	free(survey);
}

static const struct port_spec *forward_of(const struct vm *vm, int64_t port, bool udp)
{
	const struct port_list *ports = &vm->want->ports;
	for (size_t i = 0; i < ports->count; i++)
		if (ports->at[i].guest == port && (ports->at[i].proto == PORT_UDP) == udp)
			return &ports->at[i];
	return NULL;
}

/* Where a port of the guest can be reached from this host; SSH always can. */
static void add_endpoints(const struct vm *vm, cJSON *answer)
{
	cJSON *one;
	cJSON_ArrayForEach(one, json_get(answer, "ports"))
	{
		int64_t port = json_int(one, "port", 0);
		bool udp = !strcmp(json_str(one, "proto", ""), "udp");
		bool loopback = !strncmp(json_str(one, "bind", ""), "127.", 4) ||
				!strcmp(json_str(one, "bind", ""), "::1");
		const struct port_spec *forward = forward_of(vm, port, udp);
		auto_free char *text = NULL;
		if (loopback)
			text = NULL;
		else if (forward)
			text = xasprintf("%s:%u", forward->address, forward->host);
		else if (port == 22 && !udp)
			text = xasprintf("%s:%u", vm->row.address, net_ssh_port(vm->row.address));
		json_add_str(one, "endpoint", text);
	}
}

static void answered(void *arg, const cJSON *result, const struct error *err)
{
	struct question *question = arg;
	if (result) {
		const struct vm *vm = vm_find_id(question->d, question->id);
		cJSON *answer = agent_answer_clean(question->method, result);
		if (vm && !strcmp(question->method, "ports"))
			add_endpoints(vm, answer);
		if (!strcmp(question->method, "ping"))
			json_add_int(answer, "took_ms",
				     (int64_t)(clock_monotonic_ms() - question->asked_ms));
		cJSON_AddItemToObject(question->item, question->method, answer);
	} else {
		cJSON_AddItemToObject(question->item, "error", error_to_json(err));
	}
	survey_closed(question->survey);
	free(question);
}

static void ask_one(struct bangerd *d, struct survey *survey, const char *method, const char *name)
{
	struct error err = { 0 };
	struct vm *vm = vm_named(d, name, &err);
	cJSON *item = cJSON_CreateObject();
	json_add_str(item, "name", name);
	cJSON_AddItemToArray(survey->items, item);
	survey->open++;
	struct question *question = xcalloc(1, sizeof(*question));
	*question = (struct question){ .survey = survey,
				       .d = d,
				       .method = method,
				       .item = item,
				       .asked_ms = clock_monotonic_ms() };
	if (vm)
		str_copy(question->id, sizeof(question->id), vm->row.id);
	if (!vm || ask_guest(vm, method, strcmp(method, "ping") ? ANSWER_MS : PING_MS, answered,
			     question, &err) < 0)
		answered(question, NULL, &err);
}

static int survey(struct request *request, const char *method, struct error *err)
{
	const cJSON *names = json_get(request->params, "names"), *name;
	int count = cJSON_IsArray(names) ? cJSON_GetArraySize(names) : -1;
	if (count < 0 || count > ASK_NAMES_MAX)
		return error_set(err, ERROR_INVALID, "'names' is not a list of at most %d names",
				 ASK_NAMES_MAX);
	struct survey *all = xcalloc(1, sizeof(*all));
	all->later = conn_later(request);
	all->items = cJSON_CreateArray();
	all->open = 1;
	cJSON_ArrayForEach(name, names)
	{
		ask_one(request->d, all, method, cJSON_IsString(name) ? name->valuestring : "");
	}
	survey_closed(all);
	return 1;
}

HANDLER(rpc_vm_stats)
{
	(void)ret;
	return survey(request, "stats", err);
}

HANDLER(rpc_vm_health)
{
	(void)ret;
	return survey(request, "health", err);
}

HANDLER(rpc_vm_ports)
{
	(void)ret;
	return survey(request, "ports", err);
}

HANDLER(rpc_vm_ping)
{
	(void)ret;
	return survey(request, "ping", err);
}
