/* schema/spec_load.h - from YAML text to resolved specs, with every fault found.
 *
 *	struct spec_source src = { .name = "vms.yaml", .text = text, .len = len };
 *	struct spec_set set;
 *	struct fault_vec faults = { 0 };
 *	if (spec_load(&src, 1, &context, &set, &faults) < 0)
 *		print the faults
 *
 * Several sources are one set: the same VM name in two of them is a fault naming both places; two
 * different `stack:` names are a fault. Nothing here reads a clock, the network or the store; of
 * the file system only the public keys that `ssh_keys` names by path (through context.read_file).
 *
 * How YAML is read, beyond spec.md:
 * - A string takes any scalar but null: `a: 1` is the label "1". Null is refused everywhere but for
 *   a VM (`web:` alone: all defaults) and `defaults`, so that a forgotten value is no empty one.
 * - Numbers and booleans must be plain; sizes, durations and file modes may be quoted.
 * - `defaults`: a VM's field replaces the default's as a whole; labels are merged key by key.
 * - Anchors, aliases and merge keys (`<<`) work; top-level keys that begin with x- are ignored: a
 *   place for anchors. Tags and several documents are refused.
 * - Lists whose order means nothing (ports, ssh_keys, files, depends_on) are kept sorted.
 * - An entry with `replicas` is made into VMs here: `worker-1` ..., each with its `set`. What is
 *   returned has no replicas any more. */
#ifndef SCHEMA_SPEC_LOAD_H
#define SCHEMA_SPEC_LOAD_H

#include "schema/vm_spec.h"

#define SPEC_FILE_MAX  (4u << 20) /* bytes */
#define SPEC_DEPTH_MAX 16
#define SPEC_ALIAS_MAX 10000 /* nodes that aliases may add to a file's own */
#define SPEC_VMS_MAX   10000 /* of one stack */
#define SPEC_FAULT_MAX 100   /* reported; beyond, the last one says how many more */

struct spec_source {
	const char *name; /* as shown in faults and stored as the VM's file */
	const char *text; /* not necessarily terminated */
	size_t len;
	const char *directory; /* absolute; what relative paths are below; NULL: refused */
};

struct fault {
	char *file;	  /* owned */
	int line, column; /* 1-based; 0 when the fault has no place */
	char *path;	  /* "vms.web.memory", may be "" ; owned */
	char *text;	  /* "unknown field 'memroy', did you mean 'memory'?" ; owned */
};
DEFINE_VEC(fault_vec, struct fault)
void faults_clear(struct fault_vec *faults);
/* "vms.yaml:12:7: vms.web.memroy: unknown field, did you mean 'memory'?" ; the caller frees. */
char *fault_format(const struct fault *fault);

struct image_hint {
	const char *name;
	uint64_t min_memory; /* bytes */
	uint64_t size;	     /* bytes of its root file system, 0 unknown */
};

struct spec_context {
	const char *default_image;	 /* NULL: "tiny" */
	const struct image_hint *images; /* what is known about images, for the memory default */
	size_t image_count;
	/* Reads a small file for ssh_keys paths; NULL: spec_read_key_file(). Returns malloc'ed
	 * text.
	 */
	char *(*read_file)(void *cookie, const char *path, struct error *err);
	void *cookie;
	/* Absolute; what "~/" stands for. NULL: $HOME, and refused when that is not absolute. */
	const char *home;
	/* The sources are a part of a stack: whom their VMs depend on is checked by whoever joins
	 * the parts, by spec_depends_check(). */
	bool part;
	uint32_t reader; /* of what is loaded: struct vm_spec */
	/* Of vm_spec_with() only: relative paths are below it; NULL: refused. */
	const char *directory;
};

/* The file as text, the caller's; at most 64 KiB. NULL with err. */
char *spec_read_key_file(const char *path, struct error *err);

struct spec_set {
	char *stack;	      /* from `stack:`, NULL when no file names one; owned */
	struct vm_spec **vms; /* owned, sorted by name, no duplicates */
	size_t count;
	struct string_list empty_sets; /* entries with `replicas: 0`; owned, strings too */
	bool says_none; /* some valid file holds `vms: {}` or `replicas: 0` in so many words */
};
void spec_set_clear(struct spec_set *set);
const struct vm_spec *spec_set_find(const struct spec_set *set, const char *name);

/* 0 and *ret filled, or -1 and faults (at least one); *ret is untouched on failure. */
int spec_load(const struct spec_source *sources, size_t count, const struct spec_context *context,
	      struct spec_set *ret, struct fault_vec *faults);

/* Two VMs that want the same port of the host, for whoever joins sets that were loaded apart
 * (within one spec_load() it is checked already). Adds a fault for each, placed at the later VM in
 * the order of the array; returns how many. */
size_t spec_ports_check(const struct vm_spec *const *vms, size_t count, struct fault_vec *faults);

/* The same for `depends_on`: names that are nobody's, and cycles. vms sorted by name. */
size_t spec_depends_check(const struct vm_spec *const *vms, size_t count,
			  const struct string_list *empty_sets, struct fault_vec *faults);

/* For `set KEY=VALUE` and the flags of `create`: applies text values to a copy of base (NULL: the
 * defaults), by the same table, bounds and messages. NULL with err on the first bad one.
 * A list is replaced by all that this call gives, "ports=8080:80,9090:90" or the key several times;
 * "ports=" empties it. labels=a=b,c=d; files=./motd:/etc/motd; a value that begins with [ or { is
 * YAML: ready={probe: tcp:80, timeout: 60s}. */
struct vm_spec *vm_spec_with(const struct vm_spec *base, const char *name,
			     const char *const *assignments, size_t count,
			     const struct spec_context *context, struct error *err);

/* Generated from the field table; the caller frees. */
char *schema_emit_json_schema(void); /* schema/vms.schema.json */
char *schema_emit_man_fields(void);  /* the FIELDS part of banger-vms(5), roff */

#endif
