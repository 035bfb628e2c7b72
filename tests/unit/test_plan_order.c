/* plan/order: in whatever order a stack is looked at, nobody starts before those it depends on are
 * ready, nobody stops before those that depend on it have, and everything ends as it shall. */
#include "test_dice_help.h"

#include "plan/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 3000
#define VMS    8
#define TURNS  400

struct sim {
	struct order_vm vms[VMS];
	struct vm_spec specs[VMS];
	const char *names[VMS][VMS];
	bool busy[VMS]; /* a job is under way, or it boots */
	unsigned waited[VMS];
};

/* Who depends on whom follows another order than the names do. */
static void sim_init(struct sim *sim)
{
	unsigned place[VMS];
	*sim = (struct sim){ 0 };
	for (unsigned i = 0; i < VMS; i++) {
		unsigned k = roll(i + 1);
		place[i] = place[k];
		place[k] = i;
		sim->specs[i].name[0] = (char)('a' + i);
		sim->specs[i].set = i >= VMS - 3 ? "set" : "";
	}
	for (unsigned i = 0; i < VMS; i++)
		for (unsigned k = 0; k < VMS; k++) {
			struct string_list *list = &sim->specs[i].depends_on;
			if (place[k] >= place[i] || roll(3))
				continue;
			list->at = sim->names[i];
			list->at[list->count++] = sim->specs[k].name;
		}
}

static bool depends(const struct sim *sim, unsigned i, unsigned k)
{
	return i != k && order_depends(&sim->specs[i], &sim->specs[k]);
}

static bool may_start(const struct sim *sim, unsigned i)
{
	for (unsigned k = 0; k < VMS; k++)
		if (depends(sim, i, k) && order_start(&sim->vms[k]) != ORDER_GO)
			return false;
	return true;
}

static bool may_stop(const struct sim *sim, unsigned i)
{
	for (unsigned k = 0; k < VMS; k++)
		if (depends(sim, k, i) && order_stop(&sim->vms[k]) != ORDER_GO)
			return false;
	return true;
}

static void take_turn(struct sim *sim, unsigned i)
{
	struct order_vm *vm = &sim->vms[i];
	if (sim->busy[i]) { /* a stop ends, a boot gets ready */
		vm->up = vm->ready = !vm->leaving;
		sim->busy[i] = vm->changing = false;
	} else if (vm->leaving && vm->up && may_stop(sim, i)) {
		for (unsigned k = 0; k < VMS; k++)
			if (depends(sim, k, i))
				assert_false(sim->vms[k].up && sim->vms[k].leaving);
		sim->busy[i] = vm->changing = true;
	} else if (!vm->leaving && !vm->up && may_start(sim, i)) {
		for (unsigned k = 0; k < VMS; k++)
			if (depends(sim, i, k))
				assert_true(sim->vms[k].up && sim->vms[k].ready);
		vm->up = true;
		sim->busy[i] = true;
	}
}

static bool is_done(const struct sim *sim)
{
	for (unsigned i = 0; i < VMS; i++)
		if (sim->busy[i] || sim->vms[i].up == sim->vms[i].leaving)
			return false;
	return true;
}

static void run(struct sim *sim, unsigned round)
{
	unsigned turns = 0;
	while (!is_done(sim) && turns++ < TURNS * VMS)
		take_turn(sim, roll(VMS));
	if (!is_done(sim))
		fail_msg("round %u does not end", round);
}

static void everything_comes_in_order(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct sim sim;
		seed = UINT64_C(0x9e3779b97f4a7c15) * round;
		sim_init(&sim);
		run(&sim, round);
		for (unsigned i = 0; i < VMS; i++) /* all of them, so that nobody is blocked */
			sim.vms[i].leaving = true;
		run(&sim, round);
		for (unsigned i = 0; i < VMS; i++)
			sim.vms[i].leaving = false;
		run(&sim, round);
	}
}

static void verdicts(void **state)
{
	(void)state;
	struct order_vm ready = { .up = true, .ready = true };
	struct order_vm vm = ready;
	assert_int_equal(order_start(&vm), ORDER_GO);
	vm.failed = true; /* an error of long ago does not keep a ready one from being one */
	assert_int_equal(order_start(&vm), ORDER_GO);
	vm.ready = false;
	assert_int_equal(order_start(&vm), ORDER_BLOCKED);
	vm.failed = false;
	assert_int_equal(order_start(&vm), ORDER_WAIT);
	vm = ready;
	vm.changing = true;
	assert_int_equal(order_start(&vm), ORDER_WAIT);
	vm.leaving = true;
	assert_int_equal(order_start(&vm), ORDER_BLOCKED);
	assert_int_equal(order_stop(&vm), ORDER_WAIT);
	vm.failed = true; /* one that cannot be stopped keeps nobody else from it */
	assert_int_equal(order_stop(&vm), ORDER_GO);
	assert_int_equal(order_stop(&ready), ORDER_GO);
}

static void a_set_is_all_its_replicas(void **state)
{
	(void)state;
	const char *names[] = { "worker", "db" };
	struct vm_spec web = { .name = "web", .set = "", .depends_on = { names, 2 } };
	struct vm_spec db = { .name = "db", .set = "" };
	struct vm_spec replica = { .name = "worker-7", .set = "worker" };
	struct vm_spec other = { .name = "worker-8", .set = "" };
	assert_true(order_depends(&web, &db));
	assert_true(order_depends(&web, &replica));
	assert_false(order_depends(&web, &other));
	assert_false(order_depends(&db, &web));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_comes_in_order),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(a_set_is_all_its_replicas),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
