/* Theory of operation
 *
 * Every file has a candidate: its fresh version, or the one in force. What is in force never
 * contradicts itself, so a contradiction has a fresh version in it; that one is rejected and its
 * file falls back. Falling back may bring a VM back that a third file has taken over meanwhile, so
 * the search repeats until it finds nothing; each round rejects at least one file.
 *
 * A file that was gone for a while is the exception: its old version may overlap with what was
 * accepted in between. Then the others win. */
#include "source/merge.h"

#include <string.h>

#define FAULTS_MAX 100

struct claim {
	const struct vm_spec *spec;
	struct source_file *file;
	size_t rank; /* lower wins */
};

static int claim_compare(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = strcmp(x->spec->name, y->spec->name);
	return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

/* All VMs of all candidates by name; present: only of files that are there. */
static struct claim *claims_new(const struct file_list_view *files, bool present, size_t *ret_count)
{
	size_t count = 0, room = 1;
	for (size_t i = 0; i < files->count; i++) {
		const struct spec_set *set = source_file_candidate(files->at[i]);
		room += set ? set->count : 0;
	}
	struct claim *claims = xreallocarray(NULL, room, sizeof(*claims));
	for (size_t i = 0; i < files->count; i++) {
		struct source_file *file = files->at[i];
		const struct spec_set *set = source_file_candidate(file);
		if (!set || (present && file->state == FILE_GONE))
			continue;
		size_t rank = i + (file->was_gone ? files->count : 0);
		for (size_t k = 0; k < set->count; k++)
			claims[count++] = (struct claim){ set->vms[k], file, rank };
	}
	qsort(claims, count, sizeof(*claims), claim_compare);
	*ret_count = count;
	return claims;
}

static bool is_fresh(const struct source_file *file)
{
	return file->has_fresh && !file->rejected;
}

static void add_fault(struct fault_vec *faults, const struct vm_spec *spec,
		      const struct vm_spec *other)
{
	if (faults->count >= FAULTS_MAX)
		return;
	fault_vec_push(faults, (struct fault){ .file = xstrdup(spec->file),
					       .line = spec->line,
					       .column = spec->column,
					       .path = xasprintf("vms.%s", spec->name),
					       .text = xasprintf("is also in %s:%d:%d", other->file,
								 other->line, other->column) });
}

/* claims[0..count) have one name: rejects the fresh ones; was there any? */
static bool reject_group(const struct claim *claims, size_t count, struct fault_vec *faults)
{
	bool any = false;
	for (size_t i = 0; i < count; i++)
		any |= is_fresh(claims[i].file);
	for (size_t i = 0; i < count; i++) {
		struct source_file *file = claims[i].file;
		/* One fault for a pair of fresh files, at the later one. */
		bool told = any ? is_fresh(file) && (i > 0 || !is_fresh(claims[1].file)) : i > 0;
		if (told)
			add_fault(faults, claims[i].spec, claims[i ? 0 : 1].spec);
	}
	for (size_t i = 0; i < count; i++)
		claims[i].file->rejected |= any && claims[i].file->has_fresh;
	return any;
}

/* One round over VM names. ret_clean: no name twice. */
static bool reject_duplicates(const struct file_list_view *files, struct fault_vec *faults,
			      bool *ret_clean)
{
	size_t count;
	bool any = false;
	auto_free struct claim *claims = claims_new(files, true, &count);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count; end++)
			if (strcmp(claims[i].spec->name, claims[end].spec->name) != 0)
				break;
		if (end - i == 1)
			continue;
		*ret_clean = false;
		any |= reject_group(&claims[i], end - i, faults);
	}
	return any;
}

/* The first file that names a stack, one in force before a fresh one; NULL: none does. */
static struct source_file *stack_namer(const struct file_list_view *files)
{
	struct source_file *first = NULL;
	for (size_t i = 0; i < files->count; i++) {
		struct source_file *file = files->at[i];
		const struct spec_set *set = source_file_candidate(file);
		if (!set || !set->stack || file->state == FILE_GONE)
			continue;
		if (!is_fresh(file))
			return file;
		if (!first)
			first = file;
	}
	return first;
}

static void add_stack_fault(struct fault_vec *faults, const struct source_file *file,
			    const struct source_file *other)
{
	if (faults->count >= FAULTS_MAX)
		return;
	fault_vec_push(faults,
		       (struct fault){ .file = xstrdup(file->path),
				       .path = xstrdup("stack"),
				       .text = xasprintf("is '%s' here and '%s' in %s",
							 source_file_candidate(file)->stack,
							 source_file_candidate(other)->stack,
							 other->path) });
}

/* One round over `stack:`. A name in force stands; without one all fresh names are rejected. */
static bool reject_stacks(const struct file_list_view *files, struct fault_vec *faults,
			  bool *ret_clean)
{
	struct source_file *namer = stack_namer(files);
	bool undecided = namer && is_fresh(namer), differ = false, any = false;
	const char *stack = namer ? source_file_candidate(namer)->stack : NULL;
	for (size_t i = 0; namer && i < files->count; i++) {
		struct source_file *file = files->at[i];
		const struct spec_set *set = source_file_candidate(file);
		if (!set || !set->stack || file->state == FILE_GONE || !strcmp(set->stack, stack))
			continue;
		differ = true;
		add_stack_fault(faults, file, namer);
		any |= is_fresh(file);
		file->rejected |= file->has_fresh;
	}
	*ret_clean &= !differ;
	if (!differ || !undecided)
		return any;
	for (size_t i = 0; i < files->count; i++)
		files->at[i]->rejected |= files->at[i]->has_fresh && files->at[i]->fresh.stack;
	return true;
}

bool merge_reject(const struct file_list_view *files, struct fault_vec *faults)
{
	bool clean = true;
	for (size_t i = 0; i < files->count; i++)
		files->at[i]->rejected = false;
	for (size_t round = 0; round <= files->count; round++) {
		bool stacks = reject_stacks(files, faults, &clean);
		bool names = reject_duplicates(files, faults, &clean);
		if (!stacks && !names)
			break;
	}
	return clean;
}

const struct vm_spec **merge_union(const struct file_list_view *files, size_t *ret_count)
{
	size_t count, kept = 0;
	auto_free struct claim *claims = claims_new(files, false, &count);
	const struct vm_spec **vms = xreallocarray(NULL, count + 1, sizeof(struct vm_spec *));
	for (size_t i = 0; i < count; i++)
		if (!kept || strcmp(vms[kept - 1]->name, claims[i].spec->name) != 0)
			vms[kept++] = claims[i].spec;
	*ret_count = kept;
	return vms;
}

const char *merge_stack(const struct file_list_view *files)
{
	const struct source_file *namer = stack_namer(files);
	return namer ? source_file_candidate(namer)->stack : NULL;
}

struct string_list merge_empty_sets(const struct file_list_view *files)
{
	struct string_list all = { 0 };
	for (size_t i = 0; i < files->count; i++) {
		const struct spec_set *set = source_file_candidate(files->at[i]);
		for (size_t k = 0; set && k < set->empty_sets.count; k++) {
			all.at = xreallocarray(all.at, all.count + 1, sizeof(*all.at));
			all.at[all.count++] = set->empty_sets.at[k];
		}
	}
	return all;
}
