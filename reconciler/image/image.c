#include "image/image.h"
#include "image/shelf.h"
#include "base/fs.h"
#include "base/units.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define ROOTFS	     "rootfs.ext4"
#define MODULES	     "modules.cpio"
#define MODULES_DISK "modules.ext4"
#define ROOTFS_MIN   65536
#define MEMORY_MIN   (16 * MIB)
#define TEXT_MAX_LEN 256

/* What a description says ends up on terminals. */
static bool is_text(const char *text)
{
	for (const char *c = text; c && *c; c++)
		if (*c < ' ' || *c > '~' || c - text >= TEXT_MAX_LEN)
			return false;
	return text != NULL;
}

static int check_image(int dirfd, const cJSON *meta, struct error *err)
{
	int64_t memory = json_int(meta, "min_memory", 0);
	if (!shelf_name_valid(json_str(meta, "kernel", "")) || memory < (int64_t)MEMORY_MIN ||
	    memory > (int64_t)TIB || !is_text(json_str(meta, "description", "")))
		return error_set(err, ERROR_SYSTEM,
				 "image.json: kernel, min_memory or description is not sane");
	return shelf_check_file(dirfd, ROOTFS, ROOTFS_MIN, NULL, err);
}

static int check_kernel(int dirfd, const cJSON *meta, struct error *err)
{
	const char *boot = json_str(meta, "boot", ""), *release = json_str(meta, "release", "");
	if (strcmp(boot, "vmlinux") != 0 && strcmp(boot, "vmlinuz") != 0)
		return error_set(err, ERROR_SYSTEM, "kernel.json: boot is not vmlinux or vmlinuz");
	if (!release[0] || !is_text(release) || strchr(release, '/'))
		return error_set(err, ERROR_SYSTEM, "kernel.json: release is not sane");
	if (shelf_check_file(dirfd, boot, 1, NULL, err) < 0)
		return -1;
	return shelf_check_file(dirfd, MODULES, 1, NULL, err);
}

static const char *const image_files[] = { ROOTFS, "image.json", NULL };
static const char *const kernel_files[] = { "vmlinux",	   "vmlinuz",	 MODULES, MODULES_DISK,
					    "kernel.json", "SHA256SUMS", NULL };
const struct shelf_kind shelf_images = {
	.word = "image",
	.folder = "images",
	.meta = "image.json",
	.catalog = image_catalog,
	.files = image_files,
	.check = check_image,
};
const struct shelf_kind shelf_kernels = {
	.word = "kernel",
	.folder = "kernels",
	.meta = "kernel.json",
	.catalog = kernel_catalog,
	.files = kernel_files,
	.check = check_kernel,
};

void image_clear(struct image *image)
{
	free(image->name);
	free(image->digest);
	free(image->rootfs);
	free(image->kernel);
	free(image->description);
	*image = (struct image){ 0 };
}

void images_clear(struct image_vec *images)
{
	for (size_t i = 0; i < images->count; i++)
		image_clear(&images->at[i]);
	image_vec_clear(images);
}

void kernel_clear(struct kernel *kernel)
{
	free(kernel->name);
	free(kernel->digest);
	free(kernel->boot);
	free(kernel->modules);
	free(kernel->modules_disk);
	free(kernel->release);
	*kernel = (struct kernel){ 0 };
}

struct name_search {
	const char *digest;
	char name[STORE_NAME_MAX + 1];
};

/* The first in the alphabet, so that it is always the same one. */
static int note_name(void *cookie, const char *name, const char *digest)
{
	struct name_search *search = cookie;
	if (!strcmp(digest, search->digest) && (!search->name[0] || strcmp(name, search->name) < 0))
		str_copy(search->name, sizeof(search->name), name);
	return 0;
}

static struct name_search name_of(int store_fd, const char *digest)
{
	struct name_search search = { .digest = digest };
	shelf_each_name(store_fd, note_name, &search);
	return search;
}

/* What was asked for, when that was a name. */
static struct name_search name_to_show(int store_fd, const char *key, const char *digest)
{
	struct name_search search = { .digest = digest };
	if (strcmp(key, digest) != 0)
		str_copy(search.name, sizeof(search.name), key);
	else
		search = name_of(store_fd, digest);
	return search;
}

static int find(const struct image_store *store, const struct shelf_kind *kind, const char *key,
		int *ret_fd, char digest[STORE_DIGEST_LEN + 1], cJSON **ret_meta, struct error *err)
{
	auto_close int fd = shelf_open(store, kind, false, err);
	if (fd < 0 && err->sys == ENOENT)
		return shelf_not_found(kind, key, err);
	if (fd < 0 || shelf_resolve(fd, kind, key, digest, err) < 0)
		return -1;
	*ret_meta = shelf_meta(fd, kind, digest, err);
	if (!*ret_meta)
		return error_wrap(err, "%s '%s' is damaged, pull it again with --force", kind->word,
				  key);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int load_image(const struct image_store *store, int store_fd, const char *name,
		      const char *digest, const cJSON *meta, struct image *ret, struct error *err)
{
	struct stat dir, rootfs;
	auto_free char *path = xasprintf("%s/" ROOTFS, digest);
	if (fstatat(store_fd, digest, &dir, 0) < 0 || fstatat(store_fd, path, &rootfs, 0) < 0)
		return error_sys(err, "image '%s'", digest);
	*ret = (struct image){
		.name = xstrdup(name),
		.digest = xstrdup(digest),
		.rootfs = xasprintf("%s/images/%s", store->state, path),
		.kernel = xstrdup(json_str(meta, "kernel", "")),
		.description = xstrdup(json_str(meta, "description", "")),
		.min_memory = (uint64_t)json_int(meta, "min_memory", 0),
		.size = (uint64_t)rootfs.st_size,
		.pulled_ms = dir.st_mtim.tv_sec * 1000 + dir.st_mtim.tv_nsec / 1000000,
	};
	return 0;
}

int image_find(const struct image_store *store, const char *name_or_digest, struct image *ret,
	       struct error *err)
{
	auto_close int fd = -1;
	auto_json cJSON *meta = NULL;
	char digest[STORE_DIGEST_LEN + 1];
	if (find(store, &shelf_images, name_or_digest, &fd, digest, &meta, err) < 0)
		return -1;
	struct name_search search = name_to_show(fd, name_or_digest, digest);
	return load_image(store, fd, search.name, digest, meta, ret, err);
}

int kernel_find(const struct image_store *store, const char *name_or_digest, struct kernel *ret,
		struct error *err)
{
	auto_close int fd = -1;
	auto_json cJSON *meta = NULL;
	char digest[STORE_DIGEST_LEN + 1];
	if (find(store, &shelf_kernels, name_or_digest, &fd, digest, &meta, err) < 0)
		return -1;
	struct name_search search = name_to_show(fd, name_or_digest, digest);
	auto_free char *path = xasprintf("%s/kernels/%s", store->state, digest);
	*ret = (struct kernel){
		.name = xstrdup(search.name),
		.digest = xstrdup(digest),
		.boot = xasprintf("%s/%s", path, json_str(meta, "boot", "vmlinuz")),
		.modules = xasprintf("%s/" MODULES, path),
		.release = xstrdup(json_str(meta, "release", "")),
	};
	/* One that was pulled by an older recipe has none. */
	auto_free char *disk = xasprintf("%s/" MODULES_DISK, digest);
	if (faccessat(fd, disk, F_OK, 0) == 0)
		ret->modules_disk = xasprintf("%s/" MODULES_DISK, path);
	return 0;
}

struct listing {
	const struct image_store *store;
	int fd;
	struct image_vec *images;
};

/* What is damaged is left out: find says so when it is asked for. */
static int list_one(void *cookie, const char *name, const char *digest)
{
	struct listing *listing = cookie;
	struct error ignored;
	struct image image;
	auto_json cJSON *meta = shelf_meta(listing->fd, &shelf_images, digest, &ignored);
	if (meta &&
	    load_image(listing->store, listing->fd, name, digest, meta, &image, &ignored) == 0)
		image_vec_push(listing->images, image);
	return 0;
}

/* Digests that no name points at any more. */
static void list_nameless(struct listing *listing)
{
	auto_dir DIR *dir = fs_list(listing->fd, ".");
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (shelf_digest_valid(entry->d_name) &&
		    !name_of(listing->fd, entry->d_name).name[0])
			list_one(listing, "", entry->d_name);
}

static int by_name(const void *a, const void *b)
{
	const struct image *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order ? order : strcmp(x->digest, y->digest);
}

int image_list(const struct image_store *store, struct image_vec *ret, struct error *err)
{
	auto_close int fd = shelf_open(store, &shelf_images, false, err);
	if (fd < 0)
		return err->sys == ENOENT ? 0 : -1;
	struct listing listing = { .store = store, .fd = fd, .images = ret };
	shelf_each_name(fd, list_one, &listing);
	list_nameless(&listing);
	if (ret->count)
		qsort(ret->at, ret->count, sizeof(ret->at[0]), by_name);
	return 0;
}

/* Out of sight in one step, so that a crash leaves it to the sweep and not half there. */
static int remove_digest(int store_fd, const char *digest, struct error *err)
{
	auto_free char *away = shelf_building_name();
	if (renameat(store_fd, digest, store_fd, away) < 0)
		return errno == ENOENT ? 0 : error_sys(err, "cannot remove '%s'", digest);
	return fs_remove_tree(store_fd, away, err);
}

int image_delete(const struct image_store *store, const char *name, const char *const *in_use,
		 size_t count, struct error *err)
{
	auto_close int fd = shelf_open(store, &shelf_images, false, err);
	if (fd < 0)
		return err->sys == ENOENT ? shelf_not_found(&shelf_images, name, err) : -1;
	auto_close int lock = shelf_lock(fd, err);
	char digest[STORE_DIGEST_LEN + 1];
	if (lock < 0 || shelf_resolve(fd, &shelf_images, name, digest, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (!strcmp(in_use[i], digest))
			return error_set(err, ERROR_CONFLICT, "image '%s' is in use", name);
	if (strcmp(name, digest) != 0) {
		auto_free char *link = xasprintf("names/%s", name);
		if (fs_unlink(fd, link, err) < 0)
			return -1;
	}
	struct name_search other = name_of(fd, digest);
	if (!other.name[0])
		return remove_digest(fd, digest, err);
	if (strcmp(name, digest) != 0)
		return 0;
	return error_set(err, ERROR_CONFLICT, "image '%.12s' still has the name '%s'", digest,
			 other.name);
}
