/* User networking: the loopback address, its ports, and who the guest is on its wire. */
#include "exec/capability.h"

#include <stdio.h>

static int take_address(struct job *job, struct error *err)
{
	char free_now[16];
	const struct vm_spec *want = job->want;
	net_mac(job->id, job->mac);
	job->machine.mac = job->mac;
	job->machine.address = job->address;
	job->machine.nat = want->nat;
	job->machine.ports = &want->ports;
	if (job->address)
		return net_user_ports_free(job->address, &want->ports, err);
	/* The daemon found none that is free; this says why not. */
	if (net_user_address(job->id, NULL, 0, free_now, err) < 0)
		return -1;
	return error_set(err, ERROR_BUSY, "no loopback address was free a moment ago");
}

const struct capability cap_network = {
	.name = "network",
	.steps = { [PHASE_PREPARE] = { "address", take_address, NULL } },
};
