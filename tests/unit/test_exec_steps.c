/* The table of capabilities and its runner. */
#include "exec/capability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct host host = { .vms_dir = "/nowhere" };
static char trace[256];

static void note(const char *what)
{
	size_t len = strlen(trace);
	snprintf(trace + len, sizeof(trace) - len, "%s ", what);
}

static struct job *new_job(enum action_kind kind, bool runs)
{
	struct job *job = job_new(&host, kind, "0123456789", "web");
	static struct vm_spec want; /* never packed: the job must not free it */
	want = (struct vm_spec){ .state = STATE_RUNNING, .work_disk = 1 << 20 };
	job->want = &want;
	if (runs)
		job->pidfd = 0;
	trace[0] = '\0';
	return job;
}

static void end_job(struct job *job)
{
	job->pidfd = -1;
	job->want = NULL;
	job_free(job);
}

/* "stop sockets ..." of an action. */
static const char *steps_of(struct job *job)
{
	const struct step *steps[STEPS_MAX];
	size_t count = job_steps(job, steps);
	for (size_t i = 0; i < count; i++)
		note(steps[i]->name);
	return trace;
}

static void what_came_last_goes_first(void **state)
{
	(void)state;
	struct job *job = new_job(ACTION_DELETE, true);
	assert_string_equal(steps_of(job),
			    "stop sockets seed rules network devices run mark old devices remove ");
	end_job(job);
}

static void a_vm_at_rest_has_nothing_to_release(void **state)
{
	(void)state;
	struct job *job = new_job(ACTION_DELETE, false);
	assert_string_equal(steps_of(job), "old devices remove ");
	end_job(job);
	job = new_job(ACTION_RESTART, false);
	job->want->state = STATE_STOPPED;
	assert_string_equal(steps_of(job), "directory system disk work disk ");
	end_job(job);
}

static void what_is_not_wanted_is_not_made_but_fitted(void **state)
{
	(void)state;
	struct job *job = new_job(ACTION_CREATE, false);
	job->want->work_disk = 0;
	assert_null(strstr(steps_of(job), "work disk"));
	end_job(job);
	job = new_job(ACTION_START, false);
	job->want->work_disk = 0;
	const char *work = strstr(steps_of(job), "work disk");
	assert_non_null(work); /* it may have to go */
	assert_null(strstr(work + 1, "work disk"));
	end_job(job);
}

static void a_live_change_of_a_vm_at_rest_fits_its_disks(void **state)
{
	(void)state;
	struct job *job = new_job(ACTION_LIVE, false);
	assert_string_equal(steps_of(job), "directory system disk work disk ");
	end_job(job);
	job = new_job(ACTION_LIVE, true);
	assert_non_null(strstr(steps_of(job), "ports"));
	end_job(job);
}

static void every_row_and_step_has_a_name(void **state)
{
	(void)state;
	for (size_t i = 0; capabilities[i]; i++) {
		assert_non_null(capabilities[i]->name);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(capabilities[i]->name, capabilities[j]->name);
		for (enum phase phase = PHASE_END; phase < PHASE_COUNT_; phase++)
			if (capabilities[i]->steps[phase].run)
				assert_non_null(capabilities[i]->steps[phase].name);
	}
}

static void all_steps_are_printed(void **state)
{
	(void)state;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	steps_print(to);
	fclose(to);
	assert_non_null(strstr(text, "create\thypervisor\n"));
	assert_non_null(strstr(text, "reimage\told system disk\n"));
	assert_non_null(strstr(text, "live\tports\n"));
	assert_null(strstr(text, "\nstart\tstop\n"));
	assert_null(strstr(text, "none\t"));
	free(text);
}

/* --- the runner --- */

static int run_a(struct job *job, struct error *err)
{
	(void)job;
	(void)err;
	note("a");
	return 0;
}
static void undo_a(struct job *job)
{
	(void)job;
	note("-a");
}
static int run_b(struct job *job, struct error *err)
{
	(void)job;
	note("b");
	return error_set(err, ERROR_SYSTEM, "no b");
}
static void undo_b(struct job *job)
{
	(void)job;
	note("-b");
}
static int run_c(struct job *job, struct error *err)
{
	(void)err;
	note("c");
	atomic_store(&job->cancel, true);
	return 0;
}
static const struct step step_a = { "first", run_a, undo_a }, step_b = { "second", run_b, undo_b },
			 step_c = { "third", run_c, NULL };

static void a_failure_unwinds_newest_first_its_own_step_too(void **state)
{
	(void)state;
	const struct step *steps[] = { &step_a, &step_b, &step_c };
	struct job *job = new_job(ACTION_CREATE, false);
	struct error err = { 0 };
	assert_int_equal(steps_run(job, steps, 3, &err), -1);
	assert_string_equal(trace, "a b -b -a ");
	assert_string_equal(err.text, "second: no b");
	end_job(job);
}

static void a_superseded_action_ends_at_its_next_step(void **state)
{
	(void)state;
	const struct step *steps[] = { &step_c, &step_a };
	struct job *job = new_job(ACTION_CREATE, false);
	struct error err = { 0 };
	assert_int_equal(steps_run(job, steps, 2, &err), -1);
	assert_string_equal(trace, "c -a ");
	assert_int_equal(err.code, ERROR_CANCELLED);
	end_job(job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_came_last_goes_first),
		cmocka_unit_test(a_vm_at_rest_has_nothing_to_release),
		cmocka_unit_test(what_is_not_wanted_is_not_made_but_fitted),
		cmocka_unit_test(a_live_change_of_a_vm_at_rest_fits_its_disks),
		cmocka_unit_test(every_row_and_step_has_a_name),
		cmocka_unit_test(all_steps_are_printed),
		cmocka_unit_test(a_failure_unwinds_newest_first_its_own_step_too),
		cmocka_unit_test(a_superseded_action_ends_at_its_next_step),
	};
	return cmocka_run_group_tests_name("exec_steps", tests, NULL, NULL);
}
