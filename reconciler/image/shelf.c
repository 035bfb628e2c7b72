#include "image/shelf.h"
#include "base/fs.h"
#include "base/units.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define NAMES	  "names"
#define NAME_NEW  NAMES "/.new"
#define LOCK_FILE ".lock"

bool shelf_name_valid(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
	return len && !name[len] && len <= STORE_NAME_MAX && name[0] != '.';
}

bool shelf_digest_valid(const char *digest)
{
	return strspn(digest, "0123456789abcdef") == STORE_DIGEST_LEN && !digest[STORE_DIGEST_LEN];
}

char *shelf_building_name(void)
{
	static atomic_uint counter;
	return xasprintf(STORE_BUILDING "%d-%u", (int)getpid(), atomic_fetch_add(&counter, 1));
}

int shelf_open(const struct image_store *store, const struct shelf_kind *kind, bool create,
	       struct error *err)
{
	auto_free char *path = xasprintf("%s/%s", store->state, kind->folder);
	auto_free char *names = xasprintf("%s/" NAMES, path);
	if (create && fs_mkdirs(names, 0755, err) < 0)
		return -1;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_sys(err, "cannot open '%s'", path) : fd;
}

int shelf_lock(int store_fd, struct error *err)
{
	auto_close int fd =
		openat(store_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, "cannot open the lock of the store");
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return error_sys(err, "cannot lock the store");
	return take_fd(&fd);
}

/* The digest a name points at; false when it is no link of ours. */
static bool read_name(int store_fd, const char *name, char ret[STORE_DIGEST_LEN + 1])
{
	char path[sizeof(NAMES) + STORE_NAME_MAX + 1], target[STORE_DIGEST_LEN + 8];
	snprintf(path, sizeof(path), NAMES "/%s", name);
	ssize_t len = readlinkat(store_fd, path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	return !strncmp(target, "../", 3) && shelf_digest_valid(target + 3) &&
	       str_copy(ret, STORE_DIGEST_LEN + 1, target + 3);
}

int shelf_not_found(const struct shelf_kind *kind, const char *key, struct error *err)
{
	if (catalog_find(kind->catalog, key))
		return error_set(
			err, ERROR_NOT_FOUND,
			"%s '%s' is in the catalog but not pulled, 'banger image pull' does "
			"it",
			kind->word, key);
	const char *meant = shelf_name_valid(key) ? catalog_suggest(kind->catalog, key) : NULL;
	if (meant)
		return error_set(err, ERROR_NOT_FOUND, "no %s '%s', did you mean '%s'?", kind->word,
				 key, meant);
	return error_set(err, ERROR_NOT_FOUND, "no %s '%s'", kind->word, key);
}

int shelf_resolve(int store_fd, const struct shelf_kind *kind, const char *key,
		  char ret_digest[STORE_DIGEST_LEN + 1], struct error *err)
{
	if (shelf_digest_valid(key)) {
		str_copy(ret_digest, STORE_DIGEST_LEN + 1, key);
		if (faccessat(store_fd, key, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return 0;
		return shelf_not_found(kind, key, err);
	}
	if (!shelf_name_valid(key))
		return error_set(
			err, ERROR_INVALID,
			"'%.80s' cannot be the name of an %s: a-z, 0-9, '.', '_' and '-', at "
			"most %d",
			key, kind->word, STORE_NAME_MAX);
	return read_name(store_fd, key, ret_digest) ? 0 : shelf_not_found(kind, key, err);
}

int shelf_check_file(int dirfd, const char *name, uint64_t min, uint64_t *ret_size,
		     struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, "no '%s'", name);
	uint64_t size = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode) || size < min || size > TIB)
		return error_set(err, ERROR_SYSTEM, "'%s' is not a file of a sane size", name);
	if (ret_size)
		*ret_size = size;
	return 0;
}

cJSON *shelf_meta(int store_fd, const struct shelf_kind *kind, const char *directory,
		  struct error *err)
{
	auto_close int dirfd =
		openat(store_fd, directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dirfd < 0) {
		error_sys(err, "cannot open '%s'", directory);
		return NULL;
	}
	auto_buf struct buf text = BUF_INIT;
	if (shelf_check_file(dirfd, kind->meta, 1, NULL, err) < 0 ||
	    fs_read(dirfd, kind->meta, STORE_META_MAX, &text, err) < 0)
		return NULL;
	auto_json cJSON *meta = json_parse(text.data, text.len, err);
	if (!meta) {
		error_wrap(err, "%s", kind->meta);
		return NULL;
	}
	if (json_int(meta, "format", 0) != STORE_FORMAT) {
		error_set(err, ERROR_SYSTEM, "%s: not of format %d", kind->meta, STORE_FORMAT);
		return NULL;
	}
	return kind->check(dirfd, meta, err) < 0 ? NULL : take_ptr(&meta);
}

int shelf_each_name(int store_fd, int (*fn)(void *cookie, const char *name, const char *digest),
		    void *cookie)
{
	auto_dir DIR *dir = fs_list(store_fd, NAMES);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char digest[STORE_DIGEST_LEN + 1];
		if (!shelf_name_valid(entry->d_name) || !read_name(store_fd, entry->d_name, digest))
			continue;
		int result = fn(cookie, entry->d_name, digest);
		if (result)
			return result;
	}
	return 0;
}

int shelf_set_name(int store_fd, const char *name, const char *digest, struct error *err)
{
	auto_free char *target = xasprintf("../%s", digest);
	auto_free char *path = xasprintf(NAMES "/%s", name);
	unlinkat(store_fd, NAME_NEW, 0);
	if (symlinkat(target, store_fd, NAME_NEW) < 0 ||
	    renameat(store_fd, NAME_NEW, store_fd, path) < 0)
		return error_sys(err, "cannot set the name '%s'", name);
	return 0;
}
