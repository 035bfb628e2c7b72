#include "plan/text.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct plan_text {
	struct plan_text *next;
	char *text;
};

const char *plan_text_keep(struct plan_text **texts, const char *text)
{
	for (const struct plan_text *item = *texts; item; item = item->next)
		if (!strcmp(item->text, text))
			return item->text;
	struct plan_text *item = xmalloc(sizeof(*item));
	*item = (struct plan_text){ .next = *texts, .text = xstrdup(text) };
	*texts = item;
	return item->text;
}

void plan_text_free(struct plan_text *texts)
{
	while (texts) {
		struct plan_text *next = texts->next;
		free(texts->text);
		free(texts);
		texts = next;
	}
}
