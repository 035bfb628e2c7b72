/* plan: names, the restart policy, the guard's arithmetic, digest, text and wire. */
#include "base/fs.h"
#include "base/json.h"
#include "plan/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

static void names_travel_both_ways(void **state)
{
	(void)state;
	for (unsigned i = 0; i < EXIT_COUNT_; i++)
		assert_int_equal(exit_reason_parse(exit_reason_name((enum exit_reason)i)), i);
	assert_int_equal(exit_reason_parse("gremlins"), EXIT_UNKNOWN);
	assert_int_equal(exit_reason_parse(NULL), EXIT_UNKNOWN);
	assert_string_equal(action_kind_name(ACTION_REIMAGE), "reimage");
	assert_int_equal(action_kind_sign(ACTION_CREATE), '+');
	assert_int_equal(action_kind_sign(ACTION_DELETE), '-');
}

static void policies_restart_what_they_say(void **state)
{
	(void)state;
	assert_true(plan_restarts_after(RESTART_ALWAYS, EXIT_POWEROFF));
	assert_true(plan_restarts_after(RESTART_ALWAYS, EXIT_KILLED));
	assert_false(plan_restarts_after(RESTART_ON_FAILURE, EXIT_POWEROFF));
	assert_true(plan_restarts_after(RESTART_ON_FAILURE, EXIT_PANIC));
	assert_true(plan_restarts_after(RESTART_ON_FAILURE, EXIT_UNKNOWN));
	assert_false(plan_restarts_after(RESTART_NEVER, EXIT_PANIC));
}

static void the_guard_allows_half_of_the_largest(void **state)
{
	(void)state;
	static const struct {
		size_t now, largest, allowed;
	} cases[] = { { 8, 8, 4 }, { 5, 8, 1 }, { 4, 8, 0 },	       { 1, 1, 1 }, { 3, 3, 1 },
		      { 2, 3, 0 }, { 2, 2, 1 }, { 1, 2, 0 },	       { 0, 0, 0 }, { 0, 8, 0 },
		      { 9, 2, 4 }, { 1, 0, 1 }, { 10000, 10000, 5000 } };
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
		assert_int_equal(plan_guard_allowance(cases[i].now, cases[i].largest),
				 cases[i].allowed);
}

/* A source that shrinks step by step, in any steps, never takes more than half. */
static void many_small_deletions_are_one_large_one(void **state)
{
	(void)state;
	for (size_t largest = 1; largest < 40; largest++)
		for (size_t step = 1; step <= largest; step++) {
			size_t now = largest;
			for (int round = 0; round < 100; round++) {
				size_t want = step < now ? step : now;
				if (want <= plan_guard_allowance(now, largest))
					now -= want;
			}
			size_t may = largest / 2 > 1 ? largest / 2 : 1;
			assert_true(largest - now <= may);
		}
}

static struct vm_plan *one_vm(struct plan *plan, const char *name, enum action_kind kind)
{
	plan->stack = "demo";
	plan->vms = xcalloc(1, sizeof(*plan->vms));
	plan->count = 1;
	str_copy(plan->vms->name, sizeof(plan->vms->name), name);
	plan->vms->kind = kind;
	return plan->vms;
}

static void add_change(struct vm_plan *vm, const char *key, const char *from, const char *to)
{
	field_change_vec_push(&vm->changes, (struct field_change){ .key = key,
								   .from = xstrdup(from),
								   .to = xstrdup(to),
								   .class = CLASS_RESTART });
}

static void the_digest_sees_every_difference(void **state)
{
	(void)state;
	struct plan plan = { 0 };
	struct vm_plan *vm = one_vm(&plan, "db", ACTION_RESTART);
	uint64_t seen[6], digest = plan_digest(&plan);
	assert_int_equal(digest, plan_digest(&plan));
	seen[0] = digest;
	add_change(vm, "vcpus", "1", "2");
	seen[1] = plan_digest(&plan);
	vm->changes.at[0].class = CLASS_LIVE;
	seen[2] = plan_digest(&plan);
	vm->kind = ACTION_LIVE;
	seen[3] = plan_digest(&plan);
	vm->name[0] = 'e';
	seen[4] = plan_digest(&plan);
	plan.stack = "other";
	seen[5] = plan_digest(&plan);
	for (size_t i = 0; i < ARRAY_COUNT(seen); i++)
		for (size_t k = 0; k < i; k++)
			assert_true(seen[i] != seen[k]);
	plan_clear(&plan);
}

static void text_is_coloured_by_sign_and_cannot_drive_a_terminal(void **state)
{
	(void)state;
	struct plan plan = { 0 };
	struct vm_plan *vm = one_vm(&plan, "db", ACTION_RESTART);
	add_change(vm, "kernel_args", "quiet", "\033[2Jboo\n");
	plan.to_change = plan.to_restart = 1;
	auto_free char *plain = plan_format(&plan, false);
	assert_string_equal(plain,
			    "  ~ db             restart  kernel_args quiet -> ?[2Jboo? (restart)\n"
			    "Plan: 0 to create, 1 to change (1 restart), 0 to delete, 0 "
			    "unchanged.\n");
	auto_free char *coloured = plan_format(&plan, true);
	assert_non_null(strstr(coloured, "\033[33m  ~ db"));
	assert_non_null(strstr(coloured, "\033[0m\n"));
	plan_clear(&plan);
}

static void the_wire_is_strict(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"{}",
		"{\"stack\":1}",
		"{\"stack\":\"a\",\"vms\":[{}]}",
		"{\"stack\":\"a\",\"vms\":[{\"name\":\"x\",\"kind\":\"explode\",\"class\":\"none\"}"
		"]}",
		"{\"stack\":\"a\",\"vms\":[{\"name\":\"x\",\"kind\":\"live\",\"class\":\"worst\"}]"
		"}",
		"{\"stack\":\"a\",\"vms\":[{\"name\":\"\",\"kind\":\"live\",\"class\":\"live\"}]}",
		"{\"stack\":\"a\",\"vms\":[{\"name\":\"x\",\"kind\":\"live\",\"class\":\"live\","
		"\"changes\":[{\"from\":\"1\"}]}]}",
		"{\"stack\":\"a\",\"vms\":[{\"name\":\"x\",\"kind\":\"live\",\"class\":\"live\","
		"\"changes\":[7]}]}",
	};
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct error err;
		struct plan plan;
		auto_json cJSON *json = json_parse(bad[i], strlen(bad[i]), &err);
		assert_non_null(json);
		assert_int_equal(plan_from_json(json, &plan, &err), -1);
		assert_int_equal(err.code, ERROR_INVALID);
	}
}

static void pages_add_up_to_the_plan(void **state)
{
	(void)state;
	struct error err;
	struct plan plan = { 0 }, back;
	struct vm_plan *vm = one_vm(&plan, "db", ACTION_RESTART);
	add_change(vm, "vcpus", "1", "2");
	vm->disruptive = true;
	auto_json cJSON *head = plan_head_to_json(&plan);
	auto_json cJSON *page = vm_plan_to_json(vm);
	assert_null(json_get(head, "vms"));
	assert_int_equal(plan_from_json(head, &back, &err), 0);
	for (int i = 0; i < 9; i++)
		assert_int_equal(plan_add_json(&back, page, &err), 0);
	assert_int_equal(back.count, 9);
	assert_string_equal(back.vms[8].changes.at[0].key, "vcpus");
	back.count = 1;
	assert_int_equal(plan_digest(&back), plan_digest(&plan));
	back.count = 9;
	plan_clear(&back);
	plan_clear(&plan);
}

static void a_workspace_is_what_its_record_says(void **state)
{
	(void)state;
	struct error err;
	const char text[] = "{\"source\":\"/src\",\"path\":\"/root/repo\",\"mode\":\"full\","
			    "\"wanted_branch\":\"b\",\"wanted_from\":\"\","
			    "\"include_untracked\":true,\"base\":\"1a2b\"}";
	auto_json cJSON *record = json_parse(text, sizeof(text) - 1, &err);
	const struct workspace_spec same = { .source = "/link",
					     .path = WORKSPACE_PATH,
					     .mode = WORKSPACE_FULL,
					     .branch = "b",
					     .from = "",
					     .include_untracked = true };
	assert_true(workspace_is_as_wanted(&same, "/src", record));
	assert_false(workspace_is_as_wanted(&same, "/link", record));
	struct workspace_spec other[5];
	for (size_t i = 0; i < ARRAY_COUNT(other); i++)
		other[i] = same;
	other[0].path = "/srv";
	other[1].mode = WORKSPACE_SHALLOW;
	other[2].branch = "";
	other[3].from = "v1";
	other[4].include_untracked = false;
	for (size_t i = 0; i < ARRAY_COUNT(other); i++)
		assert_false(workspace_is_as_wanted(&other[i], "/src", record));
	/* When exec prepares is no matter of what is there. */
	other[0] = same;
	other[0].auto_prepare = true;
	assert_true(workspace_is_as_wanted(&other[0], "/src", record));
}

/* Every member of an object is a property there, and all that are required are members. */
static void assert_of_schema(const cJSON *object, const cJSON *schema)
{
	const cJSON *item;
	cJSON_ArrayForEach(item, object)
	{
		if (!json_get(json_get(schema, "properties"), item->string))
			fail_msg("schema/plan.schema.json does not know '%s'", item->string);
	}
	cJSON_ArrayForEach(item, json_get(schema, "required"))
	{
		if (!json_get(object, item->valuestring))
			fail_msg("a plan has no '%s'", item->valuestring);
	}
}

static void assert_enum(const cJSON *schema, const char *(*name)(unsigned), unsigned first,
			unsigned count)
{
	const cJSON *list = json_get(schema, "enum");
	assert_int_equal(cJSON_GetArraySize(list), count - first);
	for (unsigned i = first; i < count; i++)
		assert_string_equal(cJSON_GetArrayItem(list, (int)(i - first))->valuestring,
				    name(i));
}

static const char *kind_name(unsigned i)
{
	return action_kind_name((enum action_kind)i);
}

static const char *class_name(unsigned i)
{
	return change_class_name((enum change_class)i);
}

static void the_published_schema_is_what_is_sent(void **state)
{
	(void)state;
	struct error err;
	struct plan plan = { 0 };
	auto_buf struct buf text = BUF_INIT;
	struct vm_plan *vm = one_vm(&plan, "db", ACTION_RESTART);
	add_change(vm, "memory", "1Gi", "2Gi");
	vm->changes.at[0].pending = vm->pending = vm->disruptive = true;
	vm->downtime_ms = vm->at_a_time = 4;
	str_copy(vm->reason, sizeof(vm->reason), "because");
	str_copy(vm->summary, sizeof(vm->summary), "tiny");
	str_copy(vm->set, sizeof(vm->set), "db");
	str_copy(vm->after, sizeof(vm->after), "cache");
	str_copy(plan.guard, sizeof(plan.guard), "would delete all");
	assert_int_equal(fs_read(AT_FDCWD, "schema/plan.schema.json", 1 << 20, &text, &err), 0);
	auto_json cJSON *schema = json_parse(text.data, text.len, &err);
	auto_json cJSON *json = plan_to_json(&plan);
	const cJSON *defs = json_get(schema, "$defs"), *of_vm = json_get(defs, "vm");
	const cJSON *row = json_get(json, "vms")->child;
	assert_of_schema(json, json_get(defs, "plan"));
	assert_of_schema(row, of_vm);
	const cJSON *change = json_get(json_get(json_get(of_vm, "properties"), "changes"), "items");
	assert_of_schema(json_get(row, "changes")->child, change);
	const cJSON *properties = json_get(of_vm, "properties");
	assert_enum(json_get(properties, "kind"), kind_name, 1, ACTION_COUNT_);
	assert_enum(json_get(properties, "class"), class_name, 0, CLASS_COUNT_);
	plan_clear(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_travel_both_ways),
		cmocka_unit_test(policies_restart_what_they_say),
		cmocka_unit_test(the_guard_allows_half_of_the_largest),
		cmocka_unit_test(many_small_deletions_are_one_large_one),
		cmocka_unit_test(the_digest_sees_every_difference),
		cmocka_unit_test(text_is_coloured_by_sign_and_cannot_drive_a_terminal),
		cmocka_unit_test(the_wire_is_strict),
		cmocka_unit_test(pages_add_up_to_the_plan),
		cmocka_unit_test(a_workspace_is_what_its_record_says),
		cmocka_unit_test(the_published_schema_is_what_is_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
