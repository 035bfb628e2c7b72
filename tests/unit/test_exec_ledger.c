/* The ledger: what is found in a state directory, and who judges it an orphan. */
#include "exec/ledger.h"
#include "base/fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include <cmocka.h>

#define KNOWN "00000000a1"
#define LOST  "00000000b2"

struct place {
	char root[64];
	char *vms;
	struct host host;
	struct owner owner;
	struct ledger ledger;
};

static void put(const struct place *place, const char *id, const char *name, time_t age)
{
	auto_free char *dir = xasprintf("%s/%s", place->vms, id);
	auto_free char *path = xasprintf("%s/%s", dir, name);
	struct error err;
	struct timespec then[2] = { { .tv_sec = time(NULL) - age },
				    { .tv_sec = time(NULL) - age } };
	assert_int_equal(fs_mkdirs(dir, 0700, &err), 0);
	if (name[0])
		assert_int_equal(fs_write(AT_FDCWD, path, "x", 1, 0600, &err), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
}

static int make_place(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	struct error err;
	strcpy(place->root, "/tmp/banger-ledger-XXXXXX");
	assert_non_null(mkdtemp(place->root));
	place->vms = xasprintf("%s/vms", place->root);
	assert_int_equal(fs_mkdirs(place->vms, 0700, &err), 0);
	place->host = (struct host){ .state = place->root, .vms_dir = place->vms };
	place->owner = (struct owner){ .id = KNOWN, .name = "web" };
	place->ledger = (struct ledger){ .host = &place->host,
					 .owners = &place->owner,
					 .owner_count = 1,
					 .now_ms = (int64_t)time(NULL) * 1000 };
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;
	struct error err;
	ledger_clear(&place->ledger);
	fs_remove_tree(AT_FDCWD, place->root, &err);
	free(place->vms);
	free(place);
	return 0;
}

static void look(struct place *place)
{
	struct error err = { 0 };
	ledger_clear(&place->ledger);
	assert_int_equal(ledger_vm_files.probe(&place->ledger, &err), 0);
	ledger_judge(&place->ledger);
}

static const struct object *found(const struct place *place, const char *id, const char *name)
{
	auto_free char *what = xasprintf("%s/%s%s%s", place->vms, id, name[0] ? "/" : "", name);
	for (size_t i = 0; i < place->ledger.objects.count; i++)
		if (!strcmp(place->ledger.objects.at[i].what, what))
			return &place->ledger.objects.at[i];
	return NULL;
}

static void what_a_run_leaves_is_an_orphan_when_it_is_over(void **state)
{
	struct place *place = *state;
	put(place, KNOWN, "initrd", 100);
	put(place, KNOWN, "work.img", 100);
	look(place);
	assert_true(ledger_takes(&place->ledger, found(place, KNOWN, "initrd"), false));
	assert_false(found(place, KNOWN, "work.img")->orphan);
	assert_string_equal(found(place, KNOWN, "work.img")->owner, "web");
	assert_false(found(place, KNOWN, "")->orphan);
	place->owner.busy = true;
	look(place);
	assert_false(found(place, KNOWN, "initrd")->orphan);
	place->owner = (struct owner){ .id = KNOWN, .name = "web", .runs = true };
	look(place);
	assert_false(found(place, KNOWN, "initrd")->orphan);
}

static void disks_of_an_unknown_vm_go_only_when_a_person_says_so(void **state)
{
	struct place *place = *state;
	put(place, LOST, "work.img", 100);
	put(place, LOST, "host_key", 100);
	look(place);
	const struct object *disk = found(place, LOST, "work.img"), *dir = found(place, LOST, "");
	assert_null(found(place, LOST, "host_key")); /* part of the directory */
	assert_true(disk->orphan && disk->data && dir->orphan && dir->data);
	assert_false(ledger_takes(&place->ledger, disk, false));
	assert_true(ledger_takes(&place->ledger, disk, true));
	struct error err = { 0 };
	assert_int_equal(ledger_discard(&place->ledger, disk, &err), 0);
	assert_int_equal(ledger_discard(&place->ledger, dir, &err), 0);
	look(place);
	assert_int_equal(place->ledger.objects.count, 0);
}

static void a_minute_is_given_to_everything(void **state)
{
	struct place *place = *state;
	put(place, LOST, "initrd", 30);
	look(place);
	assert_true(found(place, LOST, "initrd")->orphan);
	assert_false(ledger_takes(&place->ledger, found(place, LOST, "initrd"), true));
	assert_false(ledger_takes(&place->ledger, found(place, LOST, ""), true));
}

static void what_is_another_meanwhile_stays(void **state)
{
	struct place *place = *state;
	struct error err = { 0 };
	put(place, KNOWN, "initrd", 100);
	look(place);
	uint64_t before = ledger_digest(&place->ledger, true);
	const struct object *seen = found(place, KNOWN, "initrd");
	put(place, KNOWN, "other", 100);
	put(place, KNOWN, "initrd", 100); /* a new file of the same name and age */
	assert_int_equal(ledger_discard(&place->ledger, seen, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	look(place);
	assert_true(found(place, KNOWN, "initrd")->orphan);
	assert_true(ledger_digest(&place->ledger, true) != before);
}

static void a_directory_keeps_what_is_not_bangers(void **state)
{
	struct place *place = *state;
	struct error err = { 0 };
	put(place, LOST, "host_key", 100);
	put(place, LOST, "thesis.tex", 100);
	put(place, "00000000c3", "notes", 100); /* nothing of ours at all */
	put(place, "notes", "work.img", 100);	/* no id */
	look(place);
	assert_int_equal(place->ledger.objects.count, 1);
	assert_int_equal(ledger_discard(&place->ledger, found(place, LOST, ""), &err), -1);
	assert_non_null(strstr(err.text, "thesis.tex"));
}

static void a_lock_that_is_held_protects(void **state)
{
	struct place *place = *state;
	struct error err = { 0 };
	put(place, LOST, "lock", 100);
	put(place, LOST, "initrd", 100);
	look(place);
	auto_free char *path = xasprintf("%s/" LOST "/lock", place->vms);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(ledger_discard(&place->ledger, found(place, LOST, "initrd"), &err), -1);
	assert_int_equal(err.code, ERROR_BUSY);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACED(what_a_run_leaves_is_an_orphan_when_it_is_over),
		PLACED(disks_of_an_unknown_vm_go_only_when_a_person_says_so),
		PLACED(a_minute_is_given_to_everything),
		PLACED(what_is_another_meanwhile_stays),
		PLACED(a_directory_keeps_what_is_not_bangers),
		PLACED(a_lock_that_is_held_protects),
	};
	return cmocka_run_group_tests_name("exec_ledger", tests, NULL, NULL);
}
