#include "cli/ssh_include.h"

#include <string.h>

#define BEGIN	"# banger: NAME.vm for every VM; 'banger ssh-config --uninstall' takes this away"
#define END	"# banger: end"
#define CREATED " (and this file)"

/* The first line at or behind from that begins so. NULL: none. */
static const char *find_line(const char *from, const char *begin)
{
	size_t len = strlen(begin);
	for (const char *line = from; *line;) {
		if (!strncmp(line, begin, len))
			return line;
		const char *end = strchr(line, '\n');
		if (!end)
			break;
		line = end + 1;
	}
	return NULL;
}

int ssh_include_remove(const struct buf *config, struct buf *ret, bool *ret_created,
		       struct error *err)
{
	const char *at = config->data, *begin;
	*ret_created = false;
	if (memchr(config->data, '\0', config->len))
		return error_set(err, ERROR_INVALID, "it is not a text file");
	while ((begin = find_line(at, BEGIN))) {
		const char *end = find_line(begin, END);
		if (!end)
			return error_set(err, ERROR_INVALID,
					 "it has the line '%s' but not '%s' behind it: take "
					 "banger's lines out by hand",
					 BEGIN, END);
		if (!strncmp(begin + strlen(BEGIN), CREATED, strlen(CREATED)))
			*ret_created = true;
		buf_add_bytes(ret, at, (size_t)(begin - at));
		at = strchr(end, '\n');
		if (!at)
			return 0;
		at++;
	}
	buf_add(ret, at);
	return 0;
}

int ssh_include_add(const struct buf *config, const char *path, bool created, struct buf *ret,
		    struct error *err)
{
	auto_buf struct buf rest = BUF_INIT;
	bool was_created;
	if (ssh_include_remove(config, &rest, &was_created, err) < 0)
		return -1;
	buf_addf(ret, "%s%s\nInclude \"%s\"\n%s\n", BEGIN, created || was_created ? CREATED : "",
		 path, END);
	buf_add_bytes(ret, rest.data, rest.len);
	return 0;
}
