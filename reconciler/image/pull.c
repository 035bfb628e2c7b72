/* Theory of operation
 *
 * A recipe makes an image or a kernel in a directory of its own, which is checked, named after
 * what is in it and renamed to its place: the store holds whole things only. From the moment it
 * exists the directory is locked by its builder; one that nobody locks is a leftover (leftover.c),
 * so a killed daemon leaves nothing but the downloads in the cache.
 *
 * One pull of a name at a time, by a lock file a name: whoever waited finds it done. The store's
 * own lock is held only for moments: while a building directory comes to be and is locked, and
 * while a result is put in place and named. */
#include "image/image.h"
#include "image/shelf.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "sys/proc.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RECIPE_TIMEOUT_MS (UINT64_C(60) * 60 * 1000)
#define DIGEST_TIMEOUT_MS (UINT64_C(10) * 60 * 1000)
#define LOCK_PAUSE_MS	  100
#define SUMS		  "SHA256SUMS"
#define EXT4_MAGIC_AT	  1080

struct pull {
	const struct image_store *store;
	const struct shelf_kind *kind;
	const struct catalog_entry *entry;
	const struct pull_progress *progress; /* may be NULL */
	int store_fd;
	char stage[32], detail[160]; /* what the recipe is about */
};

struct build {
	char *name; /* below store_fd */
	char *path; /* absolute, for programs */
	int fd;	    /* of the directory; holds its lock */
	char digest[STORE_DIGEST_LEN + 1];
};

static void tell(const struct pull *pull, uint64_t done, uint64_t total)
{
	if (pull->progress && pull->progress->fn)
		pull->progress->fn(pull->progress->cookie, pull->stage, pull->detail, done, total);
}

static void copy_printable(char *to, size_t size, const char *text, size_t len)
{
	size_t i = 0;
	for (; i < len && i + 1 < size; i++)
		to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	to[i] = '\0';
}

static void set_stage(struct pull *pull, const char *stage, const char *detail)
{
	copy_printable(pull->stage, sizeof(pull->stage), stage, strlen(stage));
	copy_printable(pull->detail, sizeof(pull->detail), detail, strlen(detail));
	tell(pull, 0, 0);
}

/* "DONE TOTAL bytes" */
static bool parse_progress(const char *text, uint64_t *ret_done, uint64_t *ret_total)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	*ret_done = strtoull(text, &end, 10);
	if (*end != ' ' || !isdigit((unsigned char)end[1]))
		return false;
	*ret_total = strtoull(end + 1, &end, 10);
	return !strcmp(end, " bytes") && *ret_done <= *ret_total;
}

/* "stage WORD DETAIL" and "progress DONE TOTAL bytes"; what else a recipe prints is its own. */
static void on_line(void *cookie, const char *line)
{
	struct pull *pull = cookie;
	if (!strncmp(line, "stage ", 6)) {
		const char *word = line + 6, *end = strchrnul(word, ' ');
		copy_printable(pull->stage, sizeof(pull->stage), word, (size_t)(end - word));
		end += *end == ' ';
		copy_printable(pull->detail, sizeof(pull->detail), end, strlen(end));
		tell(pull, 0, 0);
		return;
	}
	uint64_t done, total;
	if (!strncmp(line, "progress ", 9) && parse_progress(line + 9, &done, &total))
		tell(pull, done, total);
}

static int cancel_fd(const struct pull *pull)
{
	return pull->progress && pull->progress->cancel_fd > 0 ? pull->progress->cancel_fd : -1;
}

/* Sleeps; -1 when the pull is called off. */
static int pause_or_cancel(const struct pull *pull, int ms, struct error *err)
{
	struct pollfd p = { .fd = cancel_fd(pull), .events = POLLIN };
	if (poll(&p, 1, ms) > 0)
		return error_set(err, ERROR_CANCELLED, "called off");
	return 0;
}

static int lock_name(struct pull *pull, struct error *err)
{
	auto_free char *name = xasprintf(".lock-%s", pull->entry->name);
	auto_close int fd =
		openat(pull->store_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, "cannot open '%s'", name);
	for (bool told = false; flock(fd, LOCK_EX | LOCK_NB) < 0; told = true) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_sys(err, "cannot lock '%s'", name);
		if (!told)
			set_stage(pull, "wait", "another pull is at it");
		if (pause_or_cancel(pull, LOCK_PAUSE_MS, err) < 0)
			return -1;
	}
	return take_fd(&fd);
}

static int build_begin(struct pull *pull, struct build *build, struct error *err)
{
	auto_close int lock = shelf_lock(pull->store_fd, err);
	if (lock < 0)
		return -1;
	build->name = shelf_building_name();
	build->path = xasprintf("%s/%s/%s", pull->store->state, pull->kind->folder, build->name);
	/* A dead process may have had our number. */
	if (fs_remove_tree(pull->store_fd, build->name, err) < 0)
		return -1;
	if (mkdirat(pull->store_fd, build->name, 0755) < 0)
		return error_sys(err, "cannot make '%s'", build->path);
	build->fd = openat(pull->store_fd, build->name,
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (build->fd < 0 || flock(build->fd, LOCK_EX | LOCK_NB) < 0)
		return error_sys(err, "cannot lock '%s'", build->path);
	return 0;
}

/* What was not renamed to its place goes. */
static void build_end(const struct pull *pull, struct build *build)
{
	struct error ignored;
	if (build->name)
		fs_remove_tree(pull->store_fd, build->name, &ignored);
	cleanup_close(&build->fd);
	free(build->name);
	free(build->path);
}

static int run_recipe(struct pull *pull, struct build *build, struct error *err)
{
	const struct catalog_entry *entry = pull->entry;
	auto_free char *recipe = xasprintf("%s/images/%s", pull->store->share, entry->recipe);
	const char *argv[5] = { recipe };
	size_t argc = 1;
	if (entry->argument)
		argv[argc++] = entry->argument;
	argv[argc++] = build->path;
	argv[argc++] = pull->store->cache;
	return proc_check(&(struct proc_run){ .argv = argv,
					      .cwd = "/",
					      .timeout_ms = RECIPE_TIMEOUT_MS,
					      .cancel_fd = cancel_fd(pull),
					      .on_line = on_line,
					      .cookie = pull },
			  NULL, err);
}

static int check_ext4(const struct build *build, struct error *err)
{
	unsigned char magic[2] = { 0 };
	auto_close int fd = openat(build->fd, "rootfs.ext4", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || pread(fd, magic, sizeof(magic), EXT4_MAGIC_AT) < 0)
		return error_sys(err, "cannot read 'rootfs.ext4'");
	if (magic[0] != 0x53 || magic[1] != 0xef)
		return error_set(err, ERROR_SYSTEM, "'rootfs.ext4' is no ext4 file system");
	return 0;
}

static int check_build(struct pull *pull, struct build *build, struct error *err)
{
	set_stage(pull, "check", pull->entry->name);
	auto_json cJSON *meta = shelf_meta(pull->store_fd, pull->kind, build->name, err);
	if (!meta)
		return error_wrap(err, "the recipe's result");
	if (strcmp(json_str(meta, "name", ""), pull->entry->name) != 0)
		return error_set(err, ERROR_SYSTEM, "the recipe's result is not named '%s'",
				 pull->entry->name);
	return pull->kind == &shelf_images ? check_ext4(build, err) : 0;
}

/* The output of sha256sum for these files of the build. */
static int sha256(const struct pull *pull, const struct build *build, const char *const *files,
		  struct buf *ret, struct error *err)
{
	const char *argv[16] = { "sha256sum", "--" };
	size_t argc = 2;
	for (; *files && argc < ARRAY_COUNT(argv) - 1; files++)
		if (faccessat(build->fd, *files, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			argv[argc++] = *files;
	if (proc_check(&(struct proc_run){ .argv = argv,
					   .cwd = build->path,
					   .timeout_ms = DIGEST_TIMEOUT_MS,
					   .cancel_fd = cancel_fd(pull) },
		       ret, err) < 0)
		return -1;
	if (ret->len <= STORE_DIGEST_LEN || ret->data[STORE_DIGEST_LEN] != ' ')
		return error_set(err, ERROR_SYSTEM, "sha256sum says nothing of use");
	return 0;
}

/* An image is its root file system; a kernel is the list of its files' sums, which is kept. */
static int digest_build(struct pull *pull, struct build *build, struct error *err)
{
	static const char *const image[] = { "rootfs.ext4", NULL };
	static const char *const kernel[] = { "vmlinux", "vmlinuz", "modules.cpio", "modules.ext4",
					      NULL };
	static const char *const list[] = { SUMS, NULL };
	auto_buf struct buf sums = BUF_INIT;
	if (sha256(pull, build, pull->kind == &shelf_images ? image : kernel, &sums, err) < 0)
		return -1;
	if (pull->kind == &shelf_kernels) {
		if (fs_write(build->fd, SUMS, sums.data, sums.len, 0444, err) < 0)
			return -1;
		buf_reset(&sums);
		if (sha256(pull, build, list, &sums, err) < 0)
			return -1;
	}
	sums.data[STORE_DIGEST_LEN] = '\0';
	if (!shelf_digest_valid(sums.data))
		return error_set(err, ERROR_SYSTEM, "sha256sum says nothing of use");
	str_copy(build->digest, sizeof(build->digest), sums.data);
	return 0;
}

/* Only what belongs there stays, and nobody writes to it again. */
static int seal_build(struct pull *pull, struct build *build, struct error *err)
{
	auto_dir DIR *dir = fs_list(build->fd, ".");
	if (!dir)
		return error_sys(err, "cannot list '%s'", build->path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		const char *name = entry->d_name;
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		const char *const *known = pull->kind->files;
		while (*known && strcmp(*known, name) != 0)
			known++;
		if (!*known && fs_remove_tree(build->fd, name, err) < 0)
			return -1;
		if (*known && fchmodat(build->fd, name, 0444, 0) < 0)
			return error_sys(err, "cannot seal '%s'", name);
	}
	return fsync(build->fd) < 0 ? error_sys(err, "cannot flush '%s'", build->path) : 0;
}

/* The same digest may be there already: then what was built is one too many, unless the old one
 * is damaged. */
static int place_build(struct pull *pull, struct build *build, struct error *err)
{
	const char *digest = build->digest;
	struct error damage;
	auto_close int lock = shelf_lock(pull->store_fd, err);
	if (lock < 0)
		return -1;
	auto_json cJSON *old = shelf_meta(pull->store_fd, pull->kind, digest, &damage);
	if (!old && fs_remove_tree(pull->store_fd, digest, err) < 0)
		return -1;
	if (!old && renameat(pull->store_fd, build->name, pull->store_fd, digest) < 0)
		return error_sys(err, "cannot put '%s' in place", digest);
	if (shelf_set_name(pull->store_fd, pull->entry->name, digest, err) < 0)
		return -1;
	return fsync(pull->store_fd) < 0 ? error_sys(err, "cannot flush the store") : 0;
}

/* What is not in its place at the end, or when one of them fails, goes: build_end(). */
static const struct pull_step {
	const char *name;
	int (*run)(struct pull *pull, struct build *build, struct error *err);
} steps[] = {
	{ "building directory", build_begin },
	{ "recipe", run_recipe },
	{ "check", check_build },
	{ "digest", digest_build },
	{ "seal", seal_build },
	{ "place", place_build },
};

void image_pull_steps_print(FILE *to)
{
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++)
		fprintf(to, "pull\t%s\n", steps[i].name);
}

static int build(struct pull *pull, struct error *err)
{
	struct build build = { .fd = -1 };
	int failed = 0;
	for (size_t i = 0; i < ARRAY_COUNT(steps) && !failed; i++) {
		FAILPOINT_STEP("before", steps[i].name);
		failed = steps[i].run(pull, &build, err);
		FAILPOINT_STEP("after", steps[i].name);
	}
	build_end(pull, &build);
	return failed ? -1 : 0;
}

static bool is_there(const struct pull *pull)
{
	struct error ignored;
	char digest[STORE_DIGEST_LEN + 1];
	if (shelf_resolve(pull->store_fd, pull->kind, pull->entry->name, digest, &ignored) < 0)
		return false;
	auto_json cJSON *meta = shelf_meta(pull->store_fd, pull->kind, digest, &ignored);
	return meta != NULL;
}

static int pull_locked(struct pull *pull, bool force, struct error *err)
{
	if (!force && is_there(pull))
		return 0;
	auto_close int lock = lock_name(pull, err);
	if (lock < 0)
		return -1;
	if (!force && is_there(pull))
		return 0;
	return build(pull, err);
}

static int pull_one(const struct image_store *store, const struct shelf_kind *kind,
		    const char *name, bool force, const struct pull_progress *progress,
		    struct error *err)
{
	struct pull pull = { .store = store,
			     .kind = kind,
			     .entry = catalog_find(kind->catalog, name),
			     .progress = progress };
	if (!pull.entry)
		return shelf_not_found(kind, name, err);
	auto_close int fd = shelf_open(store, kind, true, err);
	if (fd < 0)
		return -1;
	pull.store_fd = fd;
	if (pull_locked(&pull, force, err) < 0)
		return error_wrap(err, "%s '%s'", kind->word, name);
	return 0;
}

int kernel_pull(const struct image_store *store, const char *name, bool force,
		const struct pull_progress *progress, struct error *err)
{
	return pull_one(store, &shelf_kernels, name, force, progress, err);
}

int image_pull(const struct image_store *store, const char *name, bool force,
	       const struct pull_progress *progress, struct error *err)
{
	if (pull_one(store, &shelf_images, name, force, progress, err) < 0)
		return -1;
	struct image image = { 0 };
	if (image_find(store, name, &image, err) < 0)
		return -1;
	int result = kernel_pull(store, image.kernel, force, progress, err);
	image_clear(&image);
	return result;
}
