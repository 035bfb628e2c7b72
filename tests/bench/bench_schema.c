/* Budget: parse + resolve + diff of 10,000 VMs, nothing to do, in 100 ms and 64 MiB.
 *
 *	bench_schema [VMs [rounds [FILE]]]   prints one "key value unit" a line, median of the
 *rounds; FILE: where to leave the text, for others to parse
 *
 * The file is like those people have: five keys a VM, a megabyte in all. The peak is what the
 * kernel counted for the whole process, with both sets in memory as the daemon has them. Times
 * are those of the processor, since nothing here waits: a busy machine changes them little. The
 * first round, with cold caches and fresh pages, is printed apart. */
#include "schema/spec_load.h"
#include "schema/yaml_tree.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define ROUNDS_MAX 101

static double now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void make_file(struct buf *to, unsigned count)
{
	buf_add(to, "version: 1\nstack: bench\ndefaults:\n  image: tiny\n  restart: on-failure\n"
		    "vms:\n");
	for (unsigned i = 0; i < count; i++) {
		buf_addf(to, "  vm-%05u:\n    vcpus: %u\n    memory: %uMi\n    work_disk: %uGi\n",
			 i, 1 + i % 4, 128 + i % 4 * 64, 1 + i % 8);
		buf_addf(to, "    labels: {tier: web, zone: z%u}\n", i % 7);
		if (i % 4 == 0)
			buf_addf(to, "    ports: [\"127.%u.%u.1:8080:80\"]\n", i >> 8, i & 255);
		else if (i % 2)
			buf_add(to, "    nat: true\n");
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[count / 2];
}

static double time_parse(const struct buf *file)
{
	struct fault_vec faults = { 0 };
	struct fault_sink sink = { .to = &faults, .file = "bench.yaml" };
	double start = now_ms();
	auto_ptr(arena) arena = arena_new(65536);
	if (!yaml_parse(file->data, file->len, arena, &sink))
		BUG("the file does not parse");
	return now_ms() - start;
}

static double time_load(const struct buf *file, struct spec_set *ret)
{
	static const struct image_hint tiny = { "tiny", 128 * MIB, 64 * MIB };
	const struct spec_context context = { .images = &tiny, .image_count = 1 };
	const struct spec_source source = { "bench.yaml", file->data, file->len, "/srv" };
	struct fault_vec faults = { 0 };
	double start = now_ms();
	if (spec_load(&source, 1, &context, ret, &faults) < 0) {
		auto_free char *text = fault_format(&faults.at[0]);
		BUG("%s", text);
	}
	return now_ms() - start;
}

static double time_diff(const struct spec_set *a, const struct spec_set *b)
{
	const struct capabilities nothing = { 0 };
	double start = now_ms();
	for (size_t i = 0; i < a->count; i++) {
		const struct vm_spec *want = spec_set_find(b, a->vms[i]->name);
		if (!want || vm_spec_diff(a->vms[i], want, &nothing, NULL) != CLASS_NONE)
			BUG("'%s' differs", a->vms[i]->name);
	}
	return now_ms() - start;
}

int main(int argc, char **argv)
{
	uint64_t vms = 10000, rounds = 9;
	struct error err = { 0 };
	if ((argc > 1 && units_parse_u64(argv[1], &vms, &err) < 0) ||
	    (argc > 2 && units_parse_u64(argv[2], &rounds, &err) < 0) || vms < 1 || vms > 10000 ||
	    rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: %s [VMs up to 10000 [rounds up to %d [FILE]]]\n", argv[0],
			ROUNDS_MAX);
		return 2;
	}
	double parse[ROUNDS_MAX], load[ROUNDS_MAX], diff[ROUNDS_MAX], all[ROUNDS_MAX];
	size_t heap = 0;
	auto_buf struct buf file = BUF_INIT;
	make_file(&file, (unsigned)vms);
	if (argc > 3 && fs_write(AT_FDCWD, argv[3], file.data, file.len, 0600, &err) < 0)
		BUG("%s", err.text);
	struct spec_set have, want;
	double first = time_load(&file, &have);
	for (unsigned i = 0; i < rounds; i++) {
		parse[i] = time_parse(&file);
		size_t before = mallinfo2().uordblks;
		load[i] = time_load(&file, &want);
		heap = mallinfo2().uordblks - before;
		diff[i] = time_diff(&have, &want);
		all[i] = load[i] + diff[i];
		spec_set_clear(&want);
	}
	spec_set_clear(&have);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	double parse_ms = median(parse, (unsigned)rounds), load_ms = median(load, (unsigned)rounds);
	printf("schema.vms %" PRIu64 "\nschema.file %zu bytes\n", vms, file.len);
	printf("schema.parse %.1f ms\n", parse_ms);
	printf("schema.resolve %.1f ms\n", load_ms - parse_ms);
	printf("schema.diff %.1f ms\n", median(diff, (unsigned)rounds));
	printf("schema.total %.1f ms\n", median(all, (unsigned)rounds));
	printf("schema.first_load %.1f ms\n", first);
	printf("schema.heap_per_vm %zu bytes\n", heap / (size_t)vms);
	printf("schema.peak_rss %.1f MiB\n", (double)usage.ru_maxrss / 1024);
	return 0;
}
