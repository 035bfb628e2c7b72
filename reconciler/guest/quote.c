#include "guest/guest.h"

#include <string.h>

void shell_quote(struct buf *to, const char *word)
{
	buf_add_char(to, '\'');
	for (;;) {
		size_t plain = strcspn(word, "'");
		buf_add_bytes(to, word, plain);
		word += plain;
		if (!*word)
			break;
		buf_add(to, "'\\''");
		word++;
	}
	buf_add_char(to, '\'');
}
