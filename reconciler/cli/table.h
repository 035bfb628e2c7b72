/* cli/table.h - columns for people.
 *
 *	struct table table = TABLE_INIT;
 *	table_column(&table, "NAME", false);
 *	table_cell(&table, name);  table_cellf(&table, "%u", n);    row by row
 *	table_print(&table, cli);
 *
 * Cells are cleaned of control characters. On a terminal a last column that does not fit is cut. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "base/vec.h"
#include "cli/cli.h"

struct table_column {
	const char *title;
	bool right; /* numbers */
	size_t width;
};
struct table_cell {
	char *text;	    /* owned */
	const char *colour; /* TERM_…; NULL: none */
};
DEFINE_VEC(table_column_vec, struct table_column)
DEFINE_VEC(table_cell_vec, struct table_cell)

struct table {
	struct table_column_vec columns;
	struct table_cell_vec cells;
};

void table_column(struct table *table, const char *title, bool right);
void table_cell(struct table *table, const char *text); /* NULL or "": "-" */
void table_cellf(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_colour(struct table *table, const char *colour); /* of the last cell */
void table_print(struct table *table, struct cli *cli);
void table_clear(struct table *table);
#define auto_table __attribute__((cleanup(table_clear)))

/* "4s", "3m", "2h", "5d": how long ago. */
char *table_age(int64_t then_ms, int64_t now_ms);

#endif
