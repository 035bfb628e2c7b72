/* Specs once they are read: defaults, comparing, JSON and YAML there and back. */
#include "schema/field.h"
#include "schema/spec_load.h"

#include "base/json.h"
#include "base/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct image_hint images[] = { { "tiny", 128 * MIB, 64 * MIB },
					    { "debian", 512 * MIB, 10 * GIB } };
static const struct spec_context context = { .images = images,
					     .image_count = ARRAY_COUNT(images),
					     .home = "/home/ada",
					     .part = true, /* others may be elsewhere */
					     .directory = "/srv" };

static struct spec_set load(const char *text)
{
	struct spec_source source = { "vms.yaml", text, strlen(text), "/srv" };
	struct spec_set set = { 0 };
	struct fault_vec faults = { 0 };
	if (spec_load(&source, 1, &context, &set, &faults) < 0) {
		auto_free char *first = fault_format(&faults.at[0]);
		faults_clear(&faults);
		fail_msg("%s", first);
	}
	return set;
}

static struct vm_spec *vm(const char *fields)
{
	auto_free char *text = xasprintf("version: 1\nvms: {web: {%s}}\n", fields);
	struct spec_set set = load(text);
	struct vm_spec *copy = vm_spec_copy(set.vms[0]);
	spec_set_clear(&set);
	return copy;
}

static void absent_keys_are_defaults(void **state)
{
	(void)state;
	auto_ptr(vm_spec) spec = vm("");
	assert_string_equal(spec->name, "web");
	assert_string_equal(spec->image, "tiny");
	assert_string_equal(spec->kernel, "");
	assert_int_equal(spec->vcpus, 2);
	assert_int_equal(spec->memory, 128 * MIB);
	assert_int_equal(spec->system_disk, 8 * GIB);
	assert_int_equal(spec->work_disk, 8 * GIB);
	assert_false(spec->nat);
	assert_int_equal(spec->ready.kind, READY_SSH);
	assert_int_equal(spec->ready.timeout_ms, 120000);
	assert_int_equal(spec->restart, RESTART_ALWAYS);
	assert_string_equal(spec->file, "vms.yaml");
	assert_int_equal(spec->line, 2);
	auto_ptr(vm_spec) unknown = vm("image: other");
	assert_int_equal(unknown->memory, GIB);
	/* What nobody asked for is made large enough. */
	auto_ptr(vm_spec) large = vm("image: debian");
	assert_int_equal(large->system_disk, 10 * GIB);
	assert_int_equal(large->memory, 512 * MIB);
}

static void every_field_is_read(void **state)
{
	(void)state;
	auto_ptr(vm_spec) spec =
		vm("kernel: k-6.1, kernel_args: 'quiet  x', vcpus: 8, memory: 1Gi, work_disk: 0, "
		   "system_disk: 1G, ports: ['0.0.0.0:53:5353/udp', 8080:22], state: stopped, "
		   "restart: on-failure, hypervisor: qemu, network: user, nat: true, "
		   "ready: {probe: tcp:80, timeout: 5s}, labels: {b: 1, a: x}, ttl: 2h, "
		   "protect: true, files: [{source: ./motd, path: /etc/motd}, "
		   "{source: ~/x, path: /a, mode: 0755, owner: 1000:users}]");
	assert_string_equal(spec->kernel_args, "quiet  x");
	assert_int_equal(spec->vcpus, 8);
	assert_int_equal(spec->system_disk, 1000000000);
	assert_int_equal(spec->work_disk, 0);
	assert_int_equal(spec->ports.count, 2);
	assert_string_equal(spec->ports.at[0].address, "0.0.0.0");
	assert_int_equal(spec->ports.at[0].proto, PORT_UDP);
	assert_int_equal(spec->ports.at[1].host, 8080);
	assert_int_equal(spec->ports.at[1].guest, 22);
	assert_int_equal(spec->state, STATE_STOPPED);
	assert_int_equal(spec->restart, RESTART_ON_FAILURE);
	assert_int_equal(spec->ready.kind, READY_TCP);
	assert_int_equal(spec->ready.port, 80);
	assert_int_equal(spec->ready.timeout_ms, 5000);
	assert_string_equal(spec->labels.at[0].key, "a");
	assert_string_equal(spec->labels.at[1].value, "1");
	assert_int_equal(spec->ttl_ms, 7200000);
	assert_true(spec->protect);
	assert_string_equal(spec->files.at[0].source, "/home/ada/x");
	assert_int_equal(spec->files.at[0].mode, 0755);
	assert_string_equal(spec->files.at[0].owner, "1000:users");
	assert_string_equal(spec->files.at[1].source, "/srv/motd");
	assert_int_equal(spec->files.at[1].mode, 0644);
}

static void defaults_and_merge_keys(void **state)
{
	(void)state;
	struct spec_set set = load("version: 1\n"
				   "stack: demo\n"
				   "x-base: &base {vcpus: 3, memory: 256Mi}\n"
				   "defaults: {nat: true, labels: {team: a, tier: x}, "
				   "ports: ['1:1']}\n"
				   "vms:\n"
				   "  one: {<<: *base, memory: 1Gi, ports: [], labels: {tier: y}}\n"
				   "  two:\n");
	const struct vm_spec *one = spec_set_find(&set, "one");
	assert_string_equal(set.stack, "demo");
	assert_false(set.says_none);
	assert_int_equal(set.count, 2);
	assert_int_equal(one->vcpus, 3);
	assert_int_equal(one->memory, GIB);
	assert_true(one->nat);
	assert_int_equal(one->ports.count, 0);
	assert_int_equal(one->labels.count, 2);
	assert_string_equal(one->labels.at[0].value, "a");
	assert_string_equal(one->labels.at[1].value, "y");
	assert_int_equal(spec_set_find(&set, "two")->ports.count, 1);
	assert_null(spec_set_find(&set, "three"));
	spec_set_clear(&set);
	set = load("version: 1\nvms: {}\n");
	assert_true(set.says_none);
	assert_int_equal(set.count, 0);
	spec_set_clear(&set);
}

static enum change_class class_of(const char *have, const char *want,
				  const struct capabilities *can, const char *text)
{
	auto_ptr(vm_spec) a = vm(have);
	auto_ptr(vm_spec) b = vm(want);
	struct field_change_vec changes = { 0 };
	enum change_class class = vm_spec_diff(a, b, can, &changes);
	assert_int_equal(class, vm_spec_diff(a, b, can, NULL));
	assert_int_equal(vm_spec_equal(a, b), changes.count == 0);
	if (text) {
		assert_int_equal(changes.count, 1);
		auto_free char *shown = xasprintf("%s %s -> %s", changes.at[0].key,
						  changes.at[0].from, changes.at[0].to);
		assert_string_equal(shown, text);
		assert_int_equal(changes.at[0].class, class);
	}
	field_changes_free(&changes);
	return class;
}

static void changes_have_classes(void **state)
{
	(void)state;
	static const struct {
		const char *have, *want, *text;
		enum change_class with_nothing, with_all;
	} cases[] = {
		{ "", "", NULL, CLASS_NONE, CLASS_NONE },
		{ "vcpus: 1", "vcpus: 2", "vcpus 1 -> 2", CLASS_RESTART, CLASS_LIVE },
		{ "", "memory: 256Mi", "memory 128Mi -> 256Mi", CLASS_RESTART, CLASS_LIVE },
		{ "", "image: other, memory: 128Mi", "image tiny -> other", CLASS_REIMAGE,
		  CLASS_REIMAGE },
		{ "", "system_disk: 9Gi", "system_disk 8Gi -> 9Gi", CLASS_RESTART, CLASS_LIVE },
		{ "", "system_disk: 7Gi", "system_disk 8Gi -> 7Gi", CLASS_REIMAGE, CLASS_REIMAGE },
		{ "", "work_disk: 9Gi", "work_disk 8Gi -> 9Gi", CLASS_RESTART, CLASS_LIVE },
		{ "", "work_disk: 7Gi", "work_disk 8Gi -> 7Gi", CLASS_DATA_LOSS, CLASS_DATA_LOSS },
		{ "", "work_disk: 0", "work_disk 8Gi -> none", CLASS_DATA_LOSS, CLASS_DATA_LOSS },
		{ "work_disk: 0", "", "work_disk none -> 8Gi", CLASS_RESTART, CLASS_RESTART },
		{ "", "nat: true", "nat false -> true", CLASS_RESTART, CLASS_LIVE },
		{ "", "state: stopped", "state running -> stopped", CLASS_STOP, CLASS_STOP },
		{ "state: stopped", "", "state stopped -> running", CLASS_START, CLASS_START },
		{ "ports: ['8080:80']", "", "ports [8080:80/tcp] -> none", CLASS_RESTART,
		  CLASS_LIVE },
		{ "ports: ['1:1', '2:2']", "ports: ['2:2', '1:1']", NULL, CLASS_NONE, CLASS_NONE },
		{ "", "kernel_args: x", "kernel_args none -> x", CLASS_RESTART, CLASS_RESTART },
		{ "", "labels: {a: b}", "labels none -> [a=b]", CLASS_LIVE, CLASS_LIVE },
		{ "", "ttl: 1d", "ttl none -> 1d", CLASS_LIVE, CLASS_LIVE },
		{ "", "ready: none", "ready ssh within 2m -> none within 2m", CLASS_LIVE,
		  CLASS_LIVE },
		{ "", "hypervisor: qemu", "hypervisor auto -> qemu", CLASS_RESTART, CLASS_RESTART },
		{ "memory: 256Mi", "memory: 1Gi", "memory 256Mi -> 1Gi", CLASS_RESTART,
		  CLASS_LIVE },
		{ "memory: 256Mi", "memory: 1025Mi", NULL, CLASS_RESTART, CLASS_RESTART },
		{ "", "memory_max: 1Gi", "memory_max none -> 1Gi", CLASS_RESTART, CLASS_LIVE },
		{ "", "memory_max: 2Gi", NULL, CLASS_RESTART, CLASS_RESTART },
		{ "memory_max: 128Mi", "", "memory_max 128Mi -> none", CLASS_LIVE, CLASS_LIVE },
		{ "", "protect: true, vcpus: 1", NULL, CLASS_RESTART, CLASS_LIVE },
	};
	const struct capabilities nothing = { 0 },
				  all = { true, true, true, true, true, true, 64 << 20, 1 << 30 };
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		assert_int_equal(class_of(cases[i].have, cases[i].want, &nothing, cases[i].text),
				 cases[i].with_nothing);
		assert_int_equal(class_of(cases[i].have, cases[i].want, &all, cases[i].text),
				 cases[i].with_all);
	}
	assert_string_equal(change_class_name(CLASS_DATA_LOSS), "data-loss");
}

static void shown_values_are_cut(void **state)
{
	(void)state;
	auto_ptr(vm_spec) a = vm("");
	auto_free char *fields = xasprintf("kernel_args: '%0*d\xc3\xa4\xc3\xa4\xc3\xa4'", 196, 0);
	auto_ptr(vm_spec) b = vm(fields);
	struct field_change_vec changes = { 0 };
	vm_spec_diff(a, b, &(struct capabilities){ 0 }, &changes);
	assert_true(strlen(changes.at[0].to) <= 200);
	assert_string_equal(changes.at[0].to + 190, "000000...");
	field_changes_free(&changes);
}

static const char rich[] =
	"image: debian, kernel: k, kernel_args: 'a \"b\" \\ $x', vcpus: 1, memory: 1Gi, memory_max: 4Gi, "
	"work_disk: 0, system_disk: 20Gi, nat: true, ports: ['10.0.0.1:1:1', '53:53/udp'], "
	"state: stopped, restart: never, hypervisor: qemu, network: user, "
	"ready: {probe: 'tcp:80', timeout: 1500ms}, protect: true, ttl: 90s, "
	"labels: {a: 'true', b: '', c: \"\xc3\xa4: #x\", d: 1e3, e: ' - ', f: null-ish}, "
	"ssh_keys: ['ssh-ed25519 "
	"AAAAC3NzaC1lZDI1NTE5AAAAIHqPb6Wj0i8cVvKp5pGm3x2Z0Q9r7sT1uYwXeDfBnCaL ada@home, laptop'], "
	"files: [{source: '/a: b', path: '/x y', mode: '4755', owner: ada:users}], "
	"workspace: {source: '/src/a: b', path: /srv/x, mode: metadata, branch: b, from: 'v1.0', "
	"include_untracked: true, auto_prepare: true}";

static void json_there_and_back(void **state)
{
	(void)state;
	const char *const bodies[] = { "", rich, "depends_on: [db, cache]" };
	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
		struct error err = { 0 };
		auto_ptr(vm_spec) spec = vm(bodies[i]);
		auto_json cJSON *brief = vm_spec_to_json(spec);
		auto_json cJSON *full = vm_spec_to_json_full(spec);
		auto_ptr(vm_spec) from_brief = vm_spec_from_json(brief, &err);
		auto_ptr(vm_spec) from_full = vm_spec_from_json(full, &err);
		assert_string_equal(err.text, "");
		assert_true(vm_spec_equal(spec, from_brief));
		assert_true(vm_spec_equal(spec, from_full));
		assert_int_equal(cJSON_GetArraySize(full), FIELD_COUNT); /* name, no replicas */
	}
	auto_ptr(vm_spec) plain = vm("");
	auto_json cJSON *json = vm_spec_to_json(plain);
	auto_free char *text = json_print(json);
	assert_string_equal(text, "{\"name\":\"web\",\"image\":\"tiny\",\"memory\":\"128Mi\"}");
}

/* Whose spec it is goes along wherever a spec goes but into a file of people's. */
static void the_reader_stays_with_the_spec(void **state)
{
	(void)state;
	struct error err = { 0 };
	const struct spec_context hers = { .images = images,
					   .image_count = ARRAY_COUNT(images),
					   .reader = 1001 };
	const char *const files[] = { "files=/etc/motd:/etc/motd" }, *const other[] = { "vcpus=3" };
	auto_ptr(vm_spec) spec = vm_spec_with(NULL, "web", files, 1, &hers, &err);
	assert_int_equal(spec->reader, 1001);
	auto_json cJSON *brief = vm_spec_to_json(spec);
	auto_json cJSON *full = vm_spec_to_json_full(spec);
	auto_ptr(vm_spec) from_brief = vm_spec_from_json(brief, &err);
	auto_ptr(vm_spec) from_full = vm_spec_from_json(full, &err);
	auto_ptr(vm_spec) copy = vm_spec_copy(from_brief);
	assert_int_equal(copy->reader, 1001);
	assert_int_equal(from_full->reader, 1001);
	const struct vm_spec *one = spec;
	auto_free char *text = vm_specs_to_yaml(NULL, &one, 1);
	assert_null(strstr(text, "reader"));

	/* Files of hers stay hers, whoever changes something else; his are his. */
	struct spec_context his = hers;
	his.reader = 1002;
	auto_ptr(vm_spec) changed = vm_spec_with(spec, NULL, other, 1, &his, &err);
	auto_ptr(vm_spec) taken = vm_spec_with(spec, NULL, files, 1, &his, &err);
	his.reader = 0;
	auto_ptr(vm_spec) roots = vm_spec_with(spec, NULL, files, 1, &his, &err);
	assert_int_equal(changed->reader, 1001);
	assert_int_equal(taken->reader, 1002);
	assert_int_equal(roots->reader, 0);
	assert_true(vm_spec_equal(spec, taken));
	/* It is not for a spec to say. */
	const char *const said[] = { "reader=0" };
	assert_null(vm_spec_with(spec, NULL, said, 1, &hers, &err));
	assert_non_null(strstr(err.text, "unknown field"));
}

static void json_is_read_strictly(void **state)
{
	(void)state;
	static const struct {
		const char *json, *text;
	} cases[] = {
		{ "{}", "name: is missing or not the name of a VM" },
		{ "[]", "a VM must be a JSON object" },
		{ "{\"name\":7}", "name: is missing or not the name of a VM" },
		{ "{\"name\":\"a\",\"memroy\":1}",
		  "memroy: unknown field, did you mean 'memory'?" },
		{ "{\"name\":\"a\",\"vcpus\":\"2\"}",
		  "vcpus: must be a whole number, written without quotes" },
		{ "{\"name\":\"a\",\"reader\":\"7\"}", "reader: is not the number of a user" },
		{ "{\"name\":\"a\",\"reader\":0}", "reader: is not the number of a user" },
		{ "{\"name\":\"a\",\"reader\":4294967295}", "reader: is not the number of a user" },
		{ "{\"name\":\"a\",\"vcpus\":2.5}", "vcpus: '2.5' is not a whole number" },
		{ "{\"name\":\"a\",\"nat\":null}", "nat: has no value, must be true or false" },
		{ "{\"name\":\"a\",\"nat\":true,\"nat\":true}", "nat: duplicate key" },
		{ "{\"name\":\"a\",\"ssh_keys\":[\"/etc/shadow\"]}",
		  "ssh_keys[0]: neither a public key nor a path (which begins with /, ./ or ~/, or "
		  "ends in .pub)" },
		{ "{\"name\":\"a\",\"files\":[{\"source\":\"x\",\"path\":\"/x\"}]}",
		  "files[0].source: must be an absolute path here" },
		{ "{\"name\":\"a\",\"image\":\"a\xff\"}",
		  "image: must be one line of text without control characters" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = { 0 };
		auto_json cJSON *json = json_parse(cases[i].json, strlen(cases[i].json), &err);
		assert_non_null(json);
		assert_null(vm_spec_from_json(json, &err));
		assert_string_equal(err.text, cases[i].text);
		assert_int_equal(err.code, ERROR_INVALID);
	}
}

static void yaml_there_and_back(void **state)
{
	(void)state;
	auto_ptr(vm_spec) spec = vm(rich);
	auto_ptr(vm_spec) other = vm("");
	memcpy(other->name, "null", 5);
	const struct vm_spec *specs[] = { spec, other };
	auto_free char *text = vm_specs_to_yaml("demo", specs, 2);
	struct spec_set set = load(text);
	assert_string_equal(set.stack, "demo");
	assert_true(vm_spec_equal(spec_set_find(&set, "web"), spec));
	assert_true(vm_spec_equal(spec_set_find(&set, "null"), other));
	spec_set_clear(&set);
	auto_free char *none = vm_specs_to_yaml(NULL, NULL, 0);
	assert_string_equal(none, "version: 1\nvms: {}\n");
}

static void summary_says_the_size(void **state)
{
	(void)state;
	auto_ptr(vm_spec) spec = vm("vcpus: 1, memory: 256Mi");
	auto_free char *text = vm_spec_summary(spec);
	assert_string_equal(text, "tiny, 1 vcpu, 256Mi");
}

static struct vm_spec *with(const struct vm_spec *base, const char *a, const char *b,
			    struct error *err)
{
	const char *texts[] = { a, b };
	*err = (struct error){ 0 };
	return vm_spec_with(base, "web", texts, b ? 2 : 1, &context, err);
}

static void assignments(void **state)
{
	(void)state;
	struct error err;
	auto_ptr(vm_spec) made = with(NULL, "ports=1:1,2:2", "ports=3:3", &err);
	assert_string_equal(err.text, "");
	assert_int_equal(made->ports.count, 3);
	assert_int_equal(made->memory, 128 * MIB);
	auto_ptr(vm_spec) changed = with(made, "vcpus=4", "labels=a=b,c=d=e", &err);
	assert_string_equal(err.text, "");
	assert_int_equal(changed->ports.count, 3);
	assert_int_equal(changed->vcpus, 4);
	assert_string_equal(changed->labels.at[1].value, "d=e");
	auto_ptr(vm_spec) flow =
		with(changed, "ready={probe: tcp:80, timeout: 9s}", "files=./a:b:/etc/a", &err);
	assert_string_equal(err.text, "");
	assert_int_equal(flow->ready.port, 80);
	assert_string_equal(flow->files.at[0].source, "/srv/a:b");
	assert_string_equal(flow->files.at[0].path, "/etc/a");
	assert_int_equal(flow->labels.count, 2);
	auto_ptr(vm_spec) shop = with(flow, "workspace={source: ~/shop, mode: full}", NULL, &err);
	assert_string_equal(err.text, "");
	assert_string_equal(shop->workspace.source, "/home/ada/shop");
	assert_int_equal(shop->workspace.mode, WORKSPACE_FULL);
	auto_ptr(vm_spec) other = with(shop, "workspace=/srv/other", NULL, &err);
	assert_string_equal(other->workspace.source, "/srv/other");
	assert_int_equal(other->workspace.mode, WORKSPACE_SHALLOW);
	auto_ptr(vm_spec) without = with(other, "workspace=none", NULL, &err);
	assert_string_equal(err.text, "");
	assert_string_equal(without->workspace.source, "");
	auto_ptr(vm_spec) emptied = with(flow, "ports=", "labels=", &err);
	assert_string_equal(err.text, "");
	assert_int_equal(emptied->ports.count + emptied->labels.count, 0);
}

static void bad_assignments(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b, *text;
	} cases[] = {
		{ "vcpus", NULL, "'vcpus' is not of the form KEY=VALUE" },
		{ "cpus=3", NULL, "cpus: unknown field, did you mean 'vcpus'?" },
		{ "vcpus=1", "vcpus=2", "vcpus: given twice" },
		{ "vcpus=", NULL, "vcpus: has no value, must be a whole number" },
		{ "memory=64Mi", NULL,
		  "memory: 64Mi is less than the 128Mi that image 'tiny' needs" },
		{ "image=debian", "memory=128Mi",
		  "memory: 128Mi is less than the 512Mi that image 'debian' needs" },
		{ "ports=1:1", "ports=0.0.0.0:1:2", "ports[1]: port 1/tcp is already taken" },
		{ "labels=a=1", "labels=a=2", "labels: given twice" },
		{ "labels=a", NULL,
		  "labels.a: has no value, must be a string (\"\" for the empty one)" },
		{ "ports={", NULL, "not valid YAML: did not find expected node content" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err;
		assert_null(with(NULL, cases[i].a, cases[i].b, &err));
		assert_string_equal(err.text, cases[i].text);
	}
	struct error err = { 0 };
	assert_null(vm_spec_with(NULL, "Web", NULL, 0, &context, &err));
	assert_non_null(strstr(err.text, "name: 'Web' is not a name"));
}

static void ports_of_joined_sets(void **state)
{
	(void)state;
	auto_ptr(vm_spec) a = vm("ports: ['80:80', '53:53/udp']");
	auto_ptr(vm_spec) b = vm("ports: ['0.0.0.0:80:1', '127.0.0.2:53:53/udp']");
	memcpy(b->name, "db", 3);
	const struct vm_spec *both[] = { a, b };
	struct fault_vec faults = { 0 };
	assert_int_equal(spec_ports_check(both, 2, &faults), 1);
	auto_free char *text = fault_format(&faults.at[0]);
	assert_string_equal(text, "vms.yaml:2:7: vms.db.ports: port 80/tcp is already taken by "
				  "'web' at vms.yaml:2:7");
	faults_clear(&faults);
	assert_int_equal(spec_ports_check(both, 1, &faults), 0);
	assert_int_equal(faults.count, 0);
}

static void names(void **state)
{
	(void)state;
	assert_true(vm_name_valid("a"));
	assert_true(vm_name_valid("web-1"));
	assert_false(vm_name_valid(""));
	assert_false(vm_name_valid("-a"));
	assert_false(vm_name_valid("a-"));
	assert_false(vm_name_valid("A"));
	assert_false(vm_name_valid("a.b"));
	char name[VM_NAME_MAX + 2];
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_false(vm_name_valid(name));
	name[VM_NAME_MAX] = '\0';
	assert_true(vm_name_valid(name));
}

static void stacks_are_called_after_their_directories(void **state)
{
	(void)state;
	static const struct {
		const char *directory, *name;
	} cases[] = {
		{ "/home/me/fleet", "fleet" },
		{ "/etc/banger/vms.d", "vms" },
		{ "fleet", "fleet" },
		{ "/a/.d", ".d" },
		{ "/", "" },
		{ "/a/x.dd", "x.dd" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_free char *name = stack_name_of(cases[i].directory);
		assert_string_equal(name, cases[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_keys_are_defaults),
		cmocka_unit_test(every_field_is_read),
		cmocka_unit_test(defaults_and_merge_keys),
		cmocka_unit_test(changes_have_classes),
		cmocka_unit_test(shown_values_are_cut),
		cmocka_unit_test(json_there_and_back),
		cmocka_unit_test(the_reader_stays_with_the_spec),
		cmocka_unit_test(json_is_read_strictly),
		cmocka_unit_test(yaml_there_and_back),
		cmocka_unit_test(summary_says_the_size),
		cmocka_unit_test(assignments),
		cmocka_unit_test(bad_assignments),
		cmocka_unit_test(names),
		cmocka_unit_test(ports_of_joined_sets),
		cmocka_unit_test(stacks_are_called_after_their_directories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
