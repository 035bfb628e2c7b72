/* Theory of operation
 *
 * A scan has four steps: list the names, look at each file (file.c; a glance leaves out the first
 * two where inotify had nothing to say), reject what contradicts
 * another file (merge.c), accept the rest. It is complete when the directory could be listed, holds
 * a file, and every file was valid and accepted. Only then files that vanished are forgotten; in
 * any other case they stay with what was in force, so that a directory that cannot be seen, or can
 * only be seen in part, loses nothing.
 *
 * Versions that were replaced live until the end of the scan, because the revision is found by
 * comparing the new union with the last one: a file that was touched, or whose comments changed,
 * says nothing new. */
#include "source/dir.h"
#include "source/merge.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define FAULTS_MAX 1000 /* in a result */

DEFINE_VEC(file_vec, struct source_file *)
DEFINE_VEC(set_vec, struct spec_set)
DEFINE_VEC(name_vec, char *)

struct source_dir {
	char *path;
	struct spec_context context;
	struct watch *watch;
	struct file_vec files; /* sorted by name */
	struct set_vec retired;
	/* The last result, for the comparison. */
	const struct vm_spec **vms;
	size_t count;
	char *stack;	      /* of the last result */
	char *complete_stack; /* of the last complete one, or NULL */
	char *reason;
	uint64_t revision;
};

void source_result_clear(struct source_result *result)
{
	free(result->vms);
	free(result->empty_sets.at);
	free(result->stack);
	free(result->incomplete_reason);
	free(result->unwatched);
	faults_clear(&result->faults);
	*result = (struct source_result){ 0 };
}

struct source_dir *source_dir_new(const char *path, const struct spec_context *context,
				  struct error *err)
{
	auto_free char *clean = xstrdup(path);
	for (size_t len = strlen(clean); len > 1 && clean[len - 1] == '/'; len--)
		clean[len - 1] = '\0';
	if (*clean != '/') {
		error_set(err, ERROR_INVALID, "'%s' is not an absolute path", path);
		return NULL;
	}
	struct watch *watch = watch_new(clean, err);
	if (!watch)
		return NULL;
	struct source_dir *dir = xmalloc(sizeof(*dir));
	*dir = (struct source_dir){ .path = take_ptr(&clean), .context = *context, .watch = watch };
	dir->context.part = true;
	return dir;
}

static void drop_retired(struct source_dir *dir)
{
	for (size_t i = 0; i < dir->retired.count; i++)
		spec_set_clear(&dir->retired.at[i]);
	set_vec_clear(&dir->retired);
}

void source_dir_free(struct source_dir *dir)
{
	if (!dir)
		return;
	for (size_t i = 0; i < dir->files.count; i++)
		source_file_free(dir->files.at[i]);
	file_vec_clear(&dir->files);
	drop_retired(dir);
	watch_free(dir->watch);
	free(dir->vms);
	free(dir->stack);
	free(dir->complete_stack);
	free(dir->reason);
	free(dir->path);
	free(dir);
}

int source_dir_fd(const struct source_dir *dir)
{
	return watch_fd(dir->watch);
}

enum source_news source_dir_drain(struct source_dir *dir)
{
	return watch_drain(dir->watch);
}

/* --- step 1: names --- */

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_clear(struct name_vec *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->at[i]);
	name_vec_clear(names);
}

/* dirfd stays the caller's. */
static int list_names(int dirfd, const char *path, struct name_vec *ret, struct error *err)
{
	int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_dir DIR *stream = own < 0 ? NULL : fdopendir(own);
	if (!stream) {
		error_sys(err, "cannot list '%s'", path);
		if (own >= 0)
			close(own);
		return -1;
	}
	size_t entries = 0;
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(stream);
		if (!entry && errno)
			return error_sys(err, "cannot list '%s'", path);
		if (!entry)
			break;
		if (++entries > SOURCE_FILES_MAX + 2) /* "." and ".." */
			return error_set(err, ERROR_INVALID, "'%s' has more than %d entries", path,
					 SOURCE_FILES_MAX);
		if (source_name_counts(entry->d_name))
			name_vec_push(ret, xstrdup(entry->d_name));
	}
	if (ret->count)
		qsort(ret->at, ret->count, sizeof(*ret->at), name_compare);
	return 0;
}

/* Files for all names, old ones kept; those without a name are gone. */
static void match_files(struct source_dir *dir, const struct name_vec *names)
{
	struct file_vec old = dir->files, files = { 0 };
	size_t o = 0, n = 0;
	while (o < old.count || n < names->count) {
		int order = o == old.count	? 1
			    : n == names->count ? -1
						: strcmp(old.at[o]->name, names->at[n]);
		if (order < 0)
			source_file_gone(old.at[o], dir->watch);
		else if (order == 0 && old.at[o]->state == FILE_GONE)
			old.at[o]->state = FILE_NEW; /* it is back */
		file_vec_push(&files,
			      order <= 0 ? old.at[o] : source_file_new(dir->path, names->at[n]));
		o += order <= 0;
		n += order >= 0;
	}
	file_vec_clear(&old);
	dir->files = files;
}

static int find_files(struct source_dir *dir, int dirfd, struct error *err)
{
	struct name_vec names = { 0 };
	int failed = list_names(dirfd, dir->path, &names, err);
	if (failed == 0)
		match_files(dir, &names);
	names_clear(&names);
	return failed;
}

/* --- step 2: files --- */

/* True: a close is on its way. */
static bool look_at_files(struct source_dir *dir, int dirfd, const struct watch_doubts *doubts)
{
	struct file_look look = { .dirfd = dirfd,
				  .directory = dir->path,
				  .context = &dir->context,
				  .watch = dir->watch,
				  .text = BUF_INIT,
				  .distrust = doubts->lost,
				  .by_notes = !doubts->entries };
	size_t vms = 0;
	for (size_t i = 0; i < dir->files.count; i++) {
		struct source_file *file = dir->files.at[i];
		if (file->state == FILE_GONE)
			continue;
		source_file_look(file, &look);
		file->rejected = false;
		const struct spec_set *set = source_file_candidate(file);
		if (set && file->has_fresh && set->count > SPEC_VMS_MAX - vms) {
			source_file_reject(file, "is over the limit of 10000 VMs in one stack");
			continue;
		}
		vms += set ? set->count : 0;
		vms = vms < SPEC_VMS_MAX ? vms : SPEC_VMS_MAX;
	}
	buf_clear(&look.text);
	notes_settle(watch_notes(dir->watch));
	return look.closing;
}

/* --- steps 3 and 4: what of it counts --- */

static void accept_fresh(struct source_dir *dir)
{
	for (size_t i = 0; i < dir->files.count; i++) {
		struct source_file *file = dir->files.at[i];
		if (!file->has_fresh || file->rejected)
			continue;
		if (file->has_good)
			set_vec_push(&dir->retired, file->good);
		file->good = file->fresh;
		file->has_good = true;
		file->has_fresh = false;
		file->was_gone = false;
	}
}

/* Gone files: all of them when nothing is in doubt, else those that have nothing in force. */
static void forget_gone(struct source_dir *dir, bool all)
{
	size_t kept = 0;
	for (size_t i = 0; i < dir->files.count; i++) {
		struct source_file *file = dir->files.at[i];
		if (file->state != FILE_GONE || (file->has_good && !all)) {
			dir->files.at[kept++] = file;
			continue;
		}
		if (file->has_good)
			set_vec_push(&dir->retired, file->good);
		file->has_good = false;
		source_file_free(file);
	}
	dir->files.count = kept;
}

/* Why the files do not tell everything; NULL: they do. The caller frees. */
static char *find_problem(const struct source_dir *dir)
{
	char *first = NULL;
	size_t present = 0, problems = 0;
	for (size_t i = 0; i < dir->files.count; i++) {
		const struct source_file *file = dir->files.at[i];
		const char *problem = file->rejected ? "contradicts another file" : file->problem;
		if (file->state == FILE_GONE)
			continue;
		present++;
		if (!*problem)
			continue;
		problems++;
		if (!first)
			first = xasprintf("%s %s", file->name, problem);
	}
	if (!present)
		return xasprintf("'%s' holds no spec file", dir->path);
	if (problems < 2)
		return first;
	char *all = xasprintf("%s (and %zu more)", first, problems - 1);
	free(first);
	return all;
}

static void copy_faults(const struct source_dir *dir, struct fault_vec *ret)
{
	for (size_t i = 0; i < dir->files.count; i++) {
		const struct fault_vec *faults = &dir->files.at[i]->faults;
		for (size_t k = 0; k < faults->count && ret->count < FAULTS_MAX; k++) {
			const struct fault *fault = &faults->at[k];
			fault_vec_push(ret, (struct fault){ .file = xstrdup(fault->file),
							    .line = fault->line,
							    .column = fault->column,
							    .path = xstrdup(fault->path),
							    .text = xstrdup(fault->text) });
		}
	}
}

/* --- the result --- */

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool says_the_same(const struct source_dir *dir, const struct source_result *result)
{
	if (dir->count != result->count || !text_equal(dir->stack, result->stack) ||
	    !text_equal(dir->reason, result->incomplete_reason))
		return false;
	for (size_t i = 0; i < dir->count; i++) {
		const struct vm_spec *was = dir->vms[i], *is = result->vms[i];
		if (was == is)
			continue;
		if (strcmp(was->name, is->name) != 0 || !text_equal(was->file, is->file) ||
		    !vm_spec_equal(was, is))
			return false;
	}
	return true;
}

static void remember(struct source_dir *dir, const struct source_result *result)
{
	free(dir->vms);
	free(dir->stack);
	free(dir->reason);
	dir->vms = xreallocarray(NULL, result->count + 1, sizeof(struct vm_spec *));
	memcpy(dir->vms, result->vms, result->count * sizeof(struct vm_spec *));
	dir->count = result->count;
	dir->stack = xstrdup(result->stack);
	dir->reason = xstrdup(result->incomplete_reason);
	if (!result->complete)
		return;
	free(dir->complete_stack);
	dir->complete_stack = xstrdup(result->stack);
}

static void make_result(struct source_dir *dir, struct source_result *ret)
{
	struct file_list_view view = { dir->files.at, dir->files.count };
	const char *stack = merge_stack(&view);
	if (!ret->complete && dir->complete_stack)
		stack = dir->complete_stack;
	ret->stack = stack ? xstrdup(stack) : stack_name_of(dir->path);
	ret->vms = merge_union(&view, &ret->count);
	ret->empty_sets = merge_empty_sets(&view);
	ret->unwatched = xstrdup(watch_problem(dir->watch));
	if (!dir->revision || !says_the_same(dir, ret))
		dir->revision++;
	ret->revision = dir->revision;
	remember(dir, ret);
	drop_retired(dir);
}

static void scan(struct source_dir *dir, bool thorough, struct source_result *ret)
{
	struct error err;
	*ret = (struct source_result){ 0 };
	auto_close int dirfd = watch_open(dir->watch, &err);
	struct watch_doubts *doubts = watch_doubts(dir->watch);
	doubts->names |= thorough;
	doubts->entries |= thorough;
	if (dirfd < 0 || (doubts->names && find_files(dir, dirfd, &err) < 0)) {
		ret->incomplete_reason = xstrdup(err.text);
		make_result(dir, ret);
		return;
	}
	ret->closing = look_at_files(dir, dirfd, doubts);
	*doubts = (struct watch_doubts){ 0 };

	struct file_list_view view = { dir->files.at, dir->files.count };
	copy_faults(dir, &ret->faults);
	bool agreed = merge_reject(&view, &ret->faults);
	accept_fresh(dir);
	ret->incomplete_reason = find_problem(dir);
	if (!agreed && !ret->incomplete_reason)
		ret->incomplete_reason = xstrdup("two files contradict each other");
	ret->complete = !ret->incomplete_reason;
	forget_gone(dir, ret->complete);
	make_result(dir, ret);
}

void source_dir_scan(struct source_dir *dir, struct source_result *ret)
{
	scan(dir, true, ret);
}

void source_dir_glance(struct source_dir *dir, struct source_result *ret)
{
	scan(dir, false, ret);
}
