/* Who on the bridge may reach what. They are there before the guest, and gone after it; a running
 * guest's are changed as its spec is. */
#include "exec/capability.h"
#include "base/log.h"
#include "driver/net_user.h"
#include "sys/proc.h"

#include <string.h>

static bool has_port(const struct port_list *list, const struct port_spec *port)
{
	for (size_t i = 0; list && i < list->count; i++)
		if (list->at[i].host == port->host && list->at[i].proto == port->proto &&
		    !strcmp(list->at[i].address, port->address))
			return true;
	return false;
}

/* Nobody would be told that his port leads elsewhere. have: those that are ours already. */
static int check_ports(const struct port_list *have, const struct port_list *want,
		       struct error *err)
{
	for (size_t i = 0; i < want->count; i++)
		if (!has_port(have, &want->at[i]) && net_port_free(&want->at[i], err) < 0)
			return -1;
	return 0;
}

int job_put_rules(struct job *job, const struct vm_spec *have, const struct vm_spec *want,
		  struct error *err)
{
	char mac[18];
	bool forwarding;
	net_mac(job->id, mac);
	const struct net_rule rule = { job->id, job->address, mac, want->nat, &want->ports };
	if (check_ports(have ? &have->ports : NULL, &want->ports, err) < 0 ||
	    net_rules_put(job->host->rules, &rule, &forwarding, err) < 0)
		return -1;
	if (forwarding)
		log_info(job->name, "this host forwards IPv4 packets now (net.ipv4.ip_forward), "
				    "until no VM needs it");
	return 0;
}

static int make_rules(struct job *job, struct error *err)
{
	return job->machine.tap ? job_put_rules(job, NULL, job->want, err) : 0;
}

static int drop_rules(struct job *job, struct error *err)
{
	return job->host->rules ? net_rules_drop(job->host->rules, job->id, err) : 0;
}

static void undo_rules(struct job *job)
{
	struct error ignored;
	if (job->dirfd < 0 || !lock_is_held(job->dirfd, VM_FILE_LOCK))
		drop_rules(job, &ignored);
}

const struct capability cap_rules = {
	.name = "rules",
	.steps = { [PHASE_PREPARE] = { "rules", make_rules, undo_rules },
		   [PHASE_RELEASE] = { "rules", drop_rules, NULL } },
};
