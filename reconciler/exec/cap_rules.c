/* Who on the bridge may reach what. They are there before the guest, and gone after it; a running
 * guest's are changed as its spec is. */
#include "exec/capability.h"
#include "base/log.h"
#include "sys/proc.h"

int job_put_rules(struct job *job, const struct vm_spec *want, struct error *err)
{
	char mac[18];
	bool forwarding;
	net_mac(job->id, mac);
	const struct net_rule rule = { job->id, job->address, mac, want->nat, &want->ports };
	if (net_rules_put(job->host->rules, &rule, &forwarding, err) < 0)
		return -1;
	if (forwarding)
		log_info(job->name, "this host forwards IPv4 packets now (net.ipv4.ip_forward), "
				    "until no VM needs it");
	return 0;
}

static int make_rules(struct job *job, struct error *err)
{
	return job->machine.tap ? job_put_rules(job, job->want, err) : 0;
}

static int drop_rules(struct job *job, struct error *err)
{
	return job->host->rules ? net_rules_drop(job->host->rules, job->id, err) : 0;
}

/* Those of the next run replace them: a port stays held, and forwarding on. */
static int release_rules(struct job *job, struct error *err)
{
	return job_stays_on_bridge(job) ? 0 : drop_rules(job, err);
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
		   [PHASE_RELEASE] = { "rules", release_rules, undo_rules } },
};
