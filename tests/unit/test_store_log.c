/* store: events as a ring, history as revisions that can be taken back. */
#include "test_store_help.h"

static void reopen(void)
{
	store_close(store);
	store = store_open(path, &err);
	assert_non_null(store);
}

/* --- events --- */

static void add_event(int64_t at_ms, const char *vm, const char *stack)
{
	char *vm_copy = xstrdup(vm), *stack_copy = xstrdup(stack), kind[] = "ready", text[] = "x";
	struct store_event event = {
		.at_ms = at_ms, .vm = vm_copy, .stack = stack_copy, .kind = kind, .text = text
	};
	assert_int_equal(store_event_add(store, &event, &err), 0);
	free(vm_copy);
	free(stack_copy);
}

/* "3 4 5": the ids that a query gives. */
static void assert_events(const struct store_event_query *query, const char *want)
{
	struct store_event_vec events = { 0 };
	auto_buf struct buf have = BUF_INIT;
	assert_int_equal(store_events(store, query, &events, &err), 0);
	for (size_t i = 0; i < events.count; i++)
		buf_addf(&have, "%s%d", i ? " " : "", (int)events.at[i].id);
	store_events_clear(&events);
	assert_string_equal(have.data ? have.data : "", want);
}

static void events_come_in_order_and_by_name(void **state)
{
	(void)state;
	add_event(100, "web", "demo");
	add_event(200, "db", "demo");
	add_event(300, "web", "");
	add_event(400, "", "demo");
	assert_events(&(struct store_event_query){ .limit = 10 }, "1 2 3 4");
	assert_events(&(struct store_event_query){ .after = 1, .limit = 2 }, "2 3");
	assert_events(&(struct store_event_query){ .limit = 10, .newest = 2 }, "3 4");
	assert_events(&(struct store_event_query){ .limit = 2, .newest = 3 }, "2 3");
	assert_events(&(struct store_event_query){ .since_ms = 200, .limit = 2 }, "2 3");
	assert_events(&(struct store_event_query){ .name = "web", .limit = 10 }, "1 3");
	assert_events(&(struct store_event_query){ .name = "demo", .limit = 10 }, "1 2 4");
	assert_events(
		&(struct store_event_query){ .name = "web", .limit = 10, .newest = 1, .after = 1 },
		"3");
}

static void ids_of_dropped_events_are_not_used_again(void **state)
{
	(void)state;
	int64_t last = -1;
	assert_int_equal(store_event_last(store, &last, &err), 0);
	assert_int_equal(last, 0);
	for (int i = 1; i <= 5; i++)
		add_event(i * 100, "web", "");
	assert_int_equal(store_events_trim(store, 2, &err), 0);
	assert_events(&(struct store_event_query){ .limit = 10 }, "3 4 5");
	assert_int_equal(store_events_expire(store, 500, &err), 0);
	assert_events(&(struct store_event_query){ .limit = 10 }, "5");
	assert_int_equal(store_events_trim(store, 5, &err), 0);
	reopen();
	assert_int_equal(store_event_last(store, &last, &err), 0);
	assert_int_equal(last, 5);
	add_event(600, "web", "");
	assert_events(&(struct store_event_query){ .limit = 10 }, "6");
}

/* --- history --- */

struct step {
	const char *name, *stack_before, *spec_before, *stack_after, *spec_after;
};

static int64_t add_revision(const char *stack, const struct step *steps, size_t count)
{
	struct store_change_vec changes = { 0 };
	for (size_t i = 0; i < count; i++)
		store_change_vec_push(
			&changes,
			(struct store_change){ .name = xstrdup(steps[i].name),
					       .stack_before = xstrdup(steps[i].stack_before),
					       .spec_before = xstrdup(steps[i].spec_before),
					       .stack_after = xstrdup(steps[i].stack_after),
					       .spec_after = xstrdup(steps[i].spec_after) });
	struct store_revision revision = { .at_ms = 1,
					   .uid = 1000,
					   .who = xstrdup("ann"),
					   .stack = xstrdup(stack),
					   .source = xstrdup("/srv/vms.yaml"),
					   .kind = xstrdup("apply"),
					   .summary = xstrdup("1 changed") };
	int64_t rev = 0;
	assert_int_equal(store_revision_add(store, &revision, &changes, &rev, &err), 0);
	store_revision_clear(&revision);
	store_changes_clear(&changes);
	return rev;
}

static void assert_revisions(int64_t below, const char *name, const char *want)
{
	struct store_revision_vec list = { 0 };
	auto_buf struct buf have = BUF_INIT;
	assert_int_equal(store_revisions(store, below, name, 10, &list, &err), 0);
	for (size_t i = 0; i < list.count; i++)
		buf_addf(&have, "%s%d", i ? " " : "", (int)list.at[i].rev);
	store_revisions_clear(&list);
	assert_string_equal(have.data ? have.data : "", want);
}

/* "web=a db=-": what the VMs that were touched after rev were at rev. */
static void assert_undo(int64_t rev, const char *want)
{
	struct store_change_vec list = { 0 };
	auto_buf struct buf have = BUF_INIT;
	assert_int_equal(store_changes_undo(store, rev, &list, &err), 0);
	for (size_t i = 0; i < list.count; i++)
		buf_addf(&have, "%s%s=%s", i ? " " : "", list.at[i].name,
			 list.at[i].spec_before ? list.at[i].spec_before : "-");
	store_changes_clear(&list);
	assert_string_equal(have.data ? have.data : "", want);
}

static void write_a_story(void)
{
	const struct step first[] = { { "db", NULL, NULL, "s", "d1" },
				      { "web", NULL, NULL, "s", "w1" } };
	const struct step second[] = { { "web", "s", "w1", "s", "w2" } };
	const struct step third[] = { { "db", "s", "d1", NULL, NULL },
				      { "new", NULL, NULL, "s", "n1" },
				      { "web", "s", "w2", "s", "w3" } };
	const struct step other[] = { { "lone", NULL, NULL, "", "l1" } };
	assert_int_equal(add_revision("s", first, 2), 1);
	assert_int_equal(add_revision("s", second, 1), 2);
	assert_int_equal(add_revision("", other, 1), 3);
	assert_int_equal(add_revision("s", third, 3), 4);
}

static void revisions_are_found_by_stack_and_by_vm(void **state)
{
	(void)state;
	write_a_story();
	assert_revisions(0, NULL, "4 3 2 1");
	assert_revisions(3, NULL, "2 1");
	assert_revisions(0, "s", "4 2 1");
	assert_revisions(0, "db", "4 1");
	assert_revisions(0, "lone", "3");
	assert_revisions(0, "nobody", "");
	struct store_revision head;
	assert_int_equal(store_revision(store, 4, &head, &err), 0);
	assert_string_equal(head.who, "ann");
	assert_string_equal(head.source, "/srv/vms.yaml");
	assert_string_equal(head.summary, "1 changed");
	assert_true(head.uid == 1000 && head.vms == 3 && head.bytes > 0);
	store_revision_clear(&head);
	const int64_t none[] = { 0, -1, 5, INT64_MAX };
	for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
		assert_int_equal(store_revision(store, none[i], &head, &err), -1);
		assert_int_equal(err.code, ERROR_NOT_FOUND);
	}
	struct store_change_vec changes = { 0 };
	assert_int_equal(store_changes(store, 4, "db", 1, &changes, &err), 0);
	assert_int_equal(changes.count, 1);
	assert_string_equal(changes.at[0].name, "new");
	assert_null(changes.at[0].spec_before);
	assert_string_equal(changes.at[0].stack_after, "s");
	store_changes_clear(&changes);
}

static void later_revisions_are_taken_back(void **state)
{
	(void)state;
	write_a_story();
	assert_undo(4, "");
	assert_undo(3, "db=d1 new=- web=w2");
	assert_undo(1, "db=d1 lone=- new=- web=w1");
	assert_undo(0, "db=- lone=- new=- web=-");
}

static void the_oldest_go_first_and_the_newest_stays(void **state)
{
	(void)state;
	write_a_story();
	assert_int_equal(store_history_trim(store, 10, 1 << 20, &err), 0);
	assert_revisions(0, NULL, "4 3 2 1");
	assert_int_equal(store_history_trim(store, 3, 1 << 20, &err), 0);
	assert_revisions(0, NULL, "4 3 2");
	assert_undo(0, "db=d1 lone=- new=- web=w1");
	assert_int_equal(store_history_trim(store, 10, 1, &err), 0);
	assert_revisions(0, NULL, "4");
	reopen();
	const struct step more[] = { { "web", "s", "w3", "s", "w4" } };
	assert_int_equal(add_revision("s", more, 1), 5);
}

static void a_revision_goes_with_its_transaction(void **state)
{
	(void)state;
	assert_int_equal(store_begin(store, &err), 0);
	write_a_story();
	store_rollback(store);
	assert_revisions(0, NULL, "");
	assert_undo(0, "");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(events_come_in_order_and_by_name),
		CASE(ids_of_dropped_events_are_not_used_again),
		CASE(revisions_are_found_by_stack_and_by_vm),
		CASE(later_revisions_are_taken_back),
		CASE(the_oldest_go_first_and_the_newest_stays),
		CASE(a_revision_goes_with_its_transaction),
	};
	return cmocka_run_group_tests_name("store/log", tests, NULL, NULL);
}
