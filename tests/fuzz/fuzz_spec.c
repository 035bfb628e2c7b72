/* Any bytes as a spec file, as the lines of `set`, and as JSON from the store. What is accepted
 * must survive the trip through JSON and through YAML: the store, `show` and a hand-edited copy all
 * rest on that. */
#include "schema/spec_load.h"

#include "base/json.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fuzzer reads no files of the host. */
static char *read_nothing(void *cookie, const char *path, struct error *err)
{
	(void)cookie;
	errno = ENOENT;
	error_sys(err, "cannot open '%s'", path);
	return NULL;
}

static const struct image_hint images[] = { { "tiny", 128u << 20, 64u << 20 } };
static const struct spec_context context = {
	.images = images, .image_count = 1, .read_file = read_nothing, .home = "/home/ada"
};

static int load(const char *text, size_t len, struct spec_set *set)
{
	struct spec_source source = { "fuzz.yaml", text, len, "/srv" };
	struct fault_vec faults = { 0 };
	int rc = spec_load(&source, 1, &context, set, &faults);
	if ((rc < 0) != (faults.count > 0))
		BUG("%d with %zu faults", rc, faults.count);
	for (size_t i = 0; i < faults.count; i++)
		free(fault_format(&faults.at[i]));
	faults_clear(&faults);
	return rc;
}

static void check_json(const struct vm_spec *spec)
{
	struct error err = { 0 };
	auto_json cJSON *json = vm_spec_to_json_full(spec);
	auto_ptr(vm_spec) again = vm_spec_from_json(json, &err);
	if (!again || !vm_spec_equal(spec, again))
		BUG("'%s' does not survive JSON: %s", spec->name, err.text);
	auto_ptr(vm_spec) copy = vm_spec_copy(spec);
	if (!vm_spec_equal(spec, copy))
		BUG("a copy of '%s' differs", spec->name);
}

static void check_yaml(const struct spec_set *set)
{
	struct spec_set again = { 0 };
	auto_free char *text =
		vm_specs_to_yaml(set->stack, (const struct vm_spec *const *)set->vms, set->count);
	if (load(text, strlen(text), &again) < 0)
		BUG("our own YAML is refused:\n%s", text);
	for (size_t i = 0; i < set->count; i++)
		if (i >= again.count || !vm_spec_equal(set->vms[i], again.vms[i]))
			BUG("'%s' does not survive YAML:\n%s", set->vms[i]->name, text);
	spec_set_clear(&again);
}

static void check_diff(const struct spec_set *set)
{
	const struct capabilities nothing = { 0 };
	for (size_t i = 1; i < set->count; i++) {
		struct field_change_vec changes = { 0 };
		vm_spec_diff(set->vms[i - 1], set->vms[i], &nothing, &changes);
		field_changes_free(&changes);
	}
}

static void check_assignments(const char *text)
{
	const char *lines[8];
	size_t count = 0;
	struct error err = { 0 };
	auto_free char *copy = xstrdup(text);
	char *rest = copy;
	for (char *line; count < ARRAY_COUNT(lines) && (line = strsep(&rest, "\n"));)
		lines[count++] = line;
	auto_ptr(vm_spec) spec = vm_spec_with(NULL, "web", lines, count, &context, &err);
	if (spec)
		check_json(spec);
	else if (!err.text[0])
		BUG("refused without a word");
}

static void check_stored(const char *text, size_t len)
{
	struct error err = { 0 };
	auto_json cJSON *json = json_parse(text, len, &err);
	auto_ptr(vm_spec) spec = json ? vm_spec_from_json(json, &err) : NULL;
	if (spec)
		check_json(spec);
	else if (!err.text[0])
		BUG("refused without a word");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	check_assignments(text);
	check_stored((const char *)data, size);
	struct spec_set set = { 0 };
	if (load((const char *)data, size, &set) < 0)
		return 0;
	for (size_t i = 0; i < set.count; i++)
		check_json(set.vms[i]);
	check_yaml(&set);
	check_diff(&set);
	spec_set_clear(&set);
	return 0;
}
