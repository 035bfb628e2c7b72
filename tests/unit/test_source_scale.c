/* source/: a thousand VMs in the directory, one file saved. */
#include "test_source_help.h"

#include <time.h>

#define VMS  1000
#define RUNS 7

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_UNDEFINED__)
#define SLOWER 10.0
#else
#define SLOWER 1.0
#endif

static double now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void put_vm(int i, int vcpus)
{
	char name[32], list[32];
	snprintf(name, sizeof(name), "f%04d.yaml", i);
	snprintf(list, sizeof(list), "vm%04d:%d", i, vcpus);
	put(name, vms(list));
}

static void a_thousand_files_one_saved(void **state)
{
	(void)state;
	double best = 1e9;
	for (int i = 0; i < VMS; i++)
		put_vm(i, 1);
	scan();
	assert_true(fix.result.complete);
	assert_int_equal(fix.result.count, VMS);
	for (int run = 0; run < RUNS; run++) {
		uint64_t revision = fix.result.revision;
		put_vm(run * 100, 2);
		double start = now_ms();
		assert_true(events_say_scan());
		source_result_clear(&fix.result);
		source_dir_glance(fix.dir, &fix.result);
		double took = now_ms() - start;
		best = took < best ? took : best;
		assert_int_equal(fix.result.revision, revision + 1);
		assert_int_equal(fix.result.vms[run * 100]->vcpus, 2);
	}
	print_message("  1,000 files, one saved: %.2f ms\n", best);
	assert_true(best <= 3.0 * SLOWER);
}

static void one_file_of_a_thousand_saved(void **state)
{
	(void)state;
	double best = 1e9;
	for (int run = 0; run < RUNS; run++) {
		auto_buf struct buf text = BUF_INIT;
		buf_add(&text, "version: 1\nvms:\n");
		for (int i = 0; i < VMS; i++)
			buf_addf(&text, "  vm%04d: {vcpus: %d}\n", i, i == run ? 7 : 1);
		put("all.yaml", text.data);
		double start = now_ms();
		scan();
		double took = now_ms() - start;
		best = took < best ? took : best;
		assert_int_equal(fix.result.count, VMS);
	}
	print_message("  1,000 VMs in one file, saved: %.2f ms\n", best);
	/* Nearly all of it is the parser's, whose own budget is 10 ms for as many. */
	assert_true(best <= 15.0 * SLOWER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(a_thousand_files_one_saved),
		RULE(one_file_of_a_thousand_saved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
