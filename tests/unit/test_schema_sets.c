/* Sets of replicas, and who depends on whom: one file, files that are joined, store and YAML. */
#include "schema/spec_load.h"

#include "base/buf.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct spec_set load(const char *name, const char *vms, bool part)
{
	auto_free char *text = xasprintf("version: 1\nvms:\n%s", vms);
	struct spec_source source = { name, text, strlen(text), "/srv" };
	struct spec_context context = { .part = part };
	struct spec_set set = { 0 };
	struct fault_vec faults = { 0 };
	if (spec_load(&source, 1, &context, &set, &faults) < 0) {
		auto_free char *first = fault_format(&faults.at[0]);
		faults_clear(&faults);
		fail_msg("%s", first);
	}
	return set;
}

static const char *name_at(const struct spec_set *set, size_t at)
{
	return set->vms[at]->name;
}

static void a_set_is_made_into_vms(void **state)
{
	(void)state;
	struct spec_set set =
		load("a.yaml", "  worker: {replicas: 11, max_unavailable: 4}\n  w: {}\n", false);
	assert_int_equal(set.count, 12);
	assert_string_equal(name_at(&set, 0), "w");
	assert_string_equal(set.vms[0]->set, "");
	assert_int_equal(set.vms[0]->max_unavailable, 1);
	assert_string_equal(name_at(&set, 1), "worker-1");
	assert_string_equal(name_at(&set, 2), "worker-10");
	for (size_t i = 1; i < set.count; i++) {
		assert_string_equal(set.vms[i]->set, "worker");
		assert_int_equal(set.vms[i]->max_unavailable, 4);
		assert_int_equal(set.vms[i]->replicas, 0);
	}
	spec_set_clear(&set);
}

/* How many there are is not what each of them is: one more changes none of the others. */
static void more_replicas_are_no_change_of_the_others(void **state)
{
	(void)state;
	struct spec_set two = load("a.yaml", "  w: {replicas: 2}\n", false);
	struct spec_set three = load("a.yaml", "  w: {replicas: 3}\n", false);
	struct spec_set own = load("a.yaml", "  w-1: {}\n", false);
	struct field_change_vec changes = { 0 };
	assert_true(vm_spec_equal(two.vms[0], three.vms[0]));
	assert_false(vm_spec_equal(two.vms[0], own.vms[0]));
	assert_int_equal(
		vm_spec_diff(own.vms[0], two.vms[0], &(struct capabilities){ 0 }, &changes),
		CLASS_LIVE);
	assert_int_equal(changes.count, 1);
	assert_string_equal(changes.at[0].key, "set");
	field_changes_free(&changes);
	spec_set_clear(&two);
	spec_set_clear(&three);
	spec_set_clear(&own);
}

static void a_replica_survives_the_store(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct spec_set set =
		load("a.yaml",
		     "  w: {replicas: 2, max_unavailable: 2, depends_on: [db]}\n  db: {}\n", false);
	auto_json cJSON *json = vm_spec_to_json(set.vms[1]);
	auto_free char *text = json_print(json);
	assert_string_equal(text, "{\"name\":\"w-1\",\"image\":\"tiny\",\"memory\":\"1Gi\","
				  "\"depends_on\":[\"db\"],\"max_unavailable\":2,\"set\":\"w\"}");
	auto_ptr(vm_spec) back = vm_spec_from_json(json, &err);
	assert_string_equal(err.text, "");
	assert_true(vm_spec_equal(set.vms[1], back));
	spec_set_clear(&set);
}

/* Alone it is a VM like any other, and nobody whom it names is there. */
static void yaml_of_a_replica_is_valid(void **state)
{
	(void)state;
	struct spec_set set = load("a.yaml",
				   "  w: {replicas: 2, max_unavailable: 2, depends_on: [db, c]}\n"
				   "  db: {}\n  c: {replicas: 2}\n",
				   false);
	const struct vm_spec *some[] = { spec_set_find(&set, "c-2"), spec_set_find(&set, "w-2") };
	auto_free char *text = vm_specs_to_yaml(NULL, some, 2);
	assert_non_null(strstr(text, "    depends_on: [c-2]\n    # depends_on: [db] (not"));
	struct spec_set back = load("b.yaml", strchr(strstr(text, "vms:"), '\n') + 1, false);
	assert_int_equal(back.count, 2);
	assert_string_equal(name_at(&back, 1), "w-2");
	assert_string_equal(back.vms[1]->set, "");
	spec_set_clear(&back);
	spec_set_clear(&set);
}

/* --- files of a directory, loaded one by one --- */

static int by_name(const void *a, const void *b)
{
	const struct vm_spec *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

/* Every fault on a line of its own. */
static char *join(const char *a, const char *b)
{
	struct spec_set sets[] = { load("a.yaml", a, true), load("b.yaml", b, true) };
	const struct vm_spec *vms[32];
	const char *empty[4];
	size_t count = 0;
	struct string_list empty_sets = { .at = empty };
	struct fault_vec faults = { 0 };
	auto_buf struct buf out = BUF_INIT;
	for (size_t s = 0; s < 2; s++) {
		for (size_t i = 0; i < sets[s].count; i++)
			vms[count++] = sets[s].vms[i];
		for (size_t i = 0; i < sets[s].empty_sets.count; i++)
			empty[empty_sets.count++] = sets[s].empty_sets.at[i];
	}
	qsort(vms, count, sizeof(*vms), by_name);
	size_t found = spec_depends_check(vms, count, &empty_sets, &faults);
	assert_int_equal(found, faults.count);
	for (size_t i = 0; i < faults.count; i++) {
		auto_free char *text = fault_format(&faults.at[i]);
		buf_addf(&out, "%s\n", text);
	}
	faults_clear(&faults);
	spec_set_clear(&sets[0]);
	spec_set_clear(&sets[1]);
	return buf_take(&out);
}

static void files_are_checked_together(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b, *faults;
	} cases[] = {
		{ "  web: {depends_on: [db, w, w-11]}\n", "  db: {}\n  w: {replicas: 11}\n", "" },
		/* A name between those of replicas is no end of the set. */
		{ "  w: {replicas: 3}\n  web: {depends_on: [w-3]}\n", "  w-15a: {}\n  w-1a: {}\n",
		  "" },
		{ "  web: {depends_on: [idle]}\n", "  idle: {replicas: 0}\n", "" },
		{ "  web: {depends_on: [bd]}\n", "  db: {}\n",
		  "a.yaml:3:3: vms.web.depends_on: no VM of this stack is called 'bd', did you mean "
		  "'db'?\n" },
		{ "  web: {depends_on: [w-4]}\n", "  w: {replicas: 3}\n",
		  "a.yaml:3:3: vms.web.depends_on: no VM of this stack is called 'w-4'\n" },
		{ "  web: {depends_on: [w]}\n", "  w: {replicas: 2, depends_on: [web]}\n",
		  "a.yaml:3:3: vms.web.depends_on: a cycle: w -> web -> w\n" },
		{ "  w: {}\n", "  w: {replicas: 2}\n",
		  "b.yaml:3:3: vms.w: this set is also in a.yaml:3:3\n" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_free char *faults = join(cases[i].a, cases[i].b);
		assert_string_equal(faults, cases[i].faults);
	}
}

/* 10,000 VMs in one line, each after the one before, and the last before the first. */
static void a_long_cycle_is_found(void **state)
{
	(void)state;
	auto_buf struct buf text = BUF_INIT;
	buf_add(&text, "version: 1\nvms:\n");
	for (unsigned i = 0; i < SPEC_VMS_MAX; i++)
		buf_addf(&text, "  v%u: {depends_on: [v%u]}\n", i, (i + 1) % SPEC_VMS_MAX);
	struct spec_source source = { "a.yaml", text.data, text.len, "/srv" };
	struct spec_set set = { 0 };
	struct fault_vec faults = { 0 };
	assert_int_equal(spec_load(&source, 1, NULL, &set, &faults), -1);
	assert_int_equal(faults.count, 1);
	assert_string_equal(
		faults.at[0].text,
		"a cycle: v0 -> v1 -> v2 -> v3 -> v4 -> v5 -> v6 -> v7 -> v8 -> v9 -> ... "
		"-> v0");
	faults_clear(&faults);
}

static void a_command_makes_no_set(void **state)
{
	(void)state;
	static const char *const set[] = { "replicas=3" }, *const made[] = { "set=w" },
				 *const names[] = { "depends_on=db,c" };
	struct error err = { 0 };
	assert_null(vm_spec_with(NULL, "w", set, 1, NULL, &err));
	assert_string_equal(err.text,
			    "replicas: only a file can say so: a set is applied, see banger "
			    "apply");
	assert_null(vm_spec_with(NULL, "w", made, 1, NULL, &err));
	assert_string_equal(err.text, "set: unknown field");
	auto_ptr(vm_spec) spec = vm_spec_with(NULL, "w", names, 1, NULL, &err);
	assert_non_null(spec);
	assert_int_equal(spec->depends_on.count, 2);
	assert_string_equal(spec->depends_on.at[0], "c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_is_made_into_vms),
		cmocka_unit_test(more_replicas_are_no_change_of_the_others),
		cmocka_unit_test(a_replica_survives_the_store),
		cmocka_unit_test(yaml_of_a_replica_is_valid),
		cmocka_unit_test(files_are_checked_together),
		cmocka_unit_test(a_long_cycle_is_found),
		cmocka_unit_test(a_command_makes_no_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
