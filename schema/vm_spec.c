#include "schema/kind.h"
#include "schema/text.h"

#include "base/units.h"

#include <inttypes.h>
#include <string.h>

#define SHOWN_MAX 200

void vm_spec_free(struct vm_spec *spec)
{
	if (spec)
		arena_free(spec->arena); /* the spec itself lies in it */
}

struct vm_spec *vm_spec_copy(const struct vm_spec *spec)
{
	return vm_spec_pack(spec);
}

bool vm_name_valid(const char *name)
{
	size_t len = strlen(name);
	return len > 0 && len <= VM_NAME_MAX && text_only(name, SET_LOWER SET_DIGIT "-") &&
	       name[0] != '-' && name[len - 1] != '-';
}

char *stack_name_of(const char *directory)
{
	const char *slash = strrchr(directory, '/');
	const char *name = slash ? slash + 1 : directory;
	size_t len = strlen(name);
	if (len > 2 && !strcmp(name + len - 2, ".d"))
		len -= 2;
	return xstrndup(name, len);
}

const char *change_class_name(enum change_class class)
{
	static const char *const names[CLASS_COUNT_] = {
#define X(name, wire) [CLASS_##name] = (wire),
		CHANGE_CLASSES(X)
#undef X
	};
	return class < CLASS_COUNT_ ? names[class] : "unknown";
}

/* Cut where a character begins. */
static char *show(const struct field *field, const struct vm_spec *spec)
{
	auto_buf struct buf text = BUF_INIT;
	field->kind->show(field, field_of(field, spec), &text);
	if (text.len <= SHOWN_MAX)
		return buf_take(&text);
	size_t end = SHOWN_MAX - 3;
	while (((unsigned char)text.data[end] & 0xc0) == 0x80)
		end--;
	return xasprintf("%.*s...", (int)end, text.data);
}

enum change_class vm_spec_diff(const struct vm_spec *have, const struct vm_spec *want,
			       const struct capabilities *can, struct field_change_vec *ret)
{
	enum change_class worst = CLASS_NONE;
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const struct field *field = &vm_fields[i];
		if (field_equal(field, have, want))
			continue;
		enum change_class class =
			field->decide ? field->decide(have, want, can) : field->change;
		if (class > worst)
			worst = class;
		if (ret)
			field_change_vec_push(ret, (struct field_change){
							   .key = field->key,
							   .from = show(field, have),
							   .to = show(field, want),
							   .class = class,
						   });
	}
	return worst;
}

uint64_t vm_spec_memory_max(const struct vm_spec *spec)
{
	return spec->memory_max > spec->memory ? spec->memory_max : spec->memory;
}

bool vm_spec_equal(const struct vm_spec *a, const struct vm_spec *b)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (!field_equal(&vm_fields[i], a, b))
			return false;
	return !strcmp(a->name, b->name);
}

void field_changes_free(struct field_change_vec *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		free(changes->at[i].from);
		free(changes->at[i].to);
	}
	field_change_vec_clear(changes);
}

char *vm_spec_summary(const struct vm_spec *spec)
{
	char memory[UNITS_TEXT_MAX];
	return xasprintf("%s, %" PRIu32 " vcpu%s, %s", spec->image, spec->vcpus,
			 spec->vcpus == 1 ? "" : "s", units_format_size(spec->memory, memory));
}
