/* image/image.h - the local store of images and kernels, and the catalog they come from.
 *
 *	<state>/images/<digest>/   rootfs.ext4 image.json      immutable, digest = sha256 of rootfs
 *	<state>/images/names/tiny -> ../<digest>               a name moves, a digest never changes
 *	<state>/kernels/<digest>/  vmlinux|vmlinuz modules.cpio modules.ext4 kernel.json
 *	                           SHA256SUMS;
 *	                           digest = sha256 of SHA256SUMS, which lists the others
 *	<state>/kernels/names/debian-cloud -> ../<digest>
 *	<state>/images/.building-<pid>-<n>                     an orphan when its builder is gone
 *
 * Everything derivable from a listing; no database. Blocking, worker threads; safe to call from
 * several at once (flock on the store), and one pull of a name at a time: a second waits and finds
 * it done. Reading calls (find, list) are quick and may be made by the loop thread. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/cleanup.h"
#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

struct image_store {
	const char *state; /* paths.state */
	const char *cache; /* paths.cache */
	const char *share; /* paths.share: recipes below images/ */
};

struct image {
	char *name;   /* "" when no name points at it any more */
	char *digest; /* 64 hex digits */
	char *rootfs; /* path */
	char *kernel; /* name of the kernel it wants */
	char *description;
	uint64_t min_memory; /* bytes */
	uint64_t size;	     /* bytes of rootfs, apparent */
	int64_t pulled_ms;   /* wall clock */
};
DEFINE_VEC(image_vec, struct image)
void image_clear(struct image *image);
void images_clear(struct image_vec *images);

struct kernel {
	char *name;
	char *digest;
	char *boot;	    /* path of vmlinux or vmlinuz */
	char *modules;	    /* path of modules.cpio */
	char *modules_disk; /* path of modules.ext4; NULL: has none */
	char *release;	    /* "6.1.0-56-cloud-amd64" */
};
void kernel_clear(struct kernel *kernel);

/* By name or by digest. ERROR_NOT_FOUND: not pulled (says whether the catalog has it). */
int image_find(const struct image_store *store, const char *name_or_digest, struct image *ret,
	       struct error *err);
int kernel_find(const struct image_store *store, const char *name_or_digest, struct kernel *ret,
		struct error *err);
int image_list(const struct image_store *store, struct image_vec *ret, struct error *err);

struct catalog_entry {
	const char *name;
	const char *recipe;   /* below share/images/ */
	const char *argument; /* first argument of the recipe, or NULL */
	const char *kernel;   /* images: the kernel's catalog name; kernels: NULL */
	uint64_t min_memory;
	const char *description;
};
extern const struct catalog_entry image_catalog[], kernel_catalog[]; /* end with name NULL */
const struct catalog_entry *catalog_find(const struct catalog_entry *catalog, const char *name);

struct pull_progress {
	void (*fn)(void *cookie, const char *stage, const char *detail, uint64_t done,
		   uint64_t total); /* in the pulling thread; total 0: unknown */
	void *cookie;
	int cancel_fd; /* readable: give up; -1 or 0: none */
};
/* "pull<TAB>recipe" for every step. */
void image_pull_steps_print(FILE *to);
/* The stages are the recipe's own words ("download", "unpack" …) and ours: "wait" while another
 * pull of the name is under way, "check" at the end. Cancelled: ERROR_CANCELLED; what was
 * downloaded stays in the cache. Makes sure the image (or kernel) is there; force: build again and
 * move the name when the digest differs. An image pulls its kernel too. Unknown names:
 * ERROR_NOT_FOUND with did-you-mean. */
int image_pull(const struct image_store *store, const char *name, bool force,
	       const struct pull_progress *progress, struct error *err);
int kernel_pull(const struct image_store *store, const char *name, bool force,
		const struct pull_progress *progress, struct error *err);
/* Removes the name and, when no other name points at its digest, the files. A digest goes only when
 * it has no name. in_use: digests that must stay: ERROR_CONFLICT, nothing removed (the caller knows
 * the VMs and may say it better before). */
int image_delete(const struct image_store *store, const char *name, const char *const *in_use,
		 size_t count, struct error *err);
/* --- leftover.c: half-built images and kernels --- */
struct image_leftover {
	char *path;	/* owned */
	bool held;	/* its builder lives */
	struct stat st; /* its identity */
};
DEFINE_VEC(image_leftover_vec, struct image_leftover)
int image_leftovers(const struct image_store *store, struct image_leftover_vec *ret,
		    struct error *err);
void image_leftovers_clear(struct image_leftover_vec *leftovers);
/* Removes it if it still is that one (device and inode), else CONFLICT; BUSY: it is being built. */
int image_leftover_remove(const struct image_store *store, const char *path,
			  const struct stat *identity, struct error *err);

#endif
