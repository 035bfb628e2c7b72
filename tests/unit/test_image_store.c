/* image store: whole images or none, whatever happens to a recipe. Recipes are shell scripts here.
 */
#include "image/image.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Each run of a recipe leaves a line in $2/runs. */
#define COUNT "echo run >> $2/runs\n"
#define ROOTFS                                                                                     \
	"truncate -s 1M $1/rootfs.ext4\n"                                                          \
	"printf '\\123\\357' | dd of=$1/rootfs.ext4 bs=1 seek=1080 conv=notrunc 2> /dev/null\n"
#define META                                                                                       \
	"printf '{\"format\":1,\"name\":\"tiny\",\"kernel\":\"debian-cloud\","                     \
	"\"min_memory\":134217728,\"description\":\"d\"}' > $1/image.json\n"
#define GOOD                                                                                       \
	"echo stage download 3 packages; echo progress 10 20 bytes; echo something else\n" ROOTFS  \
	"touch $1/left-over; mkdir $1/work; touch $1/work/x\n" META
#define KERNEL                                                                                     \
	"set -e; shift; " COUNT "echo vm > $1/vmlinux; echo vz > $1/vmlinuz; echo m > "            \
	"$1/modules.cpio; echo d > $1/modules.ext4\n"                                              \
	"printf '{\"format\":1,\"name\":\"debian-cloud\",\"release\":\"6.1.0-1\","                 \
	"\"boot\":\"vmlinux\"}' > $1/kernel.json\n"

struct place {
	char path[64];
	char *state, *cache, *share;
	struct image_store store;
};

/* As `banger gc` does. */
static int sweep(struct place *place, struct error *err)
{
	struct image_leftover_vec found = { 0 };
	int failed = image_leftovers(&place->store, &found, err);
	for (size_t i = 0; i < found.count; i++)
		if (!found.at[i].held && image_leftover_remove(&place->store, found.at[i].path,
							       &found.at[i].st, err) < 0)
			failed = -1;
	image_leftovers_clear(&found);
	return failed;
}

static void recipe(const struct place *place, const char *name, const char *text)
{
	struct error err;
	auto_free char *path = xasprintf("%s/images/%s", place->share, name);
	auto_free char *script = xasprintf("#!/bin/sh\n%s", text);
	if (fs_write(AT_FDCWD, path, script, strlen(script), 0755, &err) < 0)
		fail_msg("%s", err.text);
}

static int make_place(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	struct error err;
	str_copy(place->path, sizeof(place->path), "/tmp/banger-test-XXXXXX");
	if (!mkdtemp(place->path))
		return -1;
	place->state = xasprintf("%s/state", place->path);
	place->cache = xasprintf("%s/cache", place->path);
	place->share = xasprintf("%s/share", place->path);
	auto_free char *recipes = xasprintf("%s/images", place->share);
	if (fs_mkdirs(place->state, 0700, &err) < 0 || fs_mkdirs(place->cache, 0700, &err) < 0 ||
	    fs_mkdirs(recipes, 0700, &err) < 0)
		return -1;
	place->store = (struct image_store){ place->state, place->cache, place->share };
	recipe(place, "tiny.sh", "set -e; " COUNT GOOD);
	recipe(place, "kernel.sh", KERNEL);
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;
	struct error err;
	int failed = fs_remove_tree(AT_FDCWD, place->path, &err);
	free(place->state);
	free(place->cache);
	free(place->share);
	free(place);
	return failed;
}

static unsigned runs(const struct place *place)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT;
	auto_free char *path = xasprintf("%s/runs", place->cache);
	fs_read(AT_FDCWD, path, 65536, &text, &err);
	unsigned count = 0;
	for (const char *at = text.data; *at; at++)
		count += *at == '\n';
	return count;
}

/* Entries of state/<folder> whose name begins with prefix. */
static unsigned entries(const struct place *place, const char *folder, const char *prefix)
{
	auto_free char *path = xasprintf("%s/%s", place->state, folder);
	auto_dir DIR *dir = opendir(path);
	unsigned count = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += !strncmp(entry->d_name, prefix, strlen(prefix));
	return count;
}

static void pulled(struct place *place, bool force)
{
	struct error err;
	if (image_pull(&place->store, "tiny", force, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static struct image found(const struct place *place, const char *key)
{
	struct error err;
	struct image image;
	if (image_find(&place->store, key, &image, &err) < 0)
		fail_msg("%s", err.text);
	return image;
}

static void not_pulled(struct place *place, const char *why)
{
	struct error err;
	struct image image;
	assert_int_equal(image_pull(&place->store, "tiny", false, NULL, &err), -1);
	if (!strstr(err.text, why) || strncmp(err.text, "image 'tiny': ", 14) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(image_find(&place->store, "tiny", &image, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_int_equal(entries(place, "images", ".building-"), 0);
}

struct told {
	char text[4096];
};

static void note(void *cookie, const char *stage, const char *detail, uint64_t done, uint64_t total)
{
	struct told *told = cookie;
	size_t len = strlen(told->text);
	snprintf(told->text + len, sizeof(told->text) - len, "%s|%s|%u/%u\n", stage, detail,
		 (unsigned)done, (unsigned)total);
}

static void a_pull_makes_image_and_kernel(void **state)
{
	struct place *place = *state;
	struct error err;
	struct told told = { "" };
	struct pull_progress progress = { .fn = note, .cookie = &told, .cancel_fd = -1 };
	assert_int_equal(image_pull(&place->store, "tiny", false, &progress, &err), 0);
	assert_non_null(strstr(told.text, "download|3 packages|0/0\ndownload|3 packages|10/20\n"));

	struct image image = found(place, "tiny");
	struct stat st;
	assert_string_equal(image.kernel, "debian-cloud");
	assert_int_equal(image.min_memory, 128 * MIB);
	assert_int_equal(image.size, MIB);
	assert_int_equal(strlen(image.digest), 64);
	assert_true(image.pulled_ms > clock_wall_ms() - 60000);
	assert_int_equal(stat(image.rootfs, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	auto_free char *folder = xasprintf("images/%s", image.digest);
	assert_int_equal(entries(place, folder, "left-over"), 0);
	assert_int_equal(entries(place, folder, "work"), 0);

	struct image again = found(place, image.digest);
	assert_string_equal(again.name, "tiny");
	image_clear(&again);
	image_clear(&image);

	struct kernel kernel;
	assert_int_equal(kernel_find(&place->store, "debian-cloud", &kernel, &err), 0);
	assert_string_equal(kernel.release, "6.1.0-1");
	assert_non_null(strstr(kernel.boot, "/vmlinux"));
	assert_int_equal(access(kernel.boot, R_OK), 0);
	assert_int_equal(access(kernel.modules, R_OK), 0);
	assert_int_equal(access(kernel.modules_disk, R_OK), 0);
	/* One that an older recipe made has none. */
	assert_int_equal(unlink(kernel.modules_disk), 0);
	kernel_clear(&kernel);
	assert_int_equal(kernel_find(&place->store, "debian-cloud", &kernel, &err), 0);
	assert_null(kernel.modules_disk);
	kernel_clear(&kernel);
	assert_int_equal(runs(place), 2);
	pulled(place, false);
	assert_int_equal(runs(place), 2);
}

static void bad_results_are_refused(void **state)
{
	struct place *place = *state;
	static const struct {
		const char *script, *why;
	} cases[] = {
		{ "set -e;" ROOTFS "echo half-way there >&2; exit 3", "half-way there" },
		{ "kill -9 $$", "signal 9" },
		{ "exit 0", "" },
		{ ROOTFS "echo junk > $1/image.json", "not valid JSON" },
		{ ROOTFS "echo '{\"format\":2}' > $1/image.json", "format" },
		{ META, "rootfs.ext4" },
		{ META "ln -s /etc/passwd $1/rootfs.ext4", "not a file" },
		{ META "mkdir $1/rootfs.ext4", "not a file" },
		{ META "echo small > $1/rootfs.ext4", "sane size" },
		{ META "truncate -s 1M $1/rootfs.ext4", "no ext4" },
		{ ROOTFS META "sed -i s/tiny/other/ $1/image.json", "not named" },
		{ ROOTFS META "sed -i s/debian-cloud/..x.y/ $1/image.json", "not sane" },
		{ ROOTFS META "sed -i s/134217728/1/ $1/image.json", "not sane" },
		{ ROOTFS META "truncate -s 1M $1/image.json", "larger than" },
		{ "rm -rf $1", "" },
		{ "head -c 300000 /dev/zero | tr '\\0' 'x'; echo; echo progress 9 1 bytes; "
		  "echo progress -1 99999999999999999999999 bytes; echo stage; exit 1",
		  "status 1" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		recipe(place, "tiny.sh", cases[i].script);
		not_pulled(place, cases[i].why);
	}
	recipe(place, "tiny.sh", COUNT GOOD);
	pulled(place, false);
}

static void an_old_image_survives_a_failing_pull(void **state)
{
	struct place *place = *state;
	struct error err;
	pulled(place, false);
	struct image before = found(place, "tiny");
	recipe(place, "tiny.sh", "exit 1");
	assert_int_equal(image_pull(&place->store, "tiny", true, NULL, &err), -1);
	struct image after = found(place, "tiny");
	assert_string_equal(before.digest, after.digest);
	image_clear(&before);
	image_clear(&after);
}

static void a_name_moves_and_a_digest_stays(void **state)
{
	struct place *place = *state;
	struct error err;
	pulled(place, false);
	struct image first = found(place, "tiny");
	pulled(place, true); /* the same bytes */
	assert_int_equal(runs(place), 4);
	struct image same = found(place, "tiny");
	assert_string_equal(first.digest, same.digest);
	recipe(place, "tiny.sh", COUNT GOOD "echo x >> $1/rootfs.ext4\n");
	pulled(place, true);
	struct image second = found(place, "tiny");
	assert_string_not_equal(first.digest, second.digest);
	struct image old = found(place, first.digest);
	assert_string_equal(old.name, "");

	struct image_vec list = { 0 };
	assert_int_equal(image_list(&place->store, &list, &err), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.at[0].name, "");
	assert_string_equal(list.at[1].digest, second.digest);
	images_clear(&list);
	image_clear(&first);
	image_clear(&same);
	image_clear(&second);
	image_clear(&old);
}

static void deletion_spares_what_is_used(void **state)
{
	struct place *place = *state;
	struct error err;
	struct image image;
	pulled(place, false);
	image = found(place, "tiny");
	const char *in_use[] = { "x", image.digest };
	assert_int_equal(image_delete(&place->store, "tiny", in_use, 2, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	struct image still = found(place, "tiny");
	image_clear(&still);
	assert_int_equal(image_delete(&place->store, image.digest, NULL, 0, &err), -1);
	assert_non_null(strstr(err.text, "still has the name 'tiny'"));

	/* A second name of the same files. */
	auto_free char *other = xasprintf("%s/images/names/other", place->state);
	auto_free char *target = xasprintf("../%s", image.digest);
	assert_int_equal(symlink(target, other), 0);
	assert_int_equal(image_delete(&place->store, "tiny", in_use, 1, &err), 0);
	still = found(place, "other");
	assert_int_equal(access(still.rootfs, R_OK), 0);
	image_clear(&still);
	assert_int_equal(image_delete(&place->store, "other", NULL, 0, &err), 0);
	assert_int_equal(access(image.rootfs, F_OK), -1);
	assert_int_equal(entries(place, "images", ".building-"), 0);
	assert_int_equal(image_delete(&place->store, "other", NULL, 0, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	image_clear(&image);
}

static void names_are_never_paths(void **state)
{
	struct place *place = *state;
	static const char *const bad[] = {
		"", ".", "..", "../x", "a/b", "/etc", "Tiny", "a b", ".x"
	};
	struct error err;
	struct image image;
	pulled(place, false);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(image_find(&place->store, bad[i], &image, &err), -1);
		assert_int_equal(err.code, ERROR_INVALID);
		assert_int_equal(image_delete(&place->store, bad[i], NULL, 0, &err), -1);
		assert_int_equal(image_pull(&place->store, bad[i], false, NULL, &err), -1);
	}
	/* A link that points elsewhere is none of ours. */
	auto_free char *link = xasprintf("%s/images/names/evil", place->state);
	assert_int_equal(symlink("../../..", link), 0);
	assert_int_equal(image_find(&place->store, "evil", &image, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static void what_is_missing_is_explained(void **state)
{
	struct place *place = *state;
	struct error err;
	struct image image;
	struct kernel kernel;
	struct image_vec list = { 0 };
	assert_int_equal(image_find(&place->store, "tiny", &image, &err), -1);
	assert_non_null(strstr(err.text, "in the catalog but not pulled"));
	assert_int_equal(image_find(&place->store, "tinny", &image, &err), -1);
	assert_string_equal(err.text, "no image 'tinny', did you mean 'tiny'?");
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_int_equal(image_pull(&place->store, "tinny", false, NULL, &err), -1);
	assert_string_equal(err.text, "no image 'tinny', did you mean 'tiny'?");
	assert_int_equal(image_find(&place->store, "windows", &image, &err), -1);
	assert_string_equal(err.text, "no image 'windows'");
	assert_int_equal(kernel_find(&place->store, "debian-clod", &kernel, &err), -1);
	assert_non_null(strstr(err.text, "did you mean 'debian-cloud'"));
	assert_int_equal(image_list(&place->store, &list, &err), 0);
	assert_int_equal(list.count, 0);
	assert_int_equal(sweep(place, &err), 0);
}

static void damage_is_seen_and_repaired(void **state)
{
	struct place *place = *state;
	struct error err;
	struct image image, broken;
	pulled(place, false);
	image = found(place, "tiny");
	assert_int_equal(unlink(image.rootfs), 0);
	assert_int_equal(image_find(&place->store, "tiny", &broken, &err), -1);
	assert_non_null(strstr(err.text, "is damaged"));
	pulled(place, false); /* found to be missing, so built again */
	struct image again = found(place, "tiny");
	assert_string_equal(again.digest, image.digest);
	image_clear(&image);
	image_clear(&again);
}

struct puller {
	struct place *place;
	struct error err;
	int result;
};

static void *pull_thread(void *data)
{
	struct puller *puller = data;
	puller->result = image_pull(&puller->place->store, "tiny", false, NULL, &puller->err);
	return NULL;
}

static void many_wait_for_one_pull(void **state)
{
	struct place *place = *state;
	pthread_t threads[4];
	struct puller pullers[4];
	recipe(place, "tiny.sh", "set -e; " COUNT "sleep 0.5\n" GOOD);
	/* Another process; forked before the threads, or it would inherit locks they hold. */
	pid_t pid = fork();
	if (pid == 0) {
		struct error err;
		_exit(image_pull(&place->store, "tiny", false, NULL, &err) < 0);
	}
	for (int i = 0; i < 4; i++) {
		pullers[i] = (struct puller){ .place = place };
		pthread_create(&threads[i], NULL, pull_thread, &pullers[i]);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(pullers[i].result, 0);
	}
	assert_int_equal(runs(place), 2); /* image and kernel, once each */
}

static void a_pull_can_be_called_off(void **state)
{
	struct place *place = *state;
	struct error err;
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	struct pull_progress progress = { .cancel_fd = ends[0] };
	recipe(place, "tiny.sh", "touch $2/began; sleep 30");
	assert_int_equal(write(ends[1], "x", 1), 1);
	uint64_t before = clock_monotonic_ms();
	assert_int_equal(image_pull(&place->store, "tiny", false, &progress, &err), -1);
	assert_int_equal(err.code, ERROR_CANCELLED);
	assert_true(clock_monotonic_ms() - before < 5000);
	assert_int_equal(entries(place, "images", ".building-"), 0);
	close(ends[0]);
	close(ends[1]);
}

/* kill -9 in the middle: the next daemon sweeps; what is being built by the living stays. */
static void the_sweep_takes_only_the_dead(void **state)
{
	struct place *place = *state;
	struct error err;
	recipe(place, "tiny.sh", "touch $1/half $2/began; sleep 3");
	pid_t pid = fork();
	if (pid == 0) {
		image_pull(&place->store, "tiny", false, NULL, &err);
		_exit(0);
	}
	auto_free char *began = xasprintf("%s/began", place->cache);
	for (int i = 0; i < 200 && access(began, F_OK) < 0; i++)
		poll(NULL, 0, 20);
	assert_int_equal(entries(place, "images", ".building-"), 1);
	assert_int_equal(sweep(place, &err), 0);
	assert_int_equal(entries(place, "images", ".building-"), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(sweep(place, &err), 0);
	assert_int_equal(entries(place, "images", ".building-"), 0);
	recipe(place, "tiny.sh", GOOD);
	pulled(place, false);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACED(a_pull_makes_image_and_kernel),
		PLACED(bad_results_are_refused),
		PLACED(an_old_image_survives_a_failing_pull),
		PLACED(a_name_moves_and_a_digest_stays),
		PLACED(deletion_spares_what_is_used),
		PLACED(names_are_never_paths),
		PLACED(what_is_missing_is_explained),
		PLACED(damage_is_seen_and_repaired),
		PLACED(many_wait_for_one_pull),
		PLACED(a_pull_can_be_called_off),
		PLACED(the_sweep_takes_only_the_dead),
	};
	return cmocka_run_group_tests_name("image_store", tests, NULL, NULL);
}
