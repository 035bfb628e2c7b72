#include "source/trail.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define SYMLINKS_MAX 40 /* the kernel's own limit */

static void trail_push(struct trail *trail, const char *directory, const char *name)
{
	if (trail->count == trail->room) {
		trail->room = trail->room ? trail->room * 2 : 4;
		trail->at = xreallocarray(trail->at, trail->room, sizeof(*trail->at));
	}
	trail->at[trail->count++] = (struct trail_place){
		.directory = xstrdup(*directory ? directory : "/"), .name = xstrdup(name), .wd = -1
	};
}

/* Takes the first component off rest; NULL at the end. */
static char *next_component(char **rest)
{
	char *start = *rest + strspn(*rest, "/");
	char *end = start + strcspn(start, "/");
	if (start == end)
		return NULL;
	*rest = *end ? end + 1 : end;
	*end = '\0';
	return start;
}

static void go_up(struct buf *at)
{
	char *slash = strrchr(at->data, '/');
	if (!slash)
		return;
	auto_free char *parent = xstrndup(at->data, (size_t)(slash - at->data));
	buf_reset(at);
	buf_add(at, parent);
}

static bool is_last(const char *rest)
{
	return !rest[strspn(rest, "/")];
}

void trail_walk(struct trail *ret, const char *path)
{
	*ret = (struct trail){ 0 };
	auto_buf struct buf at = BUF_INIT; /* "" is the root */
	auto_free char *text = xstrdup(path);
	char *rest = text, *name;
	for (int symlinks = 0; symlinks <= SYMLINKS_MAX && (name = next_component(&rest));) {
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..")) {
			go_up(&at);
			continue;
		}
		auto_free char *here = xasprintf("%s/%s", at.data, name);
		char target[PATH_MAX];
		struct stat st;
		if (lstat(here, &st) < 0) {
			trail_push(ret, at.data, name);
			return;
		}
		ssize_t len = S_ISLNK(st.st_mode) ? readlink(here, target, sizeof(target) - 1) : -1;
		if (len >= 0) {
			trail_push(ret, at.data, name);
			target[len] = '\0';
			char *joined = xasprintf("%s/%s", target, rest);
			free(text);
			rest = text = joined;
			if (*target == '/')
				buf_reset(&at);
			symlinks++;
			continue;
		}
		if (is_last(rest) || !S_ISDIR(st.st_mode))
			trail_push(ret, at.data, name);
		if (!S_ISDIR(st.st_mode))
			return;
		buf_addf(&at, "/%s", name);
	}
}

void trail_clear(struct trail *trail)
{
	for (size_t i = 0; i < trail->count; i++) {
		free(trail->at[i].directory);
		free(trail->at[i].name);
	}
	free(trail->at);
	*trail = (struct trail){ 0 };
}

bool trail_has(const struct trail *trail, int wd)
{
	for (size_t i = 0; i < trail->count; i++)
		if (trail->at[i].wd == wd)
			return true;
	return false;
}

bool trail_concerns(const struct trail *trail, int wd, const char *name)
{
	for (size_t i = 0; i < trail->count; i++)
		if (trail->at[i].wd == wd && (!*name || !strcmp(trail->at[i].name, name)))
			return true;
	return false;
}

bool trail_lose(struct trail *trail, int wd)
{
	bool lost = false;
	for (size_t i = 0; i < trail->count; i++) {
		if (trail->at[i].wd != wd)
			continue;
		trail->at[i].wd = -1;
		lost = true;
	}
	return lost;
}
