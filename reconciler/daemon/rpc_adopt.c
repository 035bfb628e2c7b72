/* adopt: what a hypervisor of somebody else's is, as a spec; and taking it over while it runs.
 *
 * A worker looks at it; the loop makes a spec of that (names, images and bounds are its to know);
 * a worker makes the directory; the loop writes the row last, so that whatever dies on the way
 * leaves a directory that gc knows, and never a row that would start a second one. */
#include "daemon/bangerd.h"
#include "daemon/host.h"
#include "exec/adopt.h"
#include "base/log.h"
#include "sys/proc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INSPECT_MS 5000

struct adoption {
	struct work work; /* first */
	struct adoption *next;
	struct bangerd *d;
	struct later *later;
	pid_t pid;
	char *socket, *name, *image;
	bool take;

	struct hv_foreign foreign;
	char image_digest[65], kernel_digest[65];
	struct vm_spec *spec;
	char id[16]; /* of the directory; "" until it is made */
	struct error err;
};

static void adoption_free(struct adoption *adoption)
{
	struct adoption **at = &adoption->d->adoptions;
	while (*at != adoption)
		at = &(*at)->next;
	*at = adoption->next;
	hv_foreign_clear(&adoption->foreign);
	vm_spec_free(adoption->spec);
	free(adoption->socket);
	free(adoption->name);
	free(adoption->image);
	free(adoption);
}

void adoptions_free(struct bangerd *d)
{
	while (d->adoptions)
		adoption_free(d->adoptions);
}

static void refuse(struct adoption *adoption)
{
	later_refuse(adoption->later, &adoption->err);
	adoption_free(adoption);
}

static void answer(struct adoption *adoption, const struct vm *vm)
{
	cJSON *reply = cJSON_CreateObject();
	json_add_str(reply, "name", adoption->spec->name);
	json_add_int(reply, "pid", adoption->foreign.pid);
	json_add_str(reply, "monitor", adoption->foreign.monitor);
	cJSON_AddItemToObject(reply, "spec", vm_spec_to_json_full(adoption->spec));
	cJSON *list = cJSON_AddArrayToObject(reply, "refusals");
	for (size_t i = 0; i < adoption->foreign.refusal_count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(adoption->foreign.refusals[i]));
	if (vm)
		cJSON_AddItemToObject(reply, "vm", vm_to_json(vm));
	later_answer(adoption->later, reply);
	adoption_free(adoption);
}

/* --- the spec --- */

/* As it calls itself, as far as that can name a VM; else after its process. */
static void choose_name(struct adoption *adoption)
{
	char name[VM_NAME_MAX + 1];
	size_t len = 0;
	if (adoption->name[0])
		return;
	for (const char *at = adoption->foreign.name; at && *at && len < VM_NAME_MAX; at++)
		if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-", *at))
			name[len++] = *at;
	name[len] = '\0';
	free(adoption->name);
	adoption->name = vm_name_valid(name) ? xstrdup(name)
					     : xasprintf("adopted-%d", (int)adoption->foreign.pid);
}

/* The image that a reimage would use, and a kernel only if it is not that image's. */
static int choose_image(struct adoption *adoption, char **ret_kernel, struct error *err)
{
	const struct image_store *store = &adoption->d->host.images;
	struct image image = { 0 };
	struct kernel its = { 0 }, usual = { 0 };
	const char *key = adoption->image[0]	      ? adoption->image
			  : adoption->image_digest[0] ? adoption->image_digest
						      : "tiny";
	struct error ignored;
	if (image_find(store, key, &image, err) < 0)
		return error_wrap(err, "what image is it of? --image says it");
	if (adoption->image_digest[0] && strcmp(adoption->image_digest, image.digest) != 0)
		hv_foreign_refuse(&adoption->foreign,
				  "its disk is an overlay of image %.12s and not of '%.60s'",
				  adoption->image_digest, adoption->image);
	free(adoption->image);
	adoption->image = xstrdup(image.name[0] ? image.name : key);
	str_copy(adoption->image_digest, sizeof(adoption->image_digest), image.digest);
	bool known = adoption->kernel_digest[0] &&
		     kernel_find(store, adoption->kernel_digest, &its, &ignored) == 0;
	bool same = known && kernel_find(store, image.kernel, &usual, &ignored) == 0 &&
		    !strcmp(its.digest, usual.digest);
	if (adoption->foreign.kernel && (!known || (!same && !its.name[0])))
		hv_foreign_refuse(
			&adoption->foreign,
			"its kernel '%.200s' is not in banger's store, so it could not be "
			"started again as it is",
			adoption->foreign.kernel);
	else if (known && !same)
		*ret_kernel = xasprintf("kernel=%s", its.name);
	kernel_clear(&its);
	kernel_clear(&usual);
	image_clear(&image);
	return 0;
}

static int make_spec(struct adoption *adoption, struct error *err)
{
	const struct hv_foreign *foreign = &adoption->foreign;
	const char *set[12];
	size_t count = 0;
	auto_free char *kernel = NULL;
	choose_name(adoption);
	if (choose_image(adoption, &kernel, err) < 0)
		return -1;
	const struct foreign_disk *disks = foreign->disks;
	auto_free char *image = xasprintf("image=%s", adoption->image);
	auto_free char *vcpus = xasprintf("vcpus=%u", foreign->vcpus);
	auto_free char *memory = xasprintf("memory=%" PRIu64, foreign->memory);
	auto_free char *root = xasprintf("system_disk=%" PRIu64, disks[0].size);
	auto_free char *work = xasprintf("work_disk=%" PRIu64, disks[1].size);
	auto_free char *ports = xasprintf("ports=%s", foreign->ports ? foreign->ports : "");
	auto_free char *args = xasprintf("kernel_args=%s", foreign->kernel_args);
	set[count++] = image;
	set[count++] = vcpus;
	set[count++] = memory;
	set[count++] = root;
	set[count++] = work;
	set[count++] = ports;
	set[count++] = foreign->nat ? "nat=true" : "nat=false";
	set[count++] = args;
	/* What it has, where `auto` is something else. */
	if (adoption->d->host.subnet)
		set[count++] = "network=user";
	if (kernel)
		set[count++] = kernel;
	struct spec_context context = stack_context(adoption->d);
	adoption->spec = vm_spec_with(NULL, adoption->name, set, count, &context, err);
	return adoption->spec
		       ? 0
		       : error_wrap(err, "process %d cannot be said as a VM", (int)foreign->pid);
}

/* --- taking it --- */

static int check_stranger(const struct bangerd *d, pid_t pid, struct error *err)
{
	for (size_t i = 0; pid && i < d->vm_count; i++)
		if (d->vms[i]->pid == pid)
			return error_set(err, ERROR_CONFLICT, "process %d is VM '%s' already",
					 (int)pid, d->vms[i]->row.name);
	return 0;
}

static int check_free(const struct adoption *adoption, struct error *err)
{
	struct bangerd *d = adoption->d;
	if (check_stranger(d, adoption->foreign.pid, err) < 0)
		return -1;
	if (adoption->take && vm_find(d, adoption->spec->name))
		return error_set(err, ERROR_CONFLICT, "vm '%s' exists, --name gives another name",
				 adoption->spec->name);
	return 0;
}

static int check_faithful(const struct adoption *adoption, struct error *err)
{
	auto_buf struct buf all = BUF_INIT;
	for (size_t i = 0; i < adoption->foreign.refusal_count; i++)
		buf_addf(&all, "%s%s", i ? "; " : "", adoption->foreign.refusals[i]);
	if (!all.len)
		return 0;
	return error_set(err, ERROR_CONFLICT, "process %d cannot be taken over: %.800s",
			 (int)adoption->foreign.pid, all.data);
}

static struct vm *take(struct adoption *adoption, struct error *err)
{
	struct bangerd *d = adoption->d;
	if (check_free(adoption, err) < 0)
		return NULL;
	if (proc_wait_gone(adoption->foreign.pidfd, 0) == 0) {
		error_set(err, ERROR_NOT_FOUND, "process %d has ended meanwhile",
			  (int)adoption->foreign.pid);
		return NULL;
	}
	struct vm *vm = vm_create_as(d, adoption->id, "", adoption->spec);
	vm->row.image_digest = xstrdup(adoption->image_digest);
	vm->row.kernel_digest = xstrdup(adoption->kernel_digest);
	vm->row.applied = xstrdup(vm->row.spec);
	vm->applied = vm_spec_copy(vm->want);
	if (vm_save(vm, err) < 0) {
		vm_forget(vm);
		return NULL;
	}
	vm->adopted = xcalloc(1, sizeof(*vm->adopted));
	*vm->adopted = (struct adopted){ adoption->foreign.pid, adoption->foreign.start_ticks,
					 xstrdup(adoption->foreign.mark) };
	vm->accel = adoption->foreign.accel;
	log_info(vm->row.name, "adopted: pid %d", (int)adoption->foreign.pid);
	vm_event(vm, EVENT_ADOPTED, "runs on as pid %d", (int)adoption->foreign.pid);
	vm_running(vm, &hv_qemu, adoption->foreign.pid, take_fd(&adoption->foreign.pidfd),
		   adoption->foreign.start_ticks, proc_started_ms(adoption->foreign.start_ticks));
	vm->ready = true; /* nobody could tell */
	vm_mark(vm);
	return vm;
}

static void run_make(struct work *work)
{
	struct adoption *adoption = (struct adoption *)work;
	if (adopt_make(&adoption->d->host, &adoption->foreign, adoption->spec->name,
		       adoption->image_digest, adoption->id, &adoption->err) < 0)
		adoption->id[0] = '\0';
}

static void made(struct work *work)
{
	struct adoption *adoption = (struct adoption *)work;
	struct vm *vm = adoption->id[0] ? take(adoption, &adoption->err) : NULL;
	if (vm) {
		answer(adoption, vm);
		return;
	}
	if (adoption->id[0]) /* links and small files: quickly done */
		adopt_unmake(&adoption->d->host, adoption->id);
	refuse(adoption);
}

static void run_inspect(struct work *work)
{
	struct adoption *adoption = (struct adoption *)work;
	const struct host *host = &adoption->d->host;
	if (qemu_inspect(adoption->pid, adoption->socket, host->vms_dir, INSPECT_MS,
			 &adoption->foreign, &adoption->err) < 0)
		return;
	adopt_digests(host, &adoption->foreign, adoption->image_digest, adoption->kernel_digest);
	adopt_judge(host, &adoption->foreign, adoption->image_digest);
}

static void inspected(struct work *work)
{
	struct adoption *adoption = (struct adoption *)work;
	struct error *err = &adoption->err;
	/* The one that holds its monitor may be ourselves. */
	if (check_stranger(adoption->d, adoption->foreign.pid, err) < 0 ||
	    err->code != ERROR_NONE || make_spec(adoption, err) < 0 ||
	    check_free(adoption, err) < 0 ||
	    (adoption->take && check_faithful(adoption, err) < 0)) {
		refuse(adoption);
		return;
	}
	if (!adoption->take) {
		answer(adoption, NULL);
		return;
	}
	adoption->work = (struct work){ .run = run_make, .done = made };
	pool_submit(adoption->d->pool, &adoption->work);
}

HANDLER(rpc_host_adopt)
{
	(void)ret;
	struct bangerd *d = request->d;
	int64_t pid = json_int(request->params, "pid", 0);
	const char *socket = json_str(request->params, "socket", "");
	const char *name = json_str(request->params, "name", "");
	if (pid < 0 || pid > INT32_MAX || (!pid && socket[0] != '/'))
		return error_set(err, ERROR_INVALID, "neither 'pid' nor an absolute 'socket'");
	if (name[0] && !vm_name_valid(name))
		return error_set(err, ERROR_INVALID, "'%.80s' cannot name a VM", name);
	if (check_stranger(d, (pid_t)pid, err) < 0)
		return -1;
	struct adoption *adoption = xcalloc(1, sizeof(*adoption));
	adoption->work = (struct work){ .run = run_inspect, .done = inspected };
	adoption->d = d;
	adoption->pid = (pid_t)pid;
	adoption->socket = xstrdup(socket);
	adoption->name = xstrdup(name);
	adoption->image = xstrdup(json_str(request->params, "image", ""));
	adoption->take = json_bool(request->params, "take", false);
	adoption->foreign = HV_FOREIGN_INIT;
	adoption->later = conn_later(request);
	adoption->next = d->adoptions;
	d->adoptions = adoption;
	pool_submit(d->pool, &adoption->work);
	return 1;
}
