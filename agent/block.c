#include "agent/block.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool line_is(const char *line, size_t len, const char *text)
{
	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	return len == strlen(text) && !memcmp(line, text, len);
}

/* Where the line at `at` ends, behind its line break. */
static const char *line_next(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));
	return newline ? newline + 1 : end;
}

static bool line_at_is(const char *at, const char *next, const char *text)
{
	size_t len = (size_t)(next - at);
	return line_is(at, len && at[len - 1] == '\n' ? len - 1 : len, text);
}

/* Where the block that begins before `at` ends (behind its end line), or NULL when it never does
 * or another begins first. */
static const char *block_after(const char *at, const char *end)
{
	while (at < end) {
		const char *next = line_next(at, end);
		if (line_at_is(at, next, BLOCK_END))
			return next;
		if (line_at_is(at, next, BLOCK_BEGIN))
			return NULL;
		at = next;
	}
	return NULL;
}

void block_edit(const char *old, size_t len, const char *const *lines, size_t count,
		struct buf *ret)
{
	const char *end = old + len;
	for (const char *at = old; at < end;) {
		const char *next = line_next(at, end);
		if (line_at_is(at, next, BLOCK_BEGIN)) {
			const char *after = block_after(next, end);
			at = after ? after : next;
			continue;
		}
		/* Else an end whose begin the user has removed. */
		if (!line_at_is(at, next, BLOCK_END))
			buf_add_bytes(ret, at, (size_t)(next - at));
		at = next;
	}
	if (ret->len && ret->data[ret->len - 1] != '\n')
		buf_add_char(ret, '\n');
	if (!count)
		return;
	buf_add(ret, BLOCK_BEGIN "\n");
	for (size_t i = 0; i < count; i++)
		buf_addf(ret, "%s\n", lines[i]);
	buf_add(ret, BLOCK_END "\n");
}

int block_write(const char *path, const char *const *lines, size_t count, unsigned mode,
		struct error *err)
{
	auto_buf struct buf old = BUF_INIT;
	auto_buf struct buf new = BUF_INIT;
	struct stat st;
	bool there = stat(path, &st) == 0;
	if (there && fs_read(AT_FDCWD, path, BLOCK_MAX_FILE, &old, err) < 0)
		return -1;
	block_edit(old.data, old.len, lines, count, &new);
	if (there && old.len == new.len && !memcmp(old.data, new.data, new.len))
		return 0;
	if (fs_write(AT_FDCWD, path, new.data, new.len, there ? st.st_mode & 07777 : mode, err) < 0)
		return -1;
	if (there && chown(path, st.st_uid, st.st_gid) < 0)
		return error_sys(err, "cannot give '%s' back to its owner", path);
	return 0;
}
