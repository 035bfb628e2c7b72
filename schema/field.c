#include "schema/kind.h"
#include "schema/text.h"

#include "base/units.h"

#include <string.h>

/* The offset of a member, and an error at compile time when its C type is not the kind's. */
#define SAME_TYPE(m, T) _Generic(((struct vm_spec *)0)->m, T : (size_t)0)
#define ROW(k, T, what)                                                                            \
	.key = #k, .offset = offsetof(struct vm_spec, k) + SAME_TYPE(k, T), .kind = &(what)
#define NAME(k)	     ROW(k, const char *, kind_name)
#define TEXT(k)	     ROW(k, const char *, kind_text)
#define U32(k)	     ROW(k, uint32_t, kind_u32)
#define SIZE(k)	     ROW(k, uint64_t, kind_size)
#define BOOL(k)	     ROW(k, bool, kind_bool)
#define ENUM(k, T)   ROW(k, enum T, kind_enum)
#define PORTS(k)     ROW(k, struct port_list, kind_ports)
#define READY(k)     ROW(k, struct ready_spec, kind_ready)
#define LABELS(k)    ROW(k, struct label_list, kind_labels)
#define KEYS(k)	     ROW(k, struct string_list, kind_keys)
#define FILES(k)     ROW(k, struct file_list, kind_files)
#define WORKSPACE(k) ROW(k, struct workspace_spec, kind_workspace)
#define NAMES(k)     ROW(k, struct string_list, kind_vm_names)
/* The key has no unit, the member has: ttl is ttl_ms. */
#define DURATION_MS(k)                                                                             \
	.key = #k, .offset = offsetof(struct vm_spec, k##_ms) + SAME_TYPE(k##_ms, uint64_t),       \
	.kind = &kind_duration

#define CHOICES(...)                                                                               \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}
_Static_assert(sizeof(enum vm_state_wanted) == sizeof(unsigned), "kind_enum reads an unsigned");

/* --- what a change does, where it depends on the driver or on the values --- */

static enum change_class live_if(bool can)
{
	return can ? CLASS_LIVE : CLASS_RESTART;
}

static enum change_class decide_vcpus(const struct vm_spec *have, const struct vm_spec *want,
				      const struct capabilities *can)
{
	(void)have, (void)want;
	return live_if(can->live_vcpus);
}

static enum change_class decide_memory(const struct vm_spec *have, const struct vm_spec *want,
				       const struct capabilities *can)
{
	(void)have;
	return live_if(want->memory >= can->memory_floor && want->memory <= can->memory_ceiling);
}

/* A machine that has room for more than is wanted is left as it is. */
static enum change_class decide_memory_max(const struct vm_spec *have, const struct vm_spec *want,
					   const struct capabilities *can)
{
	uint64_t most = vm_spec_memory_max(want);
	return live_if(most <= can->memory_ceiling || most == vm_spec_memory_max(have));
}

static enum change_class decide_nat(const struct vm_spec *have, const struct vm_spec *want,
				    const struct capabilities *can)
{
	(void)have, (void)want;
	return live_if(can->live_nat);
}

static enum change_class decide_ports(const struct vm_spec *have, const struct vm_spec *want,
				      const struct capabilities *can)
{
	(void)have, (void)want;
	return live_if(can->live_ports);
}

static enum change_class decide_ssh_keys(const struct vm_spec *have, const struct vm_spec *want,
					 const struct capabilities *can)
{
	(void)have, (void)want;
	return live_if(can->live_ssh_keys);
}

static enum change_class decide_system_disk(const struct vm_spec *have, const struct vm_spec *want,
					    const struct capabilities *can)
{
	if (want->system_disk < have->system_disk)
		return CLASS_REIMAGE;
	return live_if(can->live_disk_grow);
}

static enum change_class decide_work_disk(const struct vm_spec *have, const struct vm_spec *want,
					  const struct capabilities *can)
{
	if (want->work_disk < have->work_disk)
		return CLASS_DATA_LOSS;
	/* A disk that was not there is attached by a start. */
	return have->work_disk ? live_if(can->live_disk_grow) : CLASS_RESTART;
}

static enum change_class decide_state(const struct vm_spec *have, const struct vm_spec *want,
				      const struct capabilities *can)
{
	(void)have, (void)can;
	return want->state == STATE_STOPPED ? CLASS_STOP : CLASS_START;
}

/* --- values that depend on other fields --- */

static void settle_memory(const struct field *f, struct draft *draft, const struct reader *r)
{
	struct vm_spec *spec = &draft->spec;
	const struct image_hint *image = reader_image(r, spec->image);
	uint64_t least = image ? image->min_memory : 0;
	char have[UNITS_TEXT_MAX], need[UNITS_TEXT_MAX];
	if (!spec->memory)
		spec->memory = least ? least : GIB;
	if (spec->memory >= least)
		return;
	const struct path path = { .up = draft->path, .key = f->key };
	READER_FAULT(
		r, draft_place(draft, f), &path, "%s is less than the %s that image '%s' needs",
		units_format_size(spec->memory, have), units_format_size(least, need), spec->image);
}

static void settle_memory_max(const struct field *f, struct draft *draft, const struct reader *r)
{
	const struct vm_spec *spec = &draft->spec;
	char most[UNITS_TEXT_MAX], least[UNITS_TEXT_MAX];
	if (!spec->memory_max || spec->memory_max >= spec->memory)
		return;
	const struct path path = { .up = draft->path, .key = f->key };
	READER_FAULT(r, draft_place(draft, f), &path, "%s is less than the VM's memory, %s",
		     units_format_size(spec->memory_max, most),
		     units_format_size(spec->memory, least));
}

static void settle_system_disk(const struct field *f, struct draft *draft, const struct reader *r)
{
	struct vm_spec *spec = &draft->spec;
	const struct image_hint *image = reader_image(r, spec->image);
	char have[UNITS_TEXT_MAX], need[UNITS_TEXT_MAX];
	if (!image || spec->system_disk >= image->size)
		return;
	if (!draft->origin[field_index(f)] && spec->system_disk == f->fallback) {
		spec->system_disk = (image->size + MIB - 1) / MIB * MIB;
		return;
	}
	const struct path path = { .up = draft->path, .key = f->key };
	READER_FAULT(r, draft_place(draft, f), &path, "%s is less than the %s of image '%s'",
		     units_format_size(spec->system_disk, have),
		     units_format_size(image->size, need), spec->image);
}

/* `defaults` may say how for those that have a source; alone that is no workspace. */
static void settle_workspace(const struct field *f, struct draft *draft, const struct reader *r)
{
	struct workspace_spec *workspace = &draft->spec.workspace;
	const struct path path = { .up = draft->path, .key = f->key };
	bool own = draft->origin[field_index(f)] && !r->merge_maps;
	struct workspace_spec none;
	f->kind->fallback(f, &none);
	if (!workspace->source[0]) {
		if (own && !f->kind->equal(workspace, &none))
			READER_FAULT(r, draft_place(draft, f), &path, "'source' is missing");
		*workspace = none;
	} else if (workspace->from[0] && !workspace->branch[0]) {
		READER_FAULT(r, draft_place(draft, f), &path,
			     "'from' says where 'branch' begins: give both");
	}
}

/* --- the table --- */

const struct field vm_fields[FIELD_COUNT] = {
	{ NAME(image), .fallback_text = "tiny", .change = CLASS_REIMAGE, .example = "tiny",
	  .dflt = "tiny",
	  .doc = "The image the system disk is made from: a name in the local store or the "
		 "catalog. Missing ones are pulled." },
	{ NAME(kernel), .fallback_text = "", .change = CLASS_RESTART, .example = "debian-cloud",
	  .dflt = "the image's kernel",
	  .doc = "The kernel to boot, by its name in the kernel store." },
	{ TEXT(kernel_args), .max = 1024, .fallback_text = "", .change = CLASS_RESTART,
	  .dflt = "none", .example = "loglevel=7",
	  .doc = "Appended to the kernel's command line." },
	{ U32(vcpus), .min = 1, .max = 32, .fallback = 2, .decide = decide_vcpus, .example = "4",
	  .classes = "live where the hypervisor can, else restart", .doc = "Virtual CPUs." },
	{ SIZE(memory), .min = 64 * MIB, .max = TIB, .step = MIB, .decide = decide_memory,
	  .settle = settle_memory, .example = "512Mi",
	  .classes = "live between what the VM was started with and memory_max where the "
		     "hypervisor can, else restart",
	  .dflt = "the least the image needs, 1Gi when that is not known",
	  .doc = "Memory, in whole MiB and at least what the image needs." },
	{ SIZE(memory_max), .min = 64 * MIB, .max = TIB, .step = MIB, .zero_is_none = true,
	  .decide = decide_memory_max, .settle = settle_memory_max, .example = "2Gi",
	  .dflt = "as much as memory", .classes = "restart; live when the VM has the room already",
	  .doc = "How far memory can grow without a restart, in whole MiB; 0 for no further than "
		 "memory. It costs the guest next to nothing until it is used." },
	/* A multiple of a sector, so that 1G (not a multiple of 4Ki) can be written. */
	{ SIZE(system_disk), .min = 16 * MIB, .max = 16 * TIB, .step = 512, .fallback = 8 * GIB,
	  .decide = decide_system_disk, .settle = settle_system_disk, .example = "20Gi",
	  .classes = "growing: live where the driver can, else restart; shrinking: reimage",
	  .doc = "Size of the system disk, at least the image's. It is sparse: what the guest never "
		 "wrote takes no room on the host." },
	{ SIZE(work_disk), .min = 16 * MIB, .max = 16 * TIB, .step = 512, .fallback = 8 * GIB,
	  .zero_is_none = true, .decide = decide_work_disk, .example = "100Gi",
	  .classes = "growing: live where the driver can, else restart; shrinking or 0: data-loss",
	  .doc = "Size of the disk that is mounted at /root and outlives the system disk, sparse; 0 "
		 "for none." },
	{ BOOL(nat), .decide = decide_nat, .example = "true",
	  .classes = "live on a bridge, restart on user networking",
	  .doc = "Whether the guest may reach beyond the host." },
	{ PORTS(ports), .decide = decide_ports, .example = "[\"8080:80\", \"0.0.0.0:53:53/udp\"]",
	  .classes = "live where the driver can, else restart",
	  .doc = "Ports of the host that lead into the guest, each [address:]host:guest[/tcp|udp]. "
		 "The address is 127.0.0.1 unless given; tcp unless given. No two VMs of a set may "
		 "claim the same one." },
	{ ENUM(state, vm_state_wanted), .choices = CHOICES("running", "stopped"),
	  .decide = decide_state, .example = "stopped", .classes = "start or stop",
	  .doc = "What the VM shall be doing." },
	{ ENUM(restart, restart_policy), .choices = CHOICES("always", "on-failure", "never"),
	  .change = CLASS_LIVE, .example = "on-failure",
	  .doc = "Whether the VM is started again when it ends by itself. A power-off from inside "
		 "is no failure; a reboot from inside is always a reboot." },
	{ ENUM(hypervisor, hypervisor_kind), .choices = CHOICES("auto", "qemu", "firecracker"),
	  .change = CLASS_RESTART, .example = "qemu",
	  .doc = "The program that runs the VM; auto takes the best this host has. firecracker needs "
		 "working KVM and the network bridge." },
	{ ENUM(network, network_kind), .choices = CHOICES("auto", "user", "bridge"),
	  .change = CLASS_RESTART, .example = "user",
	  .doc = "How the guest is connected: user, for which no privileges are needed, or bridge, which "
		 "only the machine's bangerd (--system) has. auto is bridge there, else user." },
	{ READY(ready), .min = 1000, .max = 86400000, .fallback = 120000, .change = CLASS_LIVE,
	  .dflt = "ssh, within 120s", .example = "{probe: \"tcp:80\", timeout: 60s}",
	  .doc = "When the VM counts as ready: ssh, agent, tcp:PORT of the guest, or none. With a "
		 "time limit it is a mapping of probe and timeout (1s to 1d)." },
	{ LABELS(labels), .change = CLASS_LIVE, .example = "{tier: web}",
	  .doc = "Words of your own by which VMs are selected. Labels of defaults are added unless "
		 "the VM gives the same key." },
	{ KEYS(ssh_keys), .decide = decide_ssh_keys, .example = "[~/.ssh/id_ed25519.pub]",
	  .classes = "live through the agent, else restart", .dflt = "none beside banger's own",
	  .doc = "Who else may log in: public keys, or paths of files that hold some. A path begins "
		 "with /, ./, ../ or ~/ or ends in .pub; it is read when the file is loaded." },
	{ FILES(files), .change = CLASS_RESTART,
	  .example = "[{source: ./motd, path: /etc/motd, mode: \"0644\", owner: root}]",
	  .doc = "Files copied into the guest at every start: source on the host (relative to the "
		 "file, or ~/), path in the guest, mode as four octal digits (0644), owner as "
		 "user[:group] (root:root)." },
	{ WORKSPACE(workspace), .change = CLASS_LIVE, .settle = settle_workspace, .dflt = "none",
	  .classes = "live (prepared again)",
	  .example = "{source: ., mode: full, branch: try, from: main}",
	  .doc = "A git repository of the host that apply brings into the guest, and again when its "
		 "HEAD has moved: source, a directory in it (relative to the file, or ~/); path in "
		 "the guest (/root/repo); mode shallow, full or metadata; branch to make there and "
		 "from, where it begins; include_untracked; auto_prepare, to let exec bring it up to "
		 "date. Work that is only in the guest is never overwritten. The members that a VM "
		 "does not give are those of defaults." },
	{ NAMES(depends_on), .change = CLASS_LIVE, .example = "[db, cache]",
	  .doc = "VMs of the same stack that have to be ready before this one is started, and that "
		 "are stopped after it when both are. The name of a set means all its replicas. "
		 "Restarting one of them does not restart this one." },
	{ U32(replicas), .min = 0, .max = 1000, .scope = FIELD_OF_FILE, .example = "3",
	  .dflt = "absent: one VM, its name without a number",
	  .classes =
		  "raising: new VMs; lowering: guarded deletion; adding it to a VM that exists, or "
		  "taking it away: data-loss",
	  .doc = "Makes a set of so many VMs: worker-1 to worker-3 of an entry 'worker'." },
	{ U32(max_unavailable), .min = 1, .max = 1000, .fallback = 1, .change = CLASS_LIVE,
	  .scope = FIELD_OF_SET, .example = "2",
	  .doc = "How many of a set's replicas a change may interrupt at a time: each has to be "
		 "ready again before the next one goes. At most replicas." },
	{ NAME(set), .fallback_text = "", .change = CLASS_LIVE, .scope = FIELD_OF_REPLICA,
	  .dflt = "none", .example = "worker", .doc = "The set of replicas the VM belongs to." },
	{ DURATION_MS(ttl), .min = 1000, .max = UINT64_C(3650) * 86400000, .zero_is_none = true,
	  .change = CLASS_LIVE, .dflt = "none", .example = "2h",
	  .doc = "From its creation on, how long the VM lives; then it is deleted and stays so; 0s "
		 "for ever." },
	{ BOOL(protect), .change = CLASS_LIVE, .example = "true",
	  .doc = "Refuse to delete the VM, whoever asks." },
};

/* What people coming from elsewhere write. */
static const struct {
	const char *typed, *meant;
} synonyms[] = {
	{ "cpu", "vcpus" },	      { "cores", "vcpus" },	    { "mem", "memory" },
	{ "ram", "memory" },	      { "disk", "system_disk" },    { "root_disk", "system_disk" },
	{ "data_disk", "work_disk" }, { "cmdline", "kernel_args" }, { "keys", "ssh_keys" },
	{ "volumes", "files" },	      { "healthcheck", "ready" },   { "publish", "ports" },
	{ "scale", "replicas" },      { "after", "depends_on" },
};

const struct field *field_find(const char *key)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (vm_fields[i].key[0] == key[0] && !strcmp(vm_fields[i].key, key))
			return &vm_fields[i];
	return NULL;
}

size_t field_index(const struct field *field)
{
	return (size_t)(field - vm_fields);
}

const char *field_suggest(const char *key)
{
	const char *best = NULL;
	unsigned least = 3;
	for (size_t i = 0; i < ARRAY_COUNT(synonyms); i++)
		if (!strcmp(synonyms[i].typed, key))
			return synonyms[i].meant;
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		unsigned distance = text_distance(key, vm_fields[i].key);
		if (vm_fields[i].scope == FIELD_OF_REPLICA)
			continue;
		if (distance < least && text_is_near(key, vm_fields[i].key)) {
			least = distance;
			best = vm_fields[i].key;
		}
	}
	return best;
}

bool field_equal(const struct field *field, const struct vm_spec *a, const struct vm_spec *b)
{
	return field->kind->equal(field_of(field, a), field_of(field, b));
}

void fields_fallback(struct vm_spec *ret)
{
	*ret = (struct vm_spec){ 0 };
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (vm_fields[i].kind->fallback)
			vm_fields[i].kind->fallback(&vm_fields[i], field_in(&vm_fields[i], ret));
}
