/* What the guest boots from: the kernel, and an initrd with the agent, the keys and the files that
 * are this VM's. */
#include "exec/capability.h"
#include "base/fs.h"
#include "guest/guest.h"
#include "sys/proc.h"

#include <stdio.h>

static int make_host_key(struct job *job, struct error *err)
{
	auto_free char *comment = xasprintf("root@%s", job->name);
	return keys_host(job->dirfd, comment, err);
}

static const struct vm_file key_files[] = {
	{ .name = GUEST_FILE_HOST_KEY },
	{ .name = GUEST_FILE_HOST_KEY_PUB },
	{ .name = GUEST_FILE_KNOWN_HOSTS },
	{ 0 },
};

const struct capability cap_host_key = {
	.name = "host key",
	.files = key_files,
	.steps = { [PHASE_MAKE] = { "host key", make_host_key, NULL } },
};

static int find_kernel(struct job *job, struct error *err)
{
	const char *name = job->want->kernel;
	struct image image = { 0 };
	if (!name[0]) {
		if (job_find_image(job, &image, err) < 0)
			return -1;
		name = image.kernel;
	}
	kernel_clear(&job->kernel);
	int failed = kernel_find(&job->host->images, name, &job->kernel, err);
	image_clear(&image);
	if (failed < 0)
		return -1;
	str_copy(job->kernel_digest_used, sizeof(job->kernel_digest_used), job->kernel.digest);
	job->machine.kernel = job->kernel.boot;
	job->machine.modules_disk = job->kernel.modules_disk;
	job->machine.kernel_args = job->want->kernel_args;
	return 0;
}

/* As the guest is to set it up by itself: nobody tells it by DHCP. */
struct seed_network {
	char address[24], gateway[16], dns[16];
};

static void describe_network(const struct job *job, struct seed_network *ret)
{
	*ret = (struct seed_network){ "10.0.2.15/24", "10.0.2.2", "10.0.2.3" };
	if (!job->machine.tap)
		return;
	const struct net_subnet *subnet = job->host->subnet;
	snprintf(ret->address, sizeof(ret->address), "%s/%u", job->address, subnet->prefix);
	net_subnet_gateway(subnet, ret->gateway);
	net_upstream_dns(ret->dns);
}

static int write_seed(struct job *job, struct error *err)
{
	if (find_kernel(job, err) < 0)
		return -1;
	struct seed_network net;
	describe_network(job, &net);
	struct seed seed = {
		.id = job->id,
		.name = job->name,
		.spec = job->want,
		.mac = job->machine.mac,
		.address = net.address,
		.gateway = net.gateway,
		.dns = net.dns[0] ? net.dns : NULL,
		.client_key = job->host->client_key,
		.vm_dirfd = job->dirfd,
		.modules_disk = job->kernel.modules_disk != NULL,
	};
	if (seed_write_initrd(&seed, job->kernel.modules, job->host->agent_cpio, err) < 0)
		return -1;
	return keys_known_hosts(job->dirfd, job->id, err);
}

static int remove_seed(struct job *job, struct error *err)
{
	return job->dirfd < 0 ? 0 : fs_unlink(job->dirfd, VM_FILE_INITRD, err);
}

static void unwrite_seed(struct job *job)
{
	struct error ignored;
	if (job->dirfd >= 0 && !lock_is_held(job->dirfd, VM_FILE_LOCK))
		remove_seed(job, &ignored);
}

static const struct vm_file seed_files[] = {
	{ .name = VM_FILE_INITRD, .kind = "initrd", .need = NEED_RUN },
	{ 0 },
};

const struct capability cap_seed = {
	.name = "seed",
	.files = seed_files,
	.steps = { [PHASE_PREPARE] = { "seed", write_seed, unwrite_seed },
		   [PHASE_RELEASE] = { "seed", remove_seed, NULL } },
};
