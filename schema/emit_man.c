/* The field table as the FIELDS section of banger-vms(5). */
#include "schema/kind.h"

#include "base/json.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

/* roff reads a backslash as an escape, a leading dot or quote as a request, a dash as a hyphen. */
static void add_roff(struct buf *to, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p == '\\')
			buf_add(to, "\\e");
		else if (*p == '-')
			buf_add(to, "\\-");
		else if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n'))
			buf_addf(to, "\\&%c", *p);
		else
			buf_add_char(to, *p);
	}
}

static void add_line(struct buf *to, const char *label, const char *text)
{
	buf_addf(to, ".br\n%s: ", label);
	add_roff(to, text);
	buf_add(to, "\n");
}

static void add_bounds(struct buf *to, const struct field *f)
{
	char least[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];
	const char *none = f->zero_is_none ? "0 or " : "";
	if (f->kind == &kind_u32)
		buf_addf(to, ", %" PRIu64 " to %" PRIu64, f->min, f->max);
	else if (f->kind == &kind_size)
		buf_addf(to, ", %s%s to %s", none, units_format_size(f->min, least),
			 units_format_size(f->max, most));
	else if (f->kind == &kind_duration)
		buf_addf(to, ", %s%s to %s", f->zero_is_none ? "0s or " : "",
			 units_format_duration(f->min, least), units_format_duration(f->max, most));
	else if (f->kind == &kind_text)
		buf_addf(to, ", at most %" PRIu64 " bytes", f->max);
	for (size_t i = 0; f->choices && f->choices[i]; i++)
		buf_addf(to, "%s%s", i ? ", " : ": ", f->choices[i]);
}

static void add_field(struct buf *to, const struct field *f)
{
	struct vm_spec fallback;
	fields_fallback(&fallback);
	auto_buf struct buf type = BUF_INIT, value = BUF_INIT;
	buf_add(&type, f->kind->type);
	add_bounds(&type, f);
	f->kind->show(f, field_of(f, &fallback), &value);
	buf_add(to, ".TP\n.B ");
	add_roff(to, f->key);
	buf_add_char(to, '\n');
	add_roff(to, f->doc);
	buf_add_char(to, '\n');
	add_line(to, "Type", type.data);
	add_line(to, "Default", f->dflt ? f->dflt : value.data);
	add_line(to, "When changed", f->classes ? f->classes : change_class_name(f->change));
	auto_buf struct buf example = BUF_INIT;
	buf_addf(&example, "%s: %s", f->key, f->example);
	add_line(to, "Example", example.data);
}

char *schema_emit_man_fields(void)
{
	auto_buf struct buf out = BUF_INIT;
	buf_add(&out, ".SH FIELDS\n");
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (vm_fields[i].scope != FIELD_OF_REPLICA)
			add_field(&out, &vm_fields[i]);
	return buf_take(&out);
}
