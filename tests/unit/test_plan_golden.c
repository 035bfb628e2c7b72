/* The planner's cases: tests/plan/<case>/{want.yaml,have.yaml,state.json,plan.txt}.
 *
 * want.yaml is the source, have.yaml what the VMs are made of (either may be missing). A VM of
 * have.yaml exists, belongs to the stack and runs as its `state` says, unless state.json says
 * otherwise; it was started with the memory it has, unless "started" says so:
 *   { "stack": "demo", "options": { "prune": true, … }, "can": ["vcpus", …],
 *     "vms": { "db": { "running": false, "owner": "", "hold": "stop", "exit": "guest-panic", … } }
 * } UPDATE=1 rewrites plan.txt. Every plan also travels over the wire and must come out the same.
 */
#include "base/fs.h"
#include "base/json.h"
#include "base/units.h"
#include "plan/plan.h"
#include "schema/spec_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define CASES "tests/plan"

static const struct image_hint images[] = { { "tiny", 128u << 20, 0 },
					    { "debian", 512u << 20, 0 } };

DEFINE_VEC(member_vec, struct plan_member)
DEFINE_VEC(name_vec, char *)

struct world {
	struct spec_set want, have;
	cJSON *state;
	struct member_vec members;
	struct plan_options options;
	const char *stack;
};

static void load_specs(const char *dir, const char *file, struct spec_set *ret)
{
	auto_free char *path = xasprintf("%s/%s", dir, file);
	auto_buf struct buf text = BUF_INIT;
	struct error err;
	struct fault_vec faults = { 0 };
	struct spec_context context = { .images = images, .image_count = ARRAY_COUNT(images) };
	*ret = (struct spec_set){ 0 };
	if (fs_read(AT_FDCWD, path, SPEC_FILE_MAX, &text, &err) < 0) {
		assert_int_equal(err.sys, ENOENT);
		return;
	}
	struct spec_source source = {
		.name = path, .text = text.data, .len = text.len, .directory = "/nowhere"
	};
	if (spec_load(&source, 1, &context, ret, &faults) < 0) {
		auto_free char *fault = fault_format(&faults.at[0]);
		faults_clear(&faults);
		fail_msg("%s", fault);
	}
}

static cJSON *load_state(const char *dir)
{
	auto_free char *path = xasprintf("%s/state.json", dir);
	auto_buf struct buf text = BUF_INIT;
	struct error err;
	if (fs_read(AT_FDCWD, path, SPEC_FILE_MAX, &text, &err) < 0)
		return cJSON_CreateObject();
	cJSON *state = json_parse(text.data, text.len, &err);
	if (!state)
		fail_msg("%s: %s", path, err.text);
	return state;
}

static void read_options(struct world *world)
{
	const cJSON *options = json_get(world->state, "options");
	const cJSON *can = json_get(world->state, "can"), *item;
	struct plan_options *to = &world->options;
	to->prune = json_bool(options, "prune", false);
	to->prune_all = json_bool(options, "prune_all", false);
	to->adopt = json_bool(options, "adopt", false);
	to->watched = json_bool(options, "watched", false);
	to->policy.no_restart = json_bool(options, "no_restart", false);
	to->policy.may_restart = json_bool(options, "may_restart", false);
	to->largest_recent = (size_t)json_int(options, "largest_recent", 0);
	to->policy.allow_data_loss = json_bool(options, "allow_data_loss", false);
	to->policy.can = (struct capabilities){ .live_ports = !can,
						.live_disk_grow = !can,
						.live_ssh_keys = !can,
						.live_memory = !can };
	cJSON_ArrayForEach(item, can)
	{
		const char *name = cJSON_GetStringValue(item);
		to->policy.can.live_ports |= !strcmp(name, "ports");
		to->policy.can.live_disk_grow |= !strcmp(name, "disk_grow");
		to->policy.can.live_vcpus |= !strcmp(name, "vcpus");
		to->policy.can.live_nat |= !strcmp(name, "nat");
		to->policy.can.live_ssh_keys |= !strcmp(name, "ssh_keys");
		to->policy.can.live_memory |= !strcmp(name, "memory");
	}
}

static void started_with(struct plan_vm_state *state, const char *size)
{
	struct error err;
	if (!state->running)
		return;
	state->memory_floor = state->have->memory;
	state->memory_ceiling = vm_spec_memory_max(state->have);
	if (size && units_parse_size(size, &state->memory_floor, &err) < 0)
		fail_msg("%s", err.text);
}

static void add_member(struct world *world, const char *name)
{
	for (size_t i = 0; i < world->members.count; i++)
		if (!strcmp(world->members.at[i].name, name))
			return;
	const struct vm_spec *have = spec_set_find(&world->have, name);
	const cJSON *json = json_get(json_get(world->state, "vms"), name);
	const cJSON *workspace = json_get(json, "workspace");
	const char *hold = json_str(json, "hold", "none");
	struct plan_vm_state state = {
		.exists = json_bool(json, "exists", have != NULL),
		.disks_made = json_bool(json, "disks_made", have != NULL),
		.running = json_bool(json, "running", have && have->state == STATE_RUNNING),
		.have = have,
		.stack = json_str(json, "owner", world->stack),
		.hold = !strcmp(hold, "stop")	? HOLD_STOP
			: !strcmp(hold, "kill") ? HOLD_KILL
						: HOLD_NONE,
		.exit = exit_reason_parse(json_str(json, "exit", "none")),
		.bridged = json_bool(json, "bridged", false),
		.boot_ms = (uint64_t)json_int(json, "boot_ms", 0),
		.exit_current = json_bool(json, "exit_current", false),
		.expired = json_bool(json, "expired", false),
		.expired_current = json_bool(json, "expired_current", false),
		.workspace = { .known = json_get(json, "workspace") != NULL,
			       .as_wanted = json_bool(workspace, "as_wanted", true) },
		.image_outdated = json_bool(json, "image_outdated", false),
	};
	started_with(&state, json_str(json, "started", NULL));
	str_copy(state.workspace.prepared, sizeof(state.workspace.prepared),
		 json_str(workspace, "prepared", ""));
	str_copy(state.workspace.host, sizeof(state.workspace.host),
		 json_str(workspace, "host", ""));
	member_vec_push(&world->members,
			(struct plan_member){ name, spec_set_find(&world->want, name), state });
}

static int member_compare(const void *a, const void *b)
{
	return strcmp(((const struct plan_member *)a)->name, ((const struct plan_member *)b)->name);
}

static void world_load(struct world *world, const char *dir)
{
	*world = (struct world){ .state = load_state(dir) };
	load_specs(dir, "want.yaml", &world->want);
	load_specs(dir, "have.yaml", &world->have);
	world->stack = json_str(world->state, "stack", "demo");
	read_options(world);
	for (size_t i = 0; i < world->want.count; i++)
		add_member(world, world->want.vms[i]->name);
	for (size_t i = 0; i < world->have.count; i++)
		add_member(world, world->have.vms[i]->name);
	if (world->members.count)
		qsort(world->members.at, world->members.count, sizeof(*world->members.at),
		      member_compare);
}

static void world_clear(struct world *world)
{
	member_vec_clear(&world->members);
	spec_set_clear(&world->want);
	spec_set_clear(&world->have);
	cJSON_Delete(world->state);
}

static void check_wire(const struct plan *plan, const char *text)
{
	struct error err;
	struct plan back;
	auto_json cJSON *json = plan_to_json(plan);
	auto_free char *wire = json_print(json);
	auto_json cJSON *read = json_parse(wire, strlen(wire), &err);
	assert_int_equal(plan_from_json(read, &back, &err), 0);
	auto_free char *again = plan_format(&back, false);
	assert_string_equal(again, text);
	assert_int_equal(plan_digest(&back), plan_digest(plan));
	assert_int_equal(plan_is_refused(&back), plan_is_refused(plan));
	assert_int_equal(plan_is_disruptive(&back), plan_is_disruptive(plan));
	assert_int_equal(plan_is_empty(&back), plan_is_empty(plan));
	plan_clear(&back);
}

/* What apply asks and how it ends is part of a case, below the plan's own text. */
static char *describe(const struct plan *plan)
{
	auto_free char *text = plan_format(plan, false);
	check_wire(plan, text);
	return xasprintf("%s[%s%s%s]\n", text, plan_is_empty(plan) ? "empty" : "changes",
			 plan_is_disruptive(plan) ? ", disruptive" : "",
			 plan_is_refused(plan) ? ", refused" : "");
}

static bool check_case(const char *name)
{
	auto_free char *dir = xasprintf("%s/%s", CASES, name);
	auto_free char *path = xasprintf("%s/plan.txt", dir);
	struct error err;
	struct world world;
	struct plan plan;
	world_load(&world, dir);
	plan_stack(world.stack, world.members.at, world.members.count, &world.options, &plan);
	auto_free char *text = describe(&plan);
	plan_clear(&plan);
	world_clear(&world);

	if (getenv("UPDATE")) {
		assert_int_equal(fs_write(AT_FDCWD, path, text, strlen(text), 0644, &err), 0);
		return true;
	}
	auto_buf struct buf golden = BUF_INIT;
	if (fs_read(AT_FDCWD, path, SPEC_FILE_MAX, &golden, &err) == 0 &&
	    !strcmp(golden.data, text))
		return true;
	print_error("%s: expected\n%sbut got\n%s", name, golden.data, text);
	return false;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void every_case_plans_as_written(void **state)
{
	(void)state;
	struct name_vec names = { 0 };
	size_t bad = 0;
	auto_dir DIR *dir = opendir(CASES);
	assert_non_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (*entry->d_name != '.')
			name_vec_push(&names, xstrdup(entry->d_name));
	assert_true(names.count >= 30);
	qsort(names.at, names.count, sizeof(*names.at), name_compare);
	for (size_t i = 0; i < names.count; i++) {
		bad += !check_case(names.at[i]);
		free(names.at[i]);
	}
	print_message("  %zu cases\n", names.count);
	name_vec_clear(&names);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_case_plans_as_written) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
