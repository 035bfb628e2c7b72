#include "schema/fault.h"
#include "schema/text.h"

#include "base/buf.h"

#include <stdarg.h>
#include <string.h>

#define KEY_SHOWN_MAX 64

static void add_path(struct buf *to, const struct path *path)
{
	if (!path)
		return;
	add_path(to, path->up);
	if (!path->key) {
		buf_addf(to, "[%zu]", path->index);
		return;
	}
	size_t len = strlen(path->key);
	buf_addf(to, "%s%.*s%s", to->len ? "." : "", KEY_SHOWN_MAX, path->key,
		 len > KEY_SHOWN_MAX ? "..." : "");
}

void fault_add(struct fault_sink *sink, int line, int column, const struct path *path,
	       const char *fmt, ...)
{
	if (sink->kept == SPEC_FAULT_MAX) {
		sink->dropped++;
		return;
	}
	auto_buf struct buf where = BUF_INIT, text = BUF_INIT;
	add_path(&where, path);
	va_list args;
	va_start(args, fmt);
	buf_addv(&text, fmt, args);
	va_end(args);
	struct fault fault = {
		.file = xstrdup(sink->file),
		.line = line,
		.column = column,
		.path = buf_take(&where),
		.text = buf_take(&text),
	};
	text_scrub(fault.path);
	text_scrub(fault.text);
	fault_vec_push(sink->to, fault);
	sink->kept++;
}

static int by_place(const void *a, const void *b)
{
	const struct fault *x = a, *y = b;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	int path = strcmp(x->path, y->path);
	return path ? path : strcmp(x->text, y->text);
}

void faults_sort(struct fault_sink *sink, size_t first)
{
	if (sink->to->count > first)
		qsort(sink->to->at + first, sink->to->count - first, sizeof(struct fault),
		      by_place);
}

void faults_close(struct fault_sink *sink)
{
	if (!sink->dropped)
		return;
	struct fault fault = {
		.file = xstrdup(sink->file),
		.path = xstrdup(""),
		.text = xasprintf("%zu more faults are not shown", sink->dropped),
	};
	fault_vec_push(sink->to, fault);
}

void faults_clear(struct fault_vec *faults)
{
	for (size_t i = 0; i < faults->count; i++) {
		free(faults->at[i].file);
		free(faults->at[i].path);
		free(faults->at[i].text);
	}
	fault_vec_clear(faults);
}

char *fault_format(const struct fault *fault)
{
	auto_buf struct buf out = BUF_INIT;
	if (fault->file)
		buf_add(&out, fault->file);
	if (fault->line)
		buf_addf(&out, ":%d:%d", fault->line, fault->column);
	if (out.len)
		buf_add(&out, ": ");
	if (fault->path && *fault->path)
		buf_addf(&out, "%s: ", fault->path);
	buf_add(&out, fault->text);
	return buf_take(&out);
}

int faults_to_error(struct fault_vec *faults, struct error *err)
{
	int rc = 0;
	if (faults->count) {
		const struct fault *first = &faults->at[0];
		rc = error_set(err, ERROR_INVALID, "%s%s%s", first->path, *first->path ? ": " : "",
			       first->text);
	}
	faults_clear(faults);
	return rc;
}
