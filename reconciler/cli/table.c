#include "cli/table.h"
#include "cli/term.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define GAP 2

void table_column(struct table *table, const char *title, bool right)
{
	table_column_vec_push(&table->columns,
			      (struct table_column){ title, right, strlen(title) });
}

void table_cell(struct table *table, const char *text)
{
	auto_buf struct buf clean = BUF_INIT;
	term_clean(&clean, text && text[0] ? text : "-");
	struct table_column *column = &table->columns.at[table->cells.count % table->columns.count];
	size_t width = term_width(clean.data);
	if (width > column->width)
		column->width = width;
	table_cell_vec_push(&table->cells, (struct table_cell){ buf_take(&clean), NULL });
}

void table_cellf(struct table *table, const char *fmt, ...)
{
	auto_buf struct buf text = BUF_INIT;
	va_list args;
	va_start(args, fmt);
	buf_addv(&text, fmt, args);
	va_end(args);
	table_cell(table, text.data);
}

void table_colour(struct table *table, const char *colour)
{
	table->cells.at[table->cells.count - 1].colour = colour;
}

/* Columns left for the last one; 0: as many as it wants. */
static size_t room_for_last(const struct table *table, const struct cli *cli)
{
	size_t used = 0, last = table->columns.count - 1;
	if (!cli->io.out_tty || !cli->io.columns || cli->output == OUTPUT_WIDE)
		return 0;
	for (size_t i = 0; i < last; i++)
		used += table->columns.at[i].width + GAP;
	return used + 10 < cli->io.columns ? cli->io.columns - used : 10;
}

static void add_cell(struct buf *line, const struct table *table, size_t column, const char *text,
		     const char *colour)
{
	const struct table_column *c = &table->columns.at[column];
	size_t width = term_width(text), pad = c->width > width ? c->width - width : 0;
	bool last = column + 1 == table->columns.count;
	if (c->right)
		buf_addf(line, "%*s", (int)pad, "");
	buf_addf(line, "%s%s%s", colour ? colour : "", text, colour ? TERM_RESET : "");
	if (!last)
		buf_addf(line, "%*s", (int)(c->right ? GAP : pad + GAP), "");
}

void table_print(struct table *table, struct cli *cli)
{
	size_t columns = table->columns.count;
	auto_buf struct buf out = BUF_INIT;
	if (!columns)
		return;
	size_t room = room_for_last(table, cli);
	for (size_t i = 0; i < columns; i++)
		add_cell(&out, table, i, table->columns.at[i].title, cli->colour ? TERM_DIM : NULL);
	buf_add_char(&out, '\n');
	for (size_t i = 0; i < table->cells.count; i++) {
		const struct table_cell *cell = &table->cells.at[i];
		auto_buf struct buf cut = BUF_INIT;
		bool last = i % columns + 1 == columns;
		if (last && room)
			term_cut(&cut, cell->text, room);
		add_cell(&out, table, i % columns, last && room ? cut.data : cell->text,
			 cli->colour ? cell->colour : NULL);
		if (last)
			buf_add_char(&out, '\n');
	}
	cli_say(cli, "%s", out.data);
}

void table_clear(struct table *table)
{
	for (size_t i = 0; i < table->cells.count; i++)
		free(table->cells.at[i].text);
	table_cell_vec_clear(&table->cells);
	table_column_vec_clear(&table->columns);
}

char *table_age(int64_t then_ms, int64_t now_ms)
{
	if (then_ms <= 0)
		return xstrdup("-");
	int64_t s = now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;
	if (s < 120)
		return xasprintf("%" PRId64 "s", s);
	if (s < INT64_C(7200))
		return xasprintf("%" PRId64 "m", s / 60);
	if (s < INT64_C(172800))
		return xasprintf("%" PRId64 "h", s / 3600);
	return xasprintf("%" PRId64 "d", s / 86400);
}
