/* Theory of operation
 *
 * Watched are: the directory itself; on the way to it every directory in which a name decides where
 * the path leads, that is one that holds a symlink of the path, the last component, or the first
 * missing one (the "trail"); and the targets of spec files that are symlinks. Plain directories
 * further up are not: they change rarely and may be as busy as /tmp.
 *
 * watch_open() walks the path by hand, arms the trail, and walks again when a watch was new, since
 * the name may have changed before its watch was there; then it opens the directory and watches
 * what it opened, not what the path may mean by now. Only after that it is listed.
 *
 * Several roles can share an inode, hence a watch descriptor, so masks are only ever added to
 * (IN_MASK_ADD) and events are matched by role. Names that do not count are dropped here, so that a
 * storm of temporary files costs no scan. The kernel's IN_IGNORED for a watch we removed ourselves
 * finds no role and says nothing. */
#include "source/watch.h"
#include "source/trail.h"
#include "base/vec.h"

#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>

#define TARGETS_MAX 1000
#define DRAIN_READS 16
#define DRAIN_BYTES 65536

#define TRAIL_MASK                                                                                 \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF |        \
	 IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD)
#define DIR_MASK (TRAIL_MASK | IN_MODIFY | IN_CLOSE_WRITE | IN_EXCL_UNLINK)
#define TARGET_MASK                                                                                \
	(IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_MASK_ADD)

struct target {
	int wd;
	char *name;    /* the spec file */
	char *through; /* the directory entry its link begins with, or NULL */
};
DEFINE_VEC(target_vec, struct target)

struct watch {
	int fd;
	char *path;
	int dir_wd; /* -1: none */
	struct trail trail;
	struct target_vec targets;
	struct notes notes;
	struct watch_doubts doubts;
	struct error problem;
};

/* Events are missing, or speak of something else by now. */
static void doubt_all(struct watch *watch)
{
	watch->doubts = (struct watch_doubts){ true, true, true };
}

struct watch *watch_new(const char *path, struct error *err)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0) {
		error_sys(err, "cannot watch '%s'", path);
		return NULL;
	}
	struct watch *watch = xmalloc(sizeof(*watch));
	*watch = (struct watch){ .fd = fd, .path = xstrdup(path), .dir_wd = -1 };
	doubt_all(watch);
	return watch;
}

static void target_free(struct target *target)
{
	free(target->name);
	free(target->through);
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	for (size_t i = 0; i < watch->targets.count; i++)
		target_free(&watch->targets.at[i]);
	target_vec_clear(&watch->targets);
	trail_clear(&watch->trail);
	notes_clear(&watch->notes);
	close(watch->fd);
	free(watch->path);
	free(watch);
}

int watch_fd(const struct watch *watch)
{
	return watch->fd;
}

struct notes *watch_notes(struct watch *watch)
{
	return &watch->notes;
}

struct watch_doubts *watch_doubts(struct watch *watch)
{
	if (watch->dir_wd < 0)
		doubt_all(watch);
	return &watch->doubts;
}

const char *watch_problem(const struct watch *watch)
{
	return *watch->problem.text ? watch->problem.text : NULL;
}

/* --- arming --- */

static bool wd_in_use(const struct watch *watch, int wd)
{
	if (wd == watch->dir_wd || trail_has(&watch->trail, wd))
		return true;
	for (size_t i = 0; i < watch->targets.count; i++)
		if (watch->targets.at[i].wd == wd)
			return true;
	return false;
}

static void release(struct watch *watch, int wd)
{
	if (wd >= 0 && !wd_in_use(watch, wd))
		inotify_rm_watch(watch->fd, wd);
}

static int add_watch(struct watch *watch, const char *path, uint32_t mask)
{
	int wd = inotify_add_watch(watch->fd, path, mask);
	if (wd >= 0 || errno == ENOENT || errno == ENOTDIR)
		return wd;
	int saved = errno;
	error_sys(&watch->problem, "cannot watch '%s'", path);
	if (saved == ENOSPC)
		error_append(&watch->problem, ", raise fs.inotify.max_user_watches");
	errno = saved;
	return -1;
}

static int watch_fd_itself(struct watch *watch, int fd, uint32_t mask)
{
	char link[40];
	if (fd < 0)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return add_watch(watch, link, mask);
}

/* True when every place of the trail was watched before already: then nothing can have slipped
 * between the walk and its watches. */
static bool arm_trail(struct watch *watch)
{
	struct trail old = watch->trail;
	bool settled = true;
	trail_walk(&watch->trail, watch->path);
	for (size_t i = 0; i < watch->trail.count; i++) {
		struct trail_place *place = &watch->trail.at[i];
		place->wd = add_watch(watch, place->directory, TRAIL_MASK);
		settled &= place->wd < 0 ? errno != ENOENT : trail_has(&old, place->wd);
	}
	for (size_t i = 0; i < old.count; i++)
		release(watch, old.at[i].wd);
	trail_clear(&old);
	return settled;
}

static void set_dir(struct watch *watch, int wd)
{
	int old = watch->dir_wd;
	if (old == wd)
		return;
	watch->dir_wd = wd;
	notes_clear(&watch->notes); /* they speak of another directory */
	doubt_all(watch);
	release(watch, old);
}

int watch_open(struct watch *watch, struct error *err)
{
	watch->problem.text[0] = '\0';
	for (int tries = 0; tries < 4 && !arm_trail(watch); tries++)
		;
	auto_close int fd = open(watch->path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		error_sys(err, "cannot open '%s'", watch->path);
		set_dir(watch, -1);
		return -1;
	}
	set_dir(watch, watch_fd_itself(watch, fd, DIR_MASK));
	return take_fd(&fd);
}

void watch_forget_target(struct watch *watch, const char *name)
{
	for (size_t i = 0; i < watch->targets.count; i++) {
		struct target target = watch->targets.at[i];
		if (strcmp(target.name, name) != 0)
			continue;
		watch->targets.at[i] = watch->targets.at[--watch->targets.count];
		release(watch, target.wd);
		target_free(&target);
		return;
	}
}

void watch_target(struct watch *watch, const char *name, int fd, const char *through)
{
	if (watch->targets.count >= TARGETS_MAX) {
		error_set(
			&watch->problem, ERROR_SYSTEM,
			"'%s' has more than %d symlinks, the targets of the others are not watched",
			watch->path, TARGETS_MAX);
		return;
	}
	target_vec_push(&watch->targets,
			(struct target){ .wd = watch_fd_itself(watch, fd, TARGET_MASK),
					 .name = xstrdup(name),
					 .through = xstrdup(through) });
}

/* --- events --- */

/* Something of `name` may be different. Chunks of one write say the same. */
static enum source_news note_touch(struct watch *watch, const char *name, uint32_t mask)
{
	bool writing = mask & IN_MODIFY;
	struct note *note = notes_add(&watch->notes, name);
	if (!note) { /* so many that none can be told apart */
		notes_clear(&watch->notes);
		doubt_all(watch);
		return SOURCE_CHANGED;
	}
	enum source_news news = !writing	? SOURCE_CHANGED
				: note->writing ? SOURCE_QUIET
						: SOURCE_WRITING;
	note->touched = true;
	note->writing = writing;
	note->closed = mask & IN_CLOSE_WRITE;
	return news;
}

static bool leads_over(const struct watch *watch, const char *name)
{
	for (size_t i = 0; i < watch->targets.count; i++) {
		const char *through = watch->targets.at[i].through;
		if (through && !strcmp(through, name))
			return true;
	}
	return false;
}

static enum source_news on_dir_event(struct watch *watch, uint32_t mask, const char *name)
{
	if (*name && !source_name_counts(name)) {
		bool leads = leads_over(watch, name);
		watch->doubts.entries |= leads;
		return leads ? SOURCE_CHANGED : SOURCE_QUIET;
	}
	if (*name && mask & (IN_DELETE | IN_MOVED_FROM)) {
		watch->doubts.names = true;
		notes_remove(&watch->notes, name);
		return SOURCE_CHANGED;
	}
	if (*name && mask & (IN_CREATE | IN_MOVED_TO))
		watch->doubts.names = true;
	if (*name && mask & (IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO))
		return note_touch(watch, name, mask);
	watch->doubts.entries = true;
	return SOURCE_CHANGED;
}

static enum source_news more_of(enum source_news a, enum source_news b)
{
	return a > b ? a : b;
}

/* The spec file is noted, under each name that leads here. */
static enum source_news on_target_event(struct watch *watch, int wd, uint32_t mask)
{
	enum source_news news = SOURCE_QUIET;
	for (size_t i = 0; i < watch->targets.count; i++) {
		struct target *target = &watch->targets.at[i];
		if (target->wd != wd)
			continue;
		if (mask & IN_IGNORED)
			target->wd = -1;
		news = more_of(news, note_touch(watch, target->name, mask));
	}
	return news;
}

static bool on_ignored(struct watch *watch, int wd)
{
	bool ours = wd == watch->dir_wd;
	if (ours) {
		watch->dir_wd = -1;
		doubt_all(watch);
	}
	return trail_lose(&watch->trail, wd) || ours;
}

static enum source_news on_event(struct watch *watch, const struct inotify_event *event)
{
	const char *name = event->len ? event->name : "";
	if (event->mask & IN_Q_OVERFLOW) {
		notes_clear(&watch->notes);
		doubt_all(watch);
		return SOURCE_CHANGED;
	}
	enum source_news news = on_target_event(watch, event->wd, event->mask);
	if (event->mask & IN_IGNORED)
		return on_ignored(watch, event->wd) ? SOURCE_CHANGED : news;
	if (event->wd == watch->dir_wd)
		news = more_of(news, on_dir_event(watch, event->mask, name));
	/* Another directory in its place is noticed when it is opened, and doubted then. */
	return trail_concerns(&watch->trail, event->wd, name) ? SOURCE_CHANGED : news;
}

enum source_news watch_drain(struct watch *watch)
{
	_Alignas(struct inotify_event) char buffer[DRAIN_BYTES];
	enum source_news news = SOURCE_QUIET;
	for (int reads = 0; reads < DRAIN_READS; reads++) {
		ssize_t got = read(watch->fd, buffer, sizeof(buffer));
		if (got <= 0)
			break;
		for (const char *at = buffer; at < buffer + got;) {
			const struct inotify_event *event = (const void *)at;
			news = more_of(news, on_event(watch, event));
			at += sizeof(*event) + event->len;
		}
	}
	return news;
}
