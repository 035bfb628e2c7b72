/* store: VMs, stacks and their sizes, in and out of transactions. */
#include "test_store_help.h"

#include <time.h>

static struct store_vm vm_of(const char *id, const char *name)
{
	struct store_vm vm = {
		.name = xstrdup(name), .stack = xstrdup(""), .spec = xstrdup("{}"), .revision = 1
	};
	assert_true(str_copy(vm.id, sizeof(vm.id), id));
	return vm;
}

static int put(const char *id, const char *name)
{
	struct store_vm vm = vm_of(id, name);
	int result = store_vm_put(store, &vm, &err);
	store_vm_clear(&vm);
	return result;
}

/* "a b c": the names in the order they come. */
static char *names(void)
{
	struct store_vm_vec vms = { 0 };
	auto_buf struct buf text = BUF_INIT;
	assert_int_equal(store_vms(store, &vms, &err), 0);
	for (size_t i = 0; i < vms.count; i++)
		buf_addf(&text, "%s%s", i ? " " : "", vms.at[i].name);
	store_vms_clear(&vms);
	return buf_take(&text);
}

static void assert_names(const char *want)
{
	auto_free char *have = names();
	assert_string_equal(have, want);
}

static void every_member_comes_back(void **state)
{
	(void)state;
	struct store_vm vm = vm_of("00000000ff", "web");
	vm.applied = xstrdup("{\"a\":\"\xc3\xa4\"}");
	vm.image_digest = xstrdup("sha256:aa");
	vm.kernel_digest = xstrdup("sha256:bb");
	vm.address = xstrdup("127.1.2.3");
	vm.exit_reason = xstrdup("killed");
	vm.deleting = vm.allow_data_loss = true;
	vm.hold = 3;
	vm.revision = INT64_MAX;
	vm.exit_revision = INT64_MIN;
	vm.expired_revision = 4;
	vm.created_ms = 1700000000123;
	vm.ephemeral = true;
	vm.workspace = xstrdup("{\"path\":\"/root/repo\"}");
	vm.good = xstrdup("{\"name\":\"good\"}");
	vm.rollback = xstrdup("{\"name\":\"rollback\"}");
	assert_int_equal(store_vm_put(store, &vm, &err), 0);
	struct store_vm_vec vms = { 0 };
	assert_int_equal(store_vms(store, &vms, &err), 0);
	assert_int_equal(vms.count, 1);
	const struct store_vm *have = &vms.at[0];
	assert_string_equal(have->id, vm.id);
	assert_string_equal(have->name, vm.name);
	assert_string_equal(have->stack, vm.stack);
	assert_string_equal(have->spec, vm.spec);
	assert_string_equal(have->applied, vm.applied);
	assert_string_equal(have->image_digest, vm.image_digest);
	assert_string_equal(have->kernel_digest, vm.kernel_digest);
	assert_string_equal(have->address, vm.address);
	assert_string_equal(have->exit_reason, vm.exit_reason);
	assert_true(have->deleting && have->allow_data_loss);
	assert_int_equal(have->hold, 3);
	assert_true(have->revision == INT64_MAX && have->exit_revision == INT64_MIN);
	assert_int_equal(have->expired_revision, 4);
	assert_int_equal(have->created_ms, vm.created_ms);
	assert_true(have->ephemeral);
	assert_string_equal(have->workspace, vm.workspace);
	assert_string_equal(have->good, vm.good);
	assert_string_equal(have->rollback, vm.rollback);
	store_vms_clear(&vms);
	store_vm_clear(&vm);
}

static void a_second_put_replaces_also_with_nothing(void **state)
{
	(void)state;
	struct store_vm vm = vm_of("0000000001", "a");
	vm.applied = xstrdup("{}");
	vm.deleting = true;
	assert_int_equal(store_vm_put(store, &vm, &err), 0);
	store_vm_clear(&vm);
	assert_int_equal(put("0000000001", "b"), 0);
	struct store_vm_vec vms = { 0 };
	assert_int_equal(store_vms(store, &vms, &err), 0);
	assert_int_equal(vms.count, 1);
	assert_string_equal(vms.at[0].name, "b");
	assert_null(vms.at[0].applied);
	assert_false(vms.at[0].deleting);
	store_vms_clear(&vms);
}

static void vms_come_by_name_and_go_by_id(void **state)
{
	(void)state;
	assert_names("");
	assert_int_equal(put("0000000001", "web-10"), 0);
	assert_int_equal(put("0000000002", "db"), 0);
	assert_int_equal(put("0000000003", "web-1"), 0);
	assert_names("db web-1 web-10");
	assert_int_equal(store_vm_remove(store, "0000000003", &err), 0);
	assert_int_equal(store_vm_remove(store, "0000000003", &err), 0);
	assert_names("db web-10");
}

static void two_vms_cannot_share_a_name_or_an_address(void **state)
{
	(void)state;
	struct store_vm one = vm_of("0000000001", "a"), two = vm_of("0000000002", "b");
	one.address = xstrdup("127.1.1.1");
	two.address = xstrdup("127.1.1.1");
	assert_int_equal(store_vm_put(store, &one, &err), 0);
	assert_int_equal(store_vm_put(store, &two, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.text, "'b'"));
	assert_int_equal(put("0000000003", "a"), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	/* One that goes makes room for its successor. */
	one.deleting = true;
	assert_int_equal(store_vm_put(store, &one, &err), 0);
	assert_int_equal(put("0000000003", "a"), 0);
	assert_names("a a");
	assert_int_equal(put("short", "c"), -1);
	store_vm_clear(&one);
	store_vm_clear(&two);
}

static void a_rollback_undoes_and_a_commit_keeps(void **state)
{
	(void)state;
	assert_int_equal(store_begin(store, &err), 0);
	assert_int_equal(put("0000000001", "a"), 0);
	assert_int_equal(store_stack_put(store, "s", "", false, &err), 0);
	assert_int_equal(store_stack_remove(store, "s", &err), 0);
	assert_int_equal(store_stack_size_note(store, "s", 10, 5, 3, &err), 0);
	assert_names("a");
	store_rollback(store);
	assert_names("");
	int64_t largest = -1;
	assert_int_equal(store_stack_size_largest(store, "s", 0, &largest, &err), 0);
	assert_int_equal(largest, 0);
	assert_int_equal(store_begin(store, &err), 0);
	assert_int_equal(put("0000000001", "a"), 0);
	/* A refused row does not end the transaction. */
	assert_int_equal(put("0000000002", "a"), -1);
	assert_int_equal(store_commit(store, &err), 0);
	store_rollback(store); /* nothing open: nothing */
	assert_names("a");
	assert_int_equal(store_commit(store, &err), -1);
}

static void stacks_come_and_go(void **state)
{
	(void)state;
	assert_int_equal(store_stack_put(store, "web", "/srv/web", true, &err), 0);
	assert_int_equal(store_stack_put(store, "db", "", false, &err), 0);
	assert_int_equal(store_stack_put(store, "web", "/srv/web2", true, &err), 0);
	struct store_stack_vec stacks = { 0 };
	assert_int_equal(store_stacks(store, &stacks, &err), 0);
	assert_int_equal(stacks.count, 2);
	assert_string_equal(stacks.at[0].name, "db");
	assert_string_equal(stacks.at[0].source, "");
	assert_false(stacks.at[0].watched);
	assert_string_equal(stacks.at[1].source, "/srv/web2");
	assert_true(stacks.at[1].watched);
	store_stacks_clear(&stacks);
	assert_int_equal(store_stack_size_note(store, "web", 100, 1000, 9, &err), 0);
	assert_int_equal(store_stack_remove(store, "web", &err), 0);
	int64_t largest = -1;
	assert_int_equal(store_stack_size_largest(store, "web", 0, &largest, &err), 0);
	assert_int_equal(largest, 0);
	assert_int_equal(store_stacks(store, &stacks, &err), 0);
	assert_int_equal(stacks.count, 1);
	store_stacks_clear(&stacks);
}

static int64_t largest_since(int64_t since_ms)
{
	int64_t largest = -1;
	assert_int_equal(store_stack_size_largest(store, "s", since_ms, &largest, &err), 0);
	return largest;
}

static void sizes_are_remembered_for_a_while(void **state)
{
	(void)state;
	assert_int_equal(store_stack_size_note(store, "s", 1000, 500, 40, &err), 0);
	assert_int_equal(store_stack_size_note(store, "s", 1000, 500, 30, &err), 0);
	assert_int_equal(store_stack_size_note(store, "s", 1200, 500, 10, &err), 0);
	assert_int_equal(store_stack_size_note(store, "other", 1200, 500, 99, &err), 0);
	assert_int_equal(largest_since(0), 40);
	assert_int_equal(largest_since(1000), 40);
	assert_int_equal(largest_since(1001), 10);
	assert_int_equal(largest_since(1201), 0);
	assert_int_equal(store_stack_size_note(store, "s", 1500, 500, 5, &err), 0);
	assert_int_equal(largest_since(0), 40); /* exactly keep_ms old stays */
	assert_int_equal(store_stack_size_note(store, "s", 1501, 500, 5, &err), 0);
	assert_int_equal(largest_since(0), 10);
}

/* Of this process alone: the machine may be busy with others. */
static uint64_t cpu_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void ten_thousand_take_less_than_a_second(void **state)
{
	(void)state;
	auto_free char *spec = xmalloc(1001);
	memset(spec, ' ', 1000);
	spec[1000] = '\0';
	uint64_t start = cpu_ms();
	assert_int_equal(store_begin(store, &err), 0);
	char id[VM_ID_LEN + 1], name[32], none[] = "";
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(id, sizeof(id), "%010x", i * 7919);
		snprintf(name, sizeof(name), "vm-%u", i);
		struct store_vm vm = { .name = name, .stack = none, .spec = spec };
		str_copy(vm.id, sizeof(vm.id), id);
		assert_int_equal(store_vm_put(store, &vm, &err), 0);
	}
	assert_int_equal(store_commit(store, &err), 0);
	uint64_t took = cpu_ms() - start;
	if (took >= 1000)
		fail_msg("took %llu ms", (unsigned long long)took);
	struct store_vm_vec vms = { 0 };
	store_close(store);
	start = cpu_ms();
	store = store_open(path, &err);
	assert_int_equal(store_vms(store, &vms, &err), 0);
	took = cpu_ms() - start;
	assert_int_equal(vms.count, 10000);
	store_vms_clear(&vms);
	print_message("           opened, checked and read in %llu ms\n", (unsigned long long)took);
	assert_true(took < 1000);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(60);
	const struct CMUnitTest tests[] = {
		CASE(every_member_comes_back),
		CASE(a_second_put_replaces_also_with_nothing),
		CASE(vms_come_by_name_and_go_by_id),
		CASE(two_vms_cannot_share_a_name_or_an_address),
		CASE(a_rollback_undoes_and_a_commit_keeps),
		CASE(stacks_come_and_go),
		CASE(sizes_are_remembered_for_a_while),
		CASE(ten_thousand_take_less_than_a_second),
	};
	return cmocka_run_group_tests_name("store/rows", tests, NULL, NULL);
}
