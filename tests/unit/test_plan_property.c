/* plan: whatever is wanted and whatever is there, doing what the plan says leaves nothing to do. */
#include "test_dice_help.h"

#include "plan/plan.h"
#include "schema/spec_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define ROUNDS 3000
#define VMS    6

static bool chance(unsigned one_in)
{
	return roll(one_in) == 0;
}

static const char *const assignments[] = {
	"vcpus=1",	     "vcpus=4",
	"memory=256Mi",	     "memory=1Gi",
	"image=debian",	     "system_disk=4Gi",
	"system_disk=20Gi",  "work_disk=0",
	"work_disk=1Gi",     "work_disk=20Gi",
	"nat=true",	     "state=stopped",
	"restart=never",     "restart=on-failure",
	"protect=true",	     "ttl=2h",
	"kernel_args=debug", "memory_max=2Gi",
	"memory_max=0",
};

static struct vm_spec *random_spec(const char *name)
{
	static const struct image_hint images[] = { { "tiny", 128u << 20, 0 },
						    { "debian", 128u << 20, 0 } };
	struct spec_context context = { .images = images, .image_count = ARRAY_COUNT(images) };
	struct error err;
	struct vm_spec *spec = vm_spec_with(NULL, name, NULL, 0, &context, &err);
	for (unsigned left = roll(4); spec && left; left--) {
		const char *assignment = assignments[roll(ARRAY_COUNT(assignments))];
		struct vm_spec *next = vm_spec_with(spec, name, &assignment, 1, &context, &err);
		vm_spec_free(spec);
		spec = next;
	}
	if (!spec)
		fail_msg("%s", err.text);
	return spec;
}

static const char *const names[VMS] = { "a", "b", "c", "d", "e", "f" };
static const char *const owners[] = { "demo", "demo", "demo", "", "prod" };

struct world {
	struct plan_member members[VMS];
	struct vm_spec *want[VMS], *have[VMS]; /* owned */
	struct plan_options options;
};

static void random_member(struct world *world, size_t i)
{
	struct plan_member *member = &world->members[i];
	struct plan_vm_state *have = &member->have;
	world->want[i] = chance(4) ? NULL : random_spec(names[i]);
	*member = (struct plan_member){ .name = names[i], .want = world->want[i] };
	have->stack = "";
	have->expired_current = chance(20);
	if (chance(4))
		return;
	world->have[i] = random_spec(names[i]);
	have->have = world->have[i];
	have->exists = true;
	have->disks_made = !chance(6);
	have->running = have->disks_made && !chance(3);
	if (have->running && !chance(4)) {
		have->memory_floor = (UINT64_C(128) << roll(4)) << 20;
		have->memory_ceiling = have->memory_floor << roll(3);
	}
	have->stack = owners[roll(ARRAY_COUNT(owners))];
	have->hold = chance(5) ? (enum hold_kind)(1 + roll(2)) : HOLD_NONE;
	have->exit = have->running ? EXIT_NONE : (enum exit_reason)roll(EXIT_COUNT_);
	have->exit_current = chance(2);
	have->image_outdated = chance(8);
}

static void world_init(struct world *world)
{
	*world = (struct world){ 0 };
	for (size_t i = 0; i < VMS; i++)
		random_member(world, i);
	world->options = (struct plan_options){
		.policy = { .can = { chance(2), chance(2), chance(2), chance(2), chance(2),
				     chance(2), 0, 0 },
			    .allow_data_loss = chance(2),
			    .may_restart = chance(4) },
		.prune = chance(2),
		.prune_all = chance(4),
		.adopt = true,
		.watched = chance(2),
		.largest_recent = roll(9),
	};
}

static void world_clear(struct world *world)
{
	for (size_t i = 0; i < VMS; i++) {
		vm_spec_free(world->want[i]);
		vm_spec_free(world->have[i]);
	}
}

/* What an executor makes of one entry: the promises in plan.h, and nothing beyond them. */
static void execute(const struct vm_plan *vm, struct plan_member *member, bool lift)
{
	struct plan_vm_state *have = &member->have;
	bool on = member->want && member->want->state == STATE_RUNNING;
	switch (vm->kind) {
	case ACTION_ADOPT:
		have->stack = "demo";
		return;
	case ACTION_DELETE:
		*have = (struct plan_vm_state){ .stack = "",
						.expired_current = have->expired_current };
		return;
	case ACTION_CREATE:
		have->exists = have->disks_made = true;
		have->stack = "demo";
		have->running = on;
		break;
	case ACTION_REIMAGE:
		have->running = on;
		break;
	case ACTION_START:
	case ACTION_RESTART:
		have->running = true;
		break;
	case ACTION_STOP:
		have->running = false;
		break;
	case ACTION_LIVE:
		break;
	default:
		return;
	}
	have->have = member->want;
	have->image_outdated = false;
	if (have->running)
		have->exit = EXIT_NONE;
	if (lift || (have->running && vm->kind != ACTION_LIVE))
		have->hold = HOLD_NONE;
}

static void check_order(const struct plan *plan)
{
	for (size_t i = 1; i < plan->count; i++)
		assert_true(strcmp(plan->vms[i - 1].name, plan->vms[i].name) < 0);
}

static size_t stack_size(const struct world *world)
{
	size_t size = 0;
	for (size_t i = 0; i < VMS; i++)
		size += world->members[i].have.exists &&
			!strcmp(world->members[i].have.stack, "demo");
	return size;
}

/* Executes the plan; does any entry remain that would be acted upon? */
static bool execute_all(struct world *world)
{
	struct plan plan, again;
	bool acted = false;
	size_t now = stack_size(world);
	if (world->options.largest_recent < now)
		world->options.largest_recent = now;
	plan_stack("demo", world->members, VMS, &world->options, &plan);
	plan_stack("demo", world->members, VMS, &world->options, &again);
	check_order(&plan);
	assert_int_equal(plan_digest(&plan), plan_digest(&again));
	plan_clear(&again);
	for (size_t i = 0; i < plan.count; i++) {
		const struct vm_plan *vm = &plan.vms[i];
		acted |= vm->kind != ACTION_NONE && vm->kind != ACTION_WAIT &&
			 vm->kind != ACTION_KEEP && vm->kind != ACTION_REFUSE;
		for (size_t k = 0; k < VMS; k++)
			if (!strcmp(world->members[k].name, vm->name))
				execute(vm, &world->members[k], !world->options.watched);
	}
	assert_int_equal(plan_is_empty(&plan), !acted && !plan.refused);
	plan_clear(&plan);
	return acted;
}

static void a_plan_that_was_done_leaves_nothing(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct world world;
		seed = UINT64_C(0x9e3779b97f4a7c15) * round;
		world_init(&world);
		execute_all(&world);
		execute_all(&world); /* what was adopted first */
		if (execute_all(&world))
			fail_msg("round %u does not converge", round);
		world_clear(&world);
	}
}

/* Left alone with everything as it should be, no flag of the options makes work. */
static void what_is_as_it_should_be_is_left_alone(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct world world;
		seed = UINT64_C(0xd1b54a32d192ed03) * round;
		world_init(&world);
		for (size_t i = 0; i < VMS; i++) {
			struct plan_member *member = &world.members[i];
			if (!member->want)
				member->want = world.want[i] = random_spec(names[i]);
			member->have = (struct plan_vm_state){
				.exists = true,
				.disks_made = true,
				.running = member->want->state == STATE_RUNNING,
				.have = member->want,
				.stack = "demo",
			};
		}
		assert_false(execute_all(&world));
		world_clear(&world);
	}
}

static bool differ(const struct vm_plan *vm, const char *key)
{
	for (size_t i = 0; i < vm->changes.count; i++)
		if (!strcmp(vm->changes.at[i].key, key))
			return true;
	return false;
}

/* Memory is never changed under a guest beyond what its process can do, and a guest is never
 * restarted for what it can. */
static void memory_is_live_within_its_bounds(void **state)
{
	(void)state;
	unsigned live = 0, restarts = 0;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct world world;
		struct plan plan;
		seed = UINT64_C(0x8ebc6af09c88c6e3) * round;
		world_init(&world);
		plan_stack("demo", world.members, VMS, &world.options, &plan);
		for (size_t i = 0; i < plan.count; i++) {
			const struct vm_plan *vm = &plan.vms[i];
			const struct plan_member *member = &world.members[vm->name[0] - 'a'];
			const struct plan_vm_state *have = &member->have;
			if (!have->running || !differ(vm, "memory"))
				continue;
			bool can = world.options.policy.can.live_memory &&
				   member->want->memory >= have->memory_floor &&
				   member->want->memory <= have->memory_ceiling;
			if (vm->kind == ACTION_LIVE)
				assert_true(can);
			if (vm->kind == ACTION_RESTART && vm->changes.count == 1)
				assert_false(can);
			live += vm->kind == ACTION_LIVE;
			restarts += vm->kind == ACTION_RESTART;
		}
		plan_clear(&plan);
		world_clear(&world);
	}
	if (live < 20 || restarts < 20)
		fail_msg("seen too seldom: %u live, %u restarts", live, restarts);
}

/* No data is lost, nothing protected or foreign is deleted, unless it was allowed. */
static void what_must_not_happen_does_not(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct world world;
		struct plan plan;
		size_t deleted = 0;
		seed = UINT64_C(0xa0761d6478bd642f) * round;
		world_init(&world);
		plan_stack("demo", world.members, VMS, &world.options, &plan);
		for (size_t i = 0; i < plan.count; i++) {
			const struct vm_plan *vm = &plan.vms[i];
			const struct plan_member *member = &world.members[vm->name[0] - 'a'];
			bool acts = vm->kind != ACTION_NONE && vm->kind != ACTION_KEEP &&
				    vm->kind != ACTION_WAIT && vm->kind != ACTION_REFUSE;
			if (acts && member->have.exists)
				assert_string_not_equal(member->have.stack, "prod");
			if (acts && vm->kind != ACTION_ADOPT && vm->worst == CLASS_DATA_LOSS)
				assert_true(world.options.policy.allow_data_loss && vm->disruptive);
			if (vm->kind != ACTION_DELETE)
				continue;
			const struct vm_spec *last =
				member->want ? member->want : member->have.have;
			assert_false(last && last->protect);
			deleted += !member->want;
		}
		if (!world.options.prune_all)
			assert_true(deleted <= plan_guard_allowance(stack_size(&world),
								    world.options.largest_recent));
		plan_clear(&plan);
		world_clear(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_that_was_done_leaves_nothing),
		cmocka_unit_test(what_is_as_it_should_be_is_left_alone),
		cmocka_unit_test(memory_is_live_within_its_bounds),
		cmocka_unit_test(what_must_not_happen_does_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
