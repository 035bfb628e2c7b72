/* image/shelf.h - what images and kernels have in common: a folder of digests and a folder of
 * names. For image/ alone. */
#ifndef IMAGE_SHELF_H
#define IMAGE_SHELF_H

#include "base/json.h"
#include "image/image.h"

#define STORE_NAME_MAX	 63
#define STORE_DIGEST_LEN 64
#define STORE_META_MAX	 65536
#define STORE_FORMAT	 1
#define STORE_BUILDING	 ".building-" /* + <pid>-<n>: locked (flock) as long as somebody builds */

struct shelf_kind {
	const char *word;   /* "image", for messages and for `banger image pull` */
	const char *folder; /* below the state directory */
	const char *meta;   /* the description, written last by a recipe */
	const struct catalog_entry *catalog;
	const char *const *files; /* all that is kept of a build, NULL-terminated; may be missing */
	/* Is what lies in dirfd complete and sane? Reads no file but the description. */
	int (*check)(int dirfd, const cJSON *meta, struct error *err);
};
extern const struct shelf_kind shelf_images, shelf_kernels;

bool shelf_name_valid(const char *name);     /* [a-z0-9._-]{1,63}, not beginning with a dot */
bool shelf_digest_valid(const char *digest); /* 64 lower-case hex digits */

/* The kind's folder, opened; made with its names/ when create, else -1 with ENOENT in err->sys. */
int shelf_open(const struct image_store *store, const struct shelf_kind *kind, bool create,
	       struct error *err);
/* Short: held around changes of names and directories. The descriptor holds it. */
int shelf_lock(int store_fd, struct error *err);
/* Name or digest to digest. ERROR_NOT_FOUND says what the catalog has. */
int shelf_resolve(int store_fd, const struct shelf_kind *kind, const char *key,
		  char ret_digest[STORE_DIGEST_LEN + 1], struct error *err);
/* The checked description in a directory of the store. NULL: not there or not sane. */
cJSON *shelf_meta(int store_fd, const struct shelf_kind *kind, const char *directory,
		  struct error *err);
/* Calls fn for each name; stops at its first non-zero result and returns it. */
int shelf_each_name(int store_fd, int (*fn)(void *cookie, const char *name, const char *digest),
		    void *cookie);
/* Points the name at the digest, whatever it pointed at. Under shelf_lock(). */
int shelf_set_name(int store_fd, const char *name, const char *digest, struct error *err);
/* "no image 'tinny', did you mean 'tiny'?" Always -1. */
int shelf_not_found(const struct shelf_kind *kind, const char *key, struct error *err);
/* A regular file of at least min and at most 1 TiB. */
int shelf_check_file(int dirfd, const char *name, uint64_t min, uint64_t *ret_size,
		     struct error *err);
/* ".building-<pid>-<n>", of this process and not used before. */
char *shelf_building_name(void);

const char *catalog_suggest(const struct catalog_entry *catalog, const char *name);

#endif
