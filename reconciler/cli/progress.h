/* cli/progress.h - work as it goes on: a block that is painted again on a terminal, elsewhere a
 * line for every new stage. Nothing when quiet. All of it goes to stderr. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/wait.h"

struct progress {
	struct cli *cli;
	struct wait_item_vec *items;
	bool silent, block;
	size_t painted; /* lines on the screen that belong to the block */
	uint64_t painted_ms;
	unsigned tick;
};

void progress_init(struct progress *progress, struct cli *cli, struct wait_item_vec *items);
void progress_changed(struct progress *progress, struct wait_item *item);
void progress_paint(struct progress *progress, bool last);

#endif
