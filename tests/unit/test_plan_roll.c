/* plan/roll: whatever happens meanwhile, no more replicas than allowed are away by our doing, the
 * first goes alone, a failure stops the rest, and without one all are changed in the end. */
#include "test_dice_help.h"

#include "plan/roll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define ROUNDS	2000
#define MEMBERS 9
#define TURNS	3000

/* What an executor sees, and what really is behind it. */
struct sim {
	struct roll_member members[MEMBERS];
	size_t count;
	uint32_t limit;
	bool bad;	  /* what is to come fails */
	bool up[MEMBERS]; /* really ready */
};

static void sim_init(struct sim *sim, bool bad, bool broken)
{
	*sim = (struct sim){ .count = 1 + roll(MEMBERS), .limit = 1 + roll(MEMBERS), .bad = bad };
	for (size_t i = 0; i < sim->count; i++) {
		struct roll_member *member = &sim->members[i];
		member->counts = roll(8) != 0;
		member->pending = roll(6) != 0;
		member->ready = member->counts && (!member->pending || !broken || roll(3));
		sim->up[i] = member->ready;
	}
}

/* Away because of the roll: of those, a daemon that was killed may know less. */
static size_t ours(const struct sim *sim)
{
	size_t count = 0;
	for (size_t i = 0; i < sim->count; i++)
		count += sim->members[i].counts && !sim->up[i] &&
			 (sim->members[i].changing || !sim->members[i].pending);
	return count;
}

static size_t ready_as_wanted(const struct sim *sim)
{
	size_t count = 0;
	for (size_t i = 0; i < sim->count; i++)
		count += sim->members[i].counts && sim->up[i] && !sim->members[i].pending;
	return count;
}

static void ask(struct sim *sim, size_t i)
{
	struct roll_member *member = &sim->members[i];
	size_t other = 0, before = ours(sim), proven = ready_as_wanted(sim);
	if (!member->pending || !member->counts || member->changing)
		return;
	enum roll_verdict verdict = roll_may_go(sim->members, sim->count, i, sim->limit, &other);
	if (verdict != ROLL_GO) {
		assert_true(other < sim->count);
		assert_int_equal(verdict == ROLL_STOPPED, sim->members[other].failed && other != i);
		return;
	}
	assert_false(member->unknown);
	if (!proven)
		assert_int_equal(before, 0);
	for (size_t k = 0; k < sim->count; k++)
		assert_false(k != i && sim->members[k].counts && sim->members[k].failed);
	member->changing = true;
	member->ready = sim->up[i] = false;
	assert_true(ours(sim) <= sim->limit);
}

static void progress(struct sim *sim, size_t i)
{
	struct roll_member *member = &sim->members[i];
	if (member->changing) { /* the job ends, it boots */
		member->changing = member->pending = false;
	} else if (member->counts && !member->ready && !member->pending) {
		member->failed = sim->bad;
		member->ready = sim->up[i] = !sim->bad;
	}
}

/* Nobody knows yet who is ready, and jobs that were under way are gone. */
static void forget(struct sim *sim)
{
	for (size_t i = 0; i < sim->count; i++) {
		struct roll_member *member = &sim->members[i];
		member->changing = false;
		member->ready = false;
		member->unknown = sim->up[i];
	}
}

static void learn(struct sim *sim, size_t i)
{
	sim->members[i].unknown = false;
	sim->members[i].ready = sim->up[i];
}

static size_t left(const struct sim *sim)
{
	size_t count = 0;
	for (size_t i = 0; i < sim->count; i++)
		count += sim->members[i].counts &&
			 (sim->members[i].pending || !sim->members[i].ready);
	return count;
}

static void run(struct sim *sim, bool kills)
{
	for (unsigned turn = 0; turn < TURNS && left(sim); turn++) {
		size_t i = roll((unsigned)sim->count);
		switch (roll(kills && turn < TURNS / 2 ? 40 : 3)) {
		case 0:
			learn(sim, i);
			break;
		case 3:
			forget(sim);
			break;
		default:
			if (roll(2))
				ask(sim, i);
			else
				progress(sim, i);
			break;
		}
	}
}

static void a_good_change_reaches_all(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct sim sim;
		seed = UINT64_C(0x9e3779b97f4a7c15) * round;
		sim_init(&sim, false, round % 2);
		run(&sim, round % 3 == 0);
		if (left(&sim))
			fail_msg("round %u: %zu of %zu are left", round, left(&sim), sim.count);
	}
}

/* A set that was whole, and of which nobody has what fails: one is lost. */
static void a_bad_change_reaches_one(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct sim sim;
		size_t away = 0;
		seed = UINT64_C(0xd1b54a32d192ed03) * round;
		sim_init(&sim, true, false);
		for (size_t i = 0; i < sim.count; i++)
			sim.members[i].pending = true;
		run(&sim, round % 3 == 0);
		for (size_t i = 0; i < sim.count; i++)
			away += sim.members[i].counts && !sim.up[i];
		assert_true(away <= 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_change_reaches_all),
		cmocka_unit_test(a_bad_change_reaches_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
