/* Theory of operation. Each source becomes a tree; `defaults` is read once into a draft, and every
 * VM starts from a copy of it, so that a fault in `defaults` is reported once and costs once. What
 * depends on several fields is settled when a VM's own are read; what depends on several VMs
 * (names, ports, who depends on whom, the stack's name) when all sources are. Nothing is returned
 * unless everything is right. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/units.h"

#include <string.h>

struct loaded {
	struct vm_spec *spec;
	size_t order; /* as read, so that of two VMs of one name the later is at fault */
};
DEFINE_VEC(loaded_vec, struct loaded)

struct loader {
	const struct spec_context *context;
	struct fault_sink faults;
	struct loaded_vec vms;
	size_t wanted; /* VMs, made or not: no more are made than a stack may have */
	struct claim_vec claims;
	struct entry_vec entries;
	struct ref_vec refs;
	struct arena *names; /* of entries and refs */
	char *stack;
	const char *stack_file; /* where it was named first */
	int stack_line;
	bool says_none;
};

struct file {
	struct loader *loader;
	const struct spec_source *source;
	struct reader reader;
	struct draft defaults;
};

#define FILE_FAULT(file, node, path, ...) READER_FAULT(&(file)->reader, node, path, __VA_ARGS__)

static const char *const top_keys[] = { "version", "stack", "defaults", "vms", NULL };

static bool is_extension(const char *key)
{
	return !strncmp(key, "x-", 2);
}

/* --- one VM --- */

static bool check_name(struct file *file, const struct yaml_node *key, const struct path *path)
{
	if (vm_name_valid(key->text))
		return true;
	FILE_FAULT(file, key, path,
		   "not a name: a to z, 0 to 9 and -, at most %d, neither beginning nor ending "
		   "with -",
		   VM_NAME_MAX);
	return false;
}

/* What the entry says about others, for when all of them are known. */
static void note_entry(struct file *file, const struct draft *draft, const struct yaml_node *key,
		       size_t replicas)
{
	struct loader *loader = file->loader;
	const struct string_list *names = &draft->spec.depends_on;
	const struct yaml_node *list = draft->origin[field_index(field_find("depends_on"))];
	struct entry entry = { .name = arena_text(loader->names, key->text, key->count),
			       .file = file->source->name,
			       .line = key->line,
			       .column = key->column,
			       .replicas = replicas,
			       .first_ref = loader->refs.count,
			       .refs = names->count,
			       .order = loader->entries.count };
	for (size_t i = 0; i < names->count; i++) {
		size_t at = 0; /* they were sorted */
		while (at + 1 < list->count && !text_equal(list->items[at]->text, names->at[i]))
			at++;
		ref_vec_push(&loader->refs,
			     (struct ref){ .name = arena_text(loader->names, names->at[i],
							      strlen(names->at[i])),
					   .line = list->items[at]->line,
					   .column = list->items[at]->column,
					   .index = at });
	}
	entry_vec_push(&loader->entries, entry);
}

static void add_vm(struct file *file, struct draft *draft, const struct yaml_node *key)
{
	struct loader *loader = file->loader;
	draft->spec.file = file->source->name;
	draft->spec.line = key->line;
	draft->spec.column = key->column;
	draft->spec.reader = loader->context->reader;
	claims_add(&loader->claims, draft, NULL, file->source->name);
	struct vm_spec *spec = draft_finish(draft, &file->reader);
	loaded_vec_push(&loader->vms, (struct loaded){ spec, loader->vms.count });
	/* Claims outlive the tree, so they name the VM by the spec. */
	for (size_t i = loader->claims.count; i-- > 0 && !loader->claims.at[i].vm;)
		loader->claims.at[i].vm = spec->name;
}

static void load_vm(struct file *file, const struct yaml_pair *pair, const struct path *vms)
{
	struct loader *loader = file->loader;
	const struct yaml_node *key = pair->key, *body = pair->value;
	const struct path path = { .up = vms, .key = key->text };
	struct draft draft = file->defaults;
	bool named = check_name(file, key, &path);
	if (body->kind == NODE_MAP)
		draft_read(&draft, body, &path, &file->reader);
	else if (!yaml_is_null(body))
		FILE_FAULT(file, body, &path, "must be a mapping of fields, not %s",
			   yaml_kind_name(body));
	draft_settle(&draft, &path, key, &file->reader);
	size_t replicas = replicas_settle(&draft, &file->defaults, &path, key, &file->reader);
	if (!named)
		return;
	note_entry(file, &draft, key, replicas);
	loader->wanted += replicas == ONE_VM ? 1 : replicas;
	loader->says_none |= replicas == 0;
	if (replicas == ONE_VM) {
		str_copy(draft.spec.name, sizeof(draft.spec.name), key->text);
		add_vm(file, &draft, key);
		return;
	}
	for (size_t i = 1; i <= replicas && loader->wanted <= SPEC_VMS_MAX; i++) {
		replicas_name(&draft, key->text, i);
		add_vm(file, &draft, key);
	}
}

/* --- one file --- */

static void load_vms(struct file *file, const struct yaml_node *vms)
{
	const struct path path = { .key = "vms" };
	if (vms->kind != NODE_MAP) {
		FILE_FAULT(file, vms, &path, "must be a mapping of VMs, write {} for none");
		return;
	}
	file->loader->says_none = file->loader->says_none || !vms->count;
	for (size_t i = 0; i < vms->count; i++)
		load_vm(file, &vms->pairs[i], &path);
}

static void load_defaults(struct file *file, const struct yaml_node *defaults)
{
	const struct path path = { .key = "defaults" };
	draft_init(&file->defaults, &file->reader);
	if (!defaults || yaml_is_null(defaults))
		return;
	if (defaults->kind != NODE_MAP)
		FILE_FAULT(file, defaults, &path, "must be a mapping of fields, not %s",
			   yaml_kind_name(defaults));
	else
		draft_read(&file->defaults, defaults, &path, &file->reader);
}

static void load_stack(struct file *file, const struct yaml_node *node)
{
	const struct path path = { .key = "stack" };
	struct loader *loader = file->loader;
	const char *text = node ? want_text(node, &path, "a name", &file->reader) : NULL;
	if (!text)
		return;
	if (!vm_name_valid(text)) {
		FILE_FAULT(file, node, &path,
			   "'%.40s' is not a name: a to z, 0 to 9 and -, at most %d", text,
			   VM_NAME_MAX);
		return;
	}
	if (!loader->stack) {
		loader->stack = xstrdup(text);
		loader->stack_file = file->source->name;
		loader->stack_line = node->line;
	} else if (!text_equal(loader->stack, text)) {
		FILE_FAULT(file, node, &path, "'%s', but %s:%d says '%s': all files are one stack",
			   text, loader->stack_file, loader->stack_line, loader->stack);
	}
}

/* False when what follows cannot be judged by the rules of version 1. */
static bool check_version(struct file *file, const struct yaml_node *root)
{
	const struct path path = { .key = "version" };
	const struct yaml_node *node = yaml_get(root, "version");
	if (!node) {
		FILE_FAULT(file, root, &path, "is missing, begin the file with 'version: 1'");
		return true;
	}
	const char *text = want_text(node, &path, "the number 1", &file->reader);
	if (!text)
		return true;
	if (!strcmp(text, "1") && node->plain)
		return true;
	FILE_FAULT(file, node, &path, "'%.40s' is not known, this banger reads version 1%s", text,
		   node->plain ? "" : " (without quotes)");
	return !node->plain;
}

static void check_keys(struct file *file, const struct yaml_node *root)
{
	for (size_t i = 0; i < root->count; i++) {
		const struct yaml_node *key = root->pairs[i].key;
		const struct path path = { .key = key->text };
		char hint[64];
		const char *const *known = top_keys;
		while (*known && !text_equal(*known, key->text))
			known++;
		if (*known || is_extension(key->text))
			continue;
		if (field_find(key->text))
			FILE_FAULT(file, key, &path,
				   "a field of a VM, indent it below its name or 'defaults'");
		else
			FILE_FAULT(file, key, &path, "unknown field%s",
				   did_you_mean(hint, key->text, top_keys));
	}
}

static void load_root(struct file *file, const struct yaml_node *root)
{
	if (root->kind != NODE_MAP) {
		FILE_FAULT(file, root, NULL, "must be a mapping with 'version' and 'vms', not %s",
			   yaml_kind_name(root));
		return;
	}
	if (!check_version(file, root))
		return;
	check_keys(file, root);
	load_stack(file, yaml_get(root, "stack"));
	load_defaults(file, yaml_get(root, "defaults"));
	file->reader.merge_maps = true;
	const struct yaml_node *vms = yaml_get(root, "vms");
	const struct path path = { .key = "vms" };
	if (vms)
		load_vms(file, vms);
	else
		FILE_FAULT(file, root, &path, "is missing, write 'vms: {}' for no VMs");
}

static void load_file(struct loader *loader, const struct spec_source *source)
{
	size_t first = loader->faults.to->count;
	auto_ptr(arena) arena = arena_new(source->len < 65536 ? 4096 : 65536);
	loader->faults.file = source->name;
	const char *home = loader->context->home ? loader->context->home : getenv("HOME");
	struct file file = {
		.loader = loader,
		.source = source,
		.reader = { .context = loader->context,
			    .directory = source->directory,
			    .home = home && home[0] == '/' ? home : NULL,
			    .scratch = arena,
			    .faults = &loader->faults },
	};
	const struct yaml_node *root =
		yaml_parse(source->text, source->len, arena, &loader->faults);
	if (root)
		load_root(&file, root);
	faults_sort(&loader->faults, first);
}

/* --- the set --- */

static int by_name(const void *a, const void *b)
{
	const struct loaded *x = a, *y = b;
	int order = strcmp(x->spec->name, y->spec->name);
	return order ? order : x->order < y->order ? -1 : 1;
}

/* Two of one name; that both are of one set is said of their entries. */
static void same_name(const struct vm_spec *a, const struct vm_spec *b, struct fault_sink *faults)
{
	const struct path vms = { .key = "vms" };
	const struct path path = { .up = &vms, .key = *b->set ? b->set : b->name };
	if (*a->set && text_equal(a->set, b->set))
		return;
	faults->file = b->file;
	if (*b->set)
		fault_add(faults, b->line, b->column, &path, "its replica '%s' is also in %s:%d:%d",
			  b->name, a->file, a->line, a->column);
	else if (*a->set)
		fault_add(faults, b->line, b->column, &path,
			  "this VM is also a replica of '%s' in %s:%d:%d", a->set, a->file, a->line,
			  a->column);
	else
		fault_add(faults, b->line, b->column, &path, "this VM is also in %s:%d:%d", a->file,
			  a->line, a->column);
}

static void check_set(struct loader *loader)
{
	const struct path vms = { .key = "vms" };
	struct fault_sink *faults = &loader->faults;
	size_t first = faults->to->count;
	for (size_t i = 1; i < loader->vms.count; i++) {
		const struct vm_spec *a = loader->vms.at[i - 1].spec, *b = loader->vms.at[i].spec;
		if (text_equal(a->name, b->name))
			same_name(a, b, faults);
	}
	if (loader->wanted > SPEC_VMS_MAX) {
		const struct vm_spec *last = loader->vms.at[loader->vms.count - 1].spec;
		faults->file = last->file;
		fault_add(faults, 0, 0, &vms, "%zu VMs, a stack may have %d", loader->wanted,
			  SPEC_VMS_MAX);
	}
	claims_check(&loader->claims, faults);
	if (!loader->context->part)
		depends_check(&loader->entries, &loader->refs, faults);
	faults_sort(faults, first);
}

/* A set of nobody is nobody to wait for. Of a part the names stay: they may be another part's. */
static void forget_dependence(struct vm_spec *spec, const struct string_list *empty)
{
	struct string_list *names = &spec->depends_on;
	size_t kept = 0;
	for (size_t i = 0; i < names->count; i++) {
		size_t k = 0;
		while (k < empty->count && !text_equal(empty->at[k], names->at[i]))
			k++;
		if (k == empty->count)
			names->at[kept++] = names->at[i];
	}
	names->count = kept;
}

static struct string_list take_empty_sets(struct loader *loader)
{
	struct string_list empty = { .at = xcalloc(loader->entries.count + 1, sizeof(char *)) };
	for (size_t i = 0; i < loader->entries.count; i++)
		if (!loader->entries.at[i].replicas)
			empty.at[empty.count++] = xstrdup(loader->entries.at[i].name);
	for (size_t i = 0; empty.count && !loader->context->part && i < loader->vms.count; i++)
		forget_dependence(loader->vms.at[i].spec, &empty);
	return empty;
}

static void loader_clear(struct loader *loader)
{
	for (size_t i = 0; i < loader->vms.count; i++)
		vm_spec_free(loader->vms.at[i].spec);
	loaded_vec_clear(&loader->vms);
	entry_vec_clear(&loader->entries);
	ref_vec_clear(&loader->refs);
	claim_vec_clear(&loader->claims);
	free(loader->stack);
}

int spec_load(const struct spec_source *sources, size_t count, const struct spec_context *context,
	      struct spec_set *ret, struct fault_vec *faults)
{
	static const struct spec_context nothing_known = { 0 };
	auto_ptr(arena) names = arena_new(4096);
	struct loader loader = {
		.context = context ? context : &nothing_known,
		.names = names,
		.faults = { .to = faults, .file = "" },
	};
	for (size_t i = 0; i < count; i++)
		load_file(&loader, &sources[i]);
	if (loader.vms.count)
		qsort(loader.vms.at, loader.vms.count, sizeof(*loader.vms.at), by_name);
	check_set(&loader);
	if (fault_any(&loader.faults)) {
		faults_close(&loader.faults);
		loader_clear(&loader);
		return -1;
	}
	*ret = (struct spec_set){
		.stack = loader.stack,
		.vms = xcalloc(loader.vms.count, sizeof(struct vm_spec *)),
		.count = loader.vms.count,
		.empty_sets = take_empty_sets(&loader),
		.says_none = loader.says_none,
	};
	for (size_t i = 0; i < ret->count; i++)
		ret->vms[i] = loader.vms.at[i].spec;
	loader.stack = NULL;
	loader.vms.count = 0;
	loader_clear(&loader);
	return 0;
}

void spec_set_clear(struct spec_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		vm_spec_free(set->vms[i]);
	free(set->vms);
	for (size_t i = 0; i < set->empty_sets.count; i++)
		free((char *)set->empty_sets.at[i]);
	free(set->empty_sets.at);
	free(set->stack);
	*set = (struct spec_set){ 0 };
}

const struct vm_spec *spec_set_find(const struct spec_set *set, const char *name)
{
	for (size_t low = 0, high = set->count; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, set->vms[middle]->name);
		if (!order)
			return set->vms[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
