/* source/merge.h - many files, one set: contradictions between them, and the union. */
#ifndef SOURCE_MERGE_H
#define SOURCE_MERGE_H

#include "source/file.h"

struct file_list_view { /* sorted by name; borrowed */
	struct source_file **at;
	size_t count;
};

/* Rejects every fresh version that contradicts another file (same VM name, another `stack:`), with
 * a fault that names both places. False when there was a contradiction. */
bool merge_reject(const struct file_list_view *files, struct fault_vec *faults);

/* The union of all candidates, sorted by name, array owned by the caller. A VM that two files have
 * is taken from the one that has been there all along. */
const struct vm_spec **merge_union(const struct file_list_view *files, size_t *ret_count);

/* Sets without replicas of all candidates; array owned by the caller. */
struct string_list merge_empty_sets(const struct file_list_view *files);

/* The `stack:` that the candidates name, or NULL; borrowed. */
const char *merge_stack(const struct file_list_view *files);

#endif
