/* Half-built images. Whoever builds holds the lock of the directory, and it dies with him: surer
 * than his number, which another process may have by now. */
#include "image/shelf.h"
#include "base/fs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

static bool is_held(int dirfd)
{
	return dirfd >= 0 && flock(dirfd, LOCK_EX | LOCK_NB) < 0;
}

static int list(const struct image_store *store, const struct shelf_kind *kind,
		struct image_leftover_vec *ret, struct error *err)
{
	auto_close int fd = shelf_open(store, kind, false, err);
	if (fd < 0 && err->sys == ENOENT) {
		*err = (struct error){ 0 };
		return 0;
	}
	if (fd < 0)
		return -1;
	auto_close int lock = shelf_lock(fd, err); /* none appears between mkdir and flock */
	if (lock < 0)
		return -1;
	auto_dir DIR *dir = fs_list(fd, ".");
	if (!dir)
		return error_sys(err, "cannot list '%s'", kind->folder);
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (strncmp(entry->d_name, STORE_BUILDING, strlen(STORE_BUILDING)) != 0)
			continue;
		auto_close int one =
			openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct image_leftover found = { .held = is_held(one) };
		if (one < 0 || fstat(one, &found.st) < 0 || found.st.st_uid != geteuid())
			continue;
		found.path = xasprintf("%s/%s/%s", store->state, kind->folder, entry->d_name);
		image_leftover_vec_push(ret, found);
	}
	return 0;
}

int image_leftovers(const struct image_store *store, struct image_leftover_vec *ret,
		    struct error *err)
{
	int result = list(store, &shelf_images, ret, err);
	return list(store, &shelf_kernels, ret, err) < 0 ? -1 : result;
}

void image_leftovers_clear(struct image_leftover_vec *leftovers)
{
	for (size_t i = 0; i < leftovers->count; i++)
		free(leftovers->at[i].path);
	image_leftover_vec_clear(leftovers);
}

int image_leftover_remove(const struct image_store *store, const char *path,
			  const struct stat *identity, struct error *err)
{
	const char *name = strrchr(path, '/') + 1;
	const char *kernels = shelf_kernels.folder;
	size_t folder_len = strlen(kernels);
	bool kernel = (size_t)(name - path) > folder_len + 1 &&
		      !strncmp(name - 1 - folder_len, kernels, folder_len);
	auto_close int fd = shelf_open(store, kernel ? &shelf_kernels : &shelf_images, false, err);
	auto_close int lock = fd < 0 ? -1 : shelf_lock(fd, err);
	if (lock < 0)
		return -1;
	auto_close int one = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (one < 0)
		return errno == ENOENT ? 0 : error_sys(err, "cannot open '%s'", path);
	if (fstat(one, &st) < 0 || st.st_dev != identity->st_dev || st.st_ino != identity->st_ino)
		return error_set(err, ERROR_CONFLICT, "'%s' is another one meanwhile", path);
	if (is_held(one))
		return error_set(err, ERROR_BUSY, "'%s' is being built", path);
	return fs_remove_tree(fd, name, err);
}
