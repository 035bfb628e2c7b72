#include "cli/progress.h"
#include "cli/term.h"
#include "base/units.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <string.h>

#define PAINT_EVERY_MS 80
#define BAR_WIDTH      20

void progress_init(struct progress *p, struct cli *cli, struct wait_item_vec *items)
{
	*p = (struct progress){ .cli = cli, .items = items };
	p->silent = cli->quiet;
	p->block = cli->io.err_tty && cli->io.columns >= 40 && cli->io.rows >= 6;
}

static const char *mark(const struct progress *p, const struct wait_item *item)
{
	static const char *const spin8[] = { "⠋", "⠙", "⠸", "⠴", "⠦", "⠇" };
	static const char *const spin7[] = { "-", "\\", "|", "/" };
	bool utf8 = p->cli->io.utf8;
	if (item->done && item->success)
		return utf8 ? "✓" : "+";
	if (item->done)
		return utf8 ? "✗" : "x";
	return utf8 ? spin8[p->tick % ARRAY_COUNT(spin8)] : spin7[p->tick % ARRAY_COUNT(spin7)];
}

static void add_bar(struct buf *line, const struct wait_item *item)
{
	double part = (double)item->progress_done / (double)item->progress_total;
	int full = part >= 1 ? BAR_WIDTH : part > 0 ? (int)(part * BAR_WIDTH) : 0;
	buf_add(line, "  [");
	for (int i = 0; i < BAR_WIDTH; i++)
		buf_add_char(line, i < full ? '=' : i == full ? '>' : ' ');
	buf_addf(line, "] %3d%%  %" PRId64 "/%" PRId64 " MiB", (int)((part >= 1 ? 1 : part) * 100),
		 item->progress_done >> 20, item->progress_total >> 20);
}

static void add_line(struct progress *p, struct buf *out, const struct wait_item *item,
		     size_t name_width)
{
	auto_buf struct buf text = BUF_INIT, clean = BUF_INIT;
	const char *stage = item->done && !item->success ? "failed" : item->stage;
	buf_addf(&text, "%-*s  %-10s %5.1fs", (int)name_width, item->name,
		 stage[0] ? stage : "waiting", (double)item->elapsed_ms / 1000);
	if (!item->done && item->progress_total > 0)
		add_bar(&text, item);
	else if (item->done && !item->success)
		buf_addf(&text, "  %s", item->err.text);
	else if (!item->done && item->detail[0])
		buf_addf(&text, "  %s", item->detail);
	term_clean(&clean, text.data);
	buf_addf(out, "\033[2K%s%s%s ",
		 !p->cli->colour ? ""
		 : !item->done	 ? ""
		 : item->success ? TERM_GREEN
				 : TERM_RED,
		 mark(p, item), p->cli->colour && item->done ? TERM_RESET : "");
	term_cut(out, clean.data, p->cli->io.columns - 3);
	buf_add_char(out, '\n');
}

/* When not all fit: those that are worked on and those that failed, not what waits or is done. */
static bool is_shown(const struct wait_item *item, bool all)
{
	return all || (item->done ? !item->success : item->stage[0] != '\0');
}

void progress_paint(struct progress *p, bool last)
{
	uint64_t now = clock_monotonic_ms();
	if (!p->block || p->silent || (!last && now - p->painted_ms < PAINT_EVERY_MS))
		return;
	auto_buf struct buf out = BUF_INIT;
	size_t room = p->cli->io.rows - 3, name_width = 4, lines = 0, done = 0;
	bool all = p->items->count <= room;
	for (size_t i = 0; i < p->items->count; i++) {
		size_t len = strlen(p->items->at[i].name);
		name_width = len > name_width && len < 30 ? len : name_width;
		done += p->items->at[i].done;
	}
	if (p->painted)
		buf_addf(&out, "\033[%zuF", p->painted);
	/* Nothing is left to tell: the results that follow say it better. */
	if (done == p->items->count)
		room = 0;
	for (size_t i = 0; i < p->items->count && lines < room; i++) {
		if (!is_shown(&p->items->at[i], all))
			continue;
		add_line(p, &out, &p->items->at[i], name_width);
		lines++;
	}
	if (!all && room) {
		buf_addf(&out, "\033[2K%zu of %zu done\n", done, p->items->count);
		lines++;
	}
	buf_add(&out, "\033[0J");
	fputs(out.data, p->cli->io.err);
	fflush(p->cli->io.err);
	p->painted = lines;
	p->painted_ms = now;
	p->tick++;
}

void progress_changed(struct progress *p, struct wait_item *item)
{
	if (p->silent || p->block || !strcmp(item->said, item->stage))
		return;
	memcpy(item->said, item->stage, sizeof(item->said));
	if (item->stage[0])
		cli_complain(p->cli, "%s: %s%s%s (%.1fs)", item->name, item->stage,
			     item->detail[0] ? ": " : "", item->detail,
			     (double)item->elapsed_ms / 1000);
}
