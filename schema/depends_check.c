/* depends_on, when all entries of a stack are known: every name is somebody's, and nobody waits
 * for itself.
 *
 * The graph is that of entries, a set being one: what depends on a set or on one of its replicas
 * depends on the entry. So a stack of 10,000 VMs that all depend on a set of 1,000 is a small
 * graph. */
#include "schema/reader.h"
#include "schema/text.h"

#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#define CYCLE_SHOWN 10 /* names */

struct graph {
	struct entry_vec *entries; /* sorted by name */
	const struct ref_vec *refs;
	size_t *targets; /* of refs: an index of entries, or NOBODY */
	struct fault_sink *faults;
};
#define NOBODY SIZE_MAX

static int by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order ? order : x->order < y->order ? -1 : 1;
}

static size_t find(const struct entry_vec *entries, const char *name, size_t len)
{
	for (size_t low = 0, high = entries->count; low < high;) {
		size_t middle = low + (high - low) / 2;
		const char *here = entries->at[middle].name;
		int order = strncmp(name, here, len);
		if (!order && here[len])
			order = -1;
		if (!order)
			return middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NOBODY;
}

/* An entry's name, or that of one of its replicas. */
static size_t resolve(const struct entry_vec *entries, const char *name)
{
	size_t at = find(entries, name, strlen(name));
	const char *dash = strrchr(name, '-');
	if (at != NOBODY || !dash || dash[1] < '1' || dash[1] > '9' || strlen(dash) > 5 ||
	    !text_only(dash + 1, SET_DIGIT))
		return at;
	at = find(entries, name, (size_t)(dash - name));
	if (at == NOBODY || entries->at[at].replicas == ONE_VM)
		return NOBODY;
	return strtoul(dash + 1, NULL, 10) <= entries->at[at].replicas ? at : NOBODY;
}

static void fault_at(struct graph *graph, const struct entry *entry, const struct ref *ref,
		     const char *text)
{
	const struct path vms = { .key = "vms" }, vm = { .up = &vms, .key = entry->name };
	const struct path list = { .up = &vm, .key = "depends_on" };
	const struct path item = { .up = &list, .index = ref->index };
	graph->faults->file = entry->file;
	fault_add(graph->faults, ref->line, ref->column, ref->index == NO_INDEX ? &list : &item,
		  "%s", text);
}

static void unknown(struct graph *graph, const struct entry *entry, const struct ref *ref)
{
	const char *meant = NULL;
	unsigned least = 3;
	/* Looking for what was meant is worth it only for those that will be read. */
	for (size_t i = 0; graph->faults->kept < SPEC_FAULT_MAX && i < graph->entries->count; i++) {
		const char *name = graph->entries->at[i].name;
		unsigned distance = text_distance(ref->name, name);
		if (distance < least && text_is_near(ref->name, name)) {
			least = distance;
			meant = name;
		}
	}
	auto_free char *text =
		meant ? xasprintf("no VM of this stack is called '%s', did you mean '%s'?",
				  ref->name, meant)
		      : xasprintf("no VM of this stack is called '%s'", ref->name);
	fault_at(graph, entry, ref, text);
}

static void find_targets(struct graph *graph)
{
	for (size_t i = 0; i < graph->entries->count; i++) {
		const struct entry *entry = &graph->entries->at[i];
		for (size_t r = entry->first_ref; r < entry->first_ref + entry->refs; r++) {
			const struct ref *ref = &graph->refs->at[r];
			graph->targets[r] = resolve(graph->entries, ref->name);
			if (graph->targets[r] == NOBODY)
				unknown(graph, entry, ref);
		}
	}
}

/* Two entries of one name; where both are VMs, their VMs have said so. */
static void check_names(struct graph *graph)
{
	const struct path vms = { .key = "vms" };
	for (size_t i = 1; i < graph->entries->count; i++) {
		const struct entry *a = &graph->entries->at[i - 1], *b = &graph->entries->at[i];
		const struct path path = { .up = &vms, .key = b->name };
		if (!text_equal(a->name, b->name) ||
		    (a->replicas == ONE_VM && b->replicas == ONE_VM))
			continue;
		graph->faults->file = b->file;
		fault_add(graph->faults, b->line, b->column, &path, "this set is also in %s:%d:%d",
			  a->file, a->line, a->column);
	}
}

/* --- cycles: a depth-first walk, its path kept on the heap --- */

struct step {
	size_t entry, next; /* next ref to follow */
};
DEFINE_VEC(step_vec, struct step)
enum colour { NEW, ON_PATH, DONE };

static void say_cycle(struct graph *graph, const struct step_vec *path, size_t first,
		      const struct ref *ref)
{
	auto_buf struct buf text = BUF_INIT;
	buf_add(&text, "a cycle: ");
	for (size_t i = first; i < path->count; i++) {
		if (i - first == CYCLE_SHOWN) {
			buf_add(&text, "... -> ");
			break;
		}
		buf_addf(&text, "%s -> ", graph->entries->at[path->at[i].entry].name);
	}
	buf_add(&text, graph->entries->at[path->at[first].entry].name);
	fault_at(graph, &graph->entries->at[path->at[path->count - 1].entry], ref, text.data);
}

/* Follows one more edge of the path's end, or leaves it. */
static void walk_on(struct graph *graph, struct step_vec *path, enum colour *colours)
{
	struct step *end = &path->at[path->count - 1];
	const struct entry *entry = &graph->entries->at[end->entry];
	if (end->next == entry->refs) {
		colours[end->entry] = DONE;
		path->count--;
		return;
	}
	size_t ref = entry->first_ref + end->next++, target = graph->targets[ref];
	if (target == NOBODY || colours[target] == DONE)
		return;
	if (colours[target] == NEW) {
		colours[target] = ON_PATH;
		step_vec_push(path, (struct step){ .entry = target });
		return;
	}
	size_t first = path->count - 1;
	while (path->at[first].entry != target)
		first--;
	say_cycle(graph, path, first, &graph->refs->at[ref]);
}

static void find_cycles(struct graph *graph)
{
	auto_free enum colour *colours = xcalloc(graph->entries->count, sizeof(*colours));
	struct step_vec path = { 0 };
	for (size_t i = 0; i < graph->entries->count; i++) {
		if (colours[i] != NEW)
			continue;
		colours[i] = ON_PATH;
		step_vec_push(&path, (struct step){ .entry = i });
		while (path.count)
			walk_on(graph, &path, colours);
	}
	step_vec_clear(&path);
}

void depends_check(struct entry_vec *entries, const struct ref_vec *refs, struct fault_sink *faults)
{
	if (!entries->count)
		return;
	auto_free size_t *targets = xcalloc(refs->count + 1, sizeof(*targets));
	struct graph graph = {
		.entries = entries, .refs = refs, .targets = targets, .faults = faults
	};
	qsort(entries->at, entries->count, sizeof(*entries->at), by_name);
	check_names(&graph);
	if (!refs->count)
		return;
	find_targets(&graph);
	find_cycles(&graph);
}

/* --- of specs that were loaded apart --- */

static const struct vm_spec *find_vm(const struct vm_spec *const *vms, size_t count,
				     const char *name)
{
	for (size_t low = 0, high = count; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, vms[middle]->name);
		if (!order)
			return vms[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static size_t count_replicas(const struct vm_spec *const *vms, size_t count, const char *set)
{
	char name[VM_NAME_MAX + 24];
	size_t replicas = 0;
	const struct vm_spec *vm;
	do {
		snprintf(name, sizeof(name), "%s-%zu", set, replicas + 1);
		vm = find_vm(vms, count, name);
	} while (vm && text_equal(vm->set, set) && ++replicas);
	return replicas;
}

/* A set speaks by its first replica. */
static bool speaks(const struct vm_spec *spec)
{
	size_t len = strlen(spec->set);
	return !len || text_equal(spec->name + len, "-1");
}

static void add_entry(struct entry_vec *entries, struct ref_vec *refs, const struct vm_spec *spec,
		      size_t replicas)
{
	struct entry entry = { .name = *spec->set ? spec->set : spec->name,
			       .file = spec->file ? spec->file : "",
			       .line = spec->line,
			       .column = spec->column,
			       .replicas = replicas,
			       .first_ref = refs->count,
			       .refs = spec->depends_on.count,
			       .order = entries->count };
	for (size_t i = 0; i < spec->depends_on.count; i++)
		ref_vec_push(refs, (struct ref){ .name = spec->depends_on.at[i],
						 .line = spec->line,
						 .column = spec->column,
						 .index = NO_INDEX });
	entry_vec_push(entries, entry);
}

size_t spec_depends_check(const struct vm_spec *const *vms, size_t count,
			  const struct string_list *empty_sets, struct fault_vec *faults)
{
	struct entry_vec entries = { 0 };
	struct ref_vec refs = { 0 };
	struct fault_sink sink = { .to = faults, .file = "" };
	size_t before = faults->count;
	for (size_t i = 0; i < count; i++) {
		const char *set = vms[i]->set;
		if (speaks(vms[i]))
			add_entry(&entries, &refs, vms[i],
				  *set ? count_replicas(vms, count, set) : ONE_VM);
	}
	for (size_t i = 0; i < empty_sets->count; i++)
		entry_vec_push(&entries, (struct entry){ .name = empty_sets->at[i],
							 .file = "",
							 .order = entries.count });
	depends_check(&entries, &refs, &sink);
	entry_vec_clear(&entries);
	ref_vec_clear(&refs);
	faults_sort(&sink, before);
	faults_close(&sink);
	return sink.kept + sink.dropped;
}
