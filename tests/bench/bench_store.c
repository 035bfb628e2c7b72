/* Fills a store with the VMs of a file, as if each had been created before: intent, identity and
 * what was applied say the same, so that there is nothing to do. No disk is made.
 *
 *	bench_store FILE STACK SOURCE WATCHED(0|1) DATABASE     prints "name id" of each */
#include "base/fs.h"
#include "base/json.h"
#include "schema/spec_load.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char digest[] = "be0c4be0c4be0c4be0c4be0c4be0c4be0c4be0c4be0c4be0c4be0c4be0c40000";

static int put(struct store *store, const char *stack, const struct vm_spec *spec, size_t number,
	       struct error *err)
{
	auto_json cJSON *json = vm_spec_to_json(spec);
	struct store_vm row = {
		.name = xstrdup(spec->name),
		.stack = xstrdup(stack),
		.spec = json_print(json),
		.applied = json_print(json),
		.image_digest = xstrdup(digest),
		.kernel_digest = xstrdup(digest),
		.revision = 1,
		.created_ms = 1,
	};
	snprintf(row.id, sizeof(row.id), "%010zx", number + 0xbe00000000);
	int failed = store_vm_put(store, &row, err);
	if (failed == 0)
		printf("%s %s\n", row.name, row.id);
	store_vm_clear(&row);
	return failed;
}

static int fill(struct store *store, char **argv, const struct spec_set *set, struct error *err)
{
	if (store_begin(store, err) < 0 ||
	    store_stack_put(store, argv[2], argv[3], argv[4][0] == '1', err) < 0)
		return -1;
	for (size_t i = 0; i < set->count; i++)
		if (put(store, argv[2], set->vms[i], i, err) < 0)
			return -1;
	return store_commit(store, err);
}

int main(int argc, char **argv)
{
	static const struct image_hint tiny = { "tiny", 128 * 1048576, 0 };
	const struct spec_context context = { .images = &tiny, .image_count = 1 };
	struct error err = { 0 };
	struct fault_vec faults = { 0 };
	struct spec_set set;
	auto_buf struct buf text = BUF_INIT;
	if (argc != 6) {
		fprintf(stderr, "usage: %s FILE STACK SOURCE WATCHED DATABASE\n", argv[0]);
		return 2;
	}
	auto_ptr(store) store = NULL;
	if (fs_read(AT_FDCWD, argv[1], SPEC_FILE_MAX, &text, &err) == 0)
		store = store_open(argv[5], &err);
	const struct spec_source source = { argv[1], text.data, text.len, "/" };
	if (store && spec_load(&source, 1, &context, &set, &faults) < 0) {
		auto_free char *fault = fault_format(&faults.at[0]);
		error_set(&err, ERROR_INVALID, "%s", fault);
	} else if (store) {
		fill(store, argv, &set, &err);
		spec_set_clear(&set);
	}
	faults_clear(&faults);
	if (err.code != ERROR_NONE)
		fprintf(stderr, "%s: %s\n", argv[0], err.text);
	return err.code != ERROR_NONE;
}
