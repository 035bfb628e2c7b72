/* The network: user networking's loopback address and its ports, or an address and a tap on the
 * bridge; and who the guest is on its wire. */
#include "exec/capability.h"
#include "sys/proc.h"

#include <stdio.h>

bool job_wants_bridge(const struct host *host, const struct vm_spec *spec)
{
	return spec->network == NETWORK_BRIDGE || (spec->network == NETWORK_AUTO && host->subnet);
}

static int take_user_address(const struct job *job, struct error *err)
{
	char free_now[16];
	if (job->user.uid && net_user_ports_allowed(&job->want->ports, err) < 0)
		return -1;
	if (job->address)
		return net_user_ports_free(job->address, &job->want->ports, err);
	/* The daemon found none that is free; this says why not. */
	if (net_user_address(job->id, NULL, 0, free_now, err) < 0)
		return -1;
	return error_set(err, ERROR_BUSY, "no loopback address was free a moment ago");
}

static int make_tap(struct job *job, struct error *err)
{
	const struct net_subnet *subnet = job->host->subnet;
	if (!subnet)
		return error_set(
			err, ERROR_CONFLICT,
			"the network 'bridge' is the machine's: it needs bangerd --system, "
			"or 'network: user' here");
	if (!job->address)
		return error_set(err, ERROR_BUSY,
				 "all addresses of the bridge are taken: give bangerd a larger "
				 "subnet by BANGER_SUBNET");
	if (job->user.uid && vm_user_check_tun(job->user.uid, err) < 0)
		return -1;
	if (net_tap_make(subnet, job->id, job->user.uid, !job->host->vm_to_vm, err) < 0)
		return error_append(err, "; 'network: user' needs no bridge");
	net_tap_name(job->id, job->tap);
	job->machine.tap = job->tap;
	return 0;
}

static int make_network(struct job *job, struct error *err)
{
	const struct vm_spec *want = job->want;
	net_mac(job->id, job->mac);
	job->machine.mac = job->mac;
	job->machine.address = job->address;
	job->machine.nat = want->nat;
	job->machine.ports = &want->ports;
	return job_wants_bridge(job->host, want) ? make_tap(job, err) : take_user_address(job, err);
}

bool job_stays_on_bridge(const struct job *job)
{
	return job->kind != ACTION_STOP && job->kind != ACTION_DELETE && job->want &&
	       job->want->state == STATE_RUNNING && job_wants_bridge(job->host, job->want);
}

static int remove_network(struct job *job, struct error *err)
{
	return job->host->subnet ? net_tap_remove(job->id, err) : 0;
}

/* The next run takes the tap as it is: the bridge, which would go with the last one, stays, and
 * with it the host's route and what systemd-resolved was told. If no run comes of it the undo takes
 * it. */
static int release_network(struct job *job, struct error *err)
{
	char name[NET_TAP_MAX];
	net_tap_name(job->id, name);
	if (job_stays_on_bridge(job) && !net_link_is_used(name))
		return 0;
	return remove_network(job, err);
}

static void unmake_network(struct job *job)
{
	struct error ignored;
	if (job->dirfd < 0 || !lock_is_held(job->dirfd, VM_FILE_LOCK))
		remove_network(job, &ignored);
}

const struct capability cap_network = {
	.name = "network",
	.steps = { [PHASE_PREPARE] = { "network", make_network, unmake_network },
		   [PHASE_RELEASE] = { "network", release_network, unmake_network } },
};
