#include "driver/last_words.h"
#include "base/cleanup.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>

#define TAIL_BYTES 2000

void last_words(int vm_dirfd, struct buf *ret)
{
	auto_close int fd = openat(vm_dirfd, VM_FILE_LOG,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	char tail[TAIL_BYTES];
	off_t from = st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0;
	ssize_t len = pread(fd, tail, sizeof(tail), from);
	while (len > 0 && isspace((unsigned char)tail[len - 1]))
		len--;
	if (len > 0)
		buf_add_printable(ret, tail, (size_t)len);
}

int last_words_error(const char *program, const struct buf *words, struct error *err)
{
	const char *quote = words->data;
	if (words->len > LAST_WORDS_QUOTE)
		quote += words->len - LAST_WORDS_QUOTE;
	return error_set(err, ERROR_SYSTEM, "%s ended at once: %s", program,
			 *quote ? quote : "without a word");
}
