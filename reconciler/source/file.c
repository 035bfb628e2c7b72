/* Theory of operation
 *
 * A look at a file costs one fstatat() as long as its key (device, inode, size, times) is the one
 * that was parsed and inotify said nothing about it. Otherwise it is opened, without blocking, and
 * read between two proofs that nobody writes: a read lease, which the kernel refuses with EAGAIN
 * while any descriptor can write, and the same key before and after. Where leases do not work (file
 * systems without them, files of others) inotify's MODIFY without CLOSE_WRITE must do. The lease is
 * dropped at once, so no writer ever waits for us, and its signal is set to SIGURG, which is
 * ignored by default, because SIGIO would end the process.
 *
 * A busy file keeps no key: every scan tries again. */
#include "source/file.h"
#include "base/fs.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define RACY_SECONDS	 3 /* vfat counts in twos */
#define CLOSING_FIRST_NS 50000
#define CLOSING_LAST_NS	 1000000

struct source_file *source_file_new(const char *directory, const char *name)
{
	struct source_file *file = xmalloc(sizeof(*file));
	const char *slash = strcmp(directory, "/") ? "/" : "";
	*file = (struct source_file){ .name = xstrdup(name),
				      .path = xasprintf("%s%s%s", directory, slash, name) };
	return file;
}

void source_file_free(struct source_file *file)
{
	if (!file)
		return;
	if (file->has_good)
		spec_set_clear(&file->good);
	if (file->has_fresh)
		spec_set_clear(&file->fresh);
	faults_clear(&file->faults);
	free(file->name);
	free(file->path);
	free(file);
}

const struct spec_set *source_file_candidate(const struct source_file *file)
{
	if (file->has_fresh && !file->rejected)
		return &file->fresh;
	return file->has_good ? &file->good : NULL;
}

static void drop_fresh(struct source_file *file)
{
	if (file->has_fresh)
		spec_set_clear(&file->fresh);
	file->has_fresh = false;
}

static void set_state(struct source_file *file, enum file_state state, const char *problem)
{
	drop_fresh(file);
	faults_clear(&file->faults);
	file->state = state;
	file->key_valid = false;
	snprintf(file->problem, sizeof(file->problem), "%s", problem);
}

/* Broken in a way that has no line and column. */
static void set_broken(struct source_file *file, const char *problem)
{
	set_state(file, FILE_BROKEN, problem);
	fault_vec_push(&file->faults, (struct fault){ .file = xstrdup(file->path),
						      .path = xstrdup(""),
						      .text = xstrdup(problem) });
}

static void set_broken_errno(struct source_file *file, int error)
{
	char problem[sizeof(file->problem)];
	snprintf(problem, sizeof(problem), "cannot be read: %s", strerror(error));
	set_broken(file, problem);
}

static void set_busy(struct source_file *file)
{
	set_state(file, FILE_BUSY, "is being written");
}

static struct file_key key_of(const struct stat *st)
{
	return (struct file_key){ st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim };
}

static bool time_equal(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool key_equal(const struct file_key *a, const struct file_key *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       time_equal(a->modified, b->modified) && time_equal(a->changed, b->changed);
}

enum writer { WRITER_NONE, WRITER_HERE, WRITER_UNKNOWN };

static enum writer look_for_writer(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG) < 0)
		return WRITER_UNKNOWN;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return WRITER_NONE;
	}
	return errno == EAGAIN ? WRITER_HERE : WRITER_UNKNOWN;
}

/* The kernel says CLOSE_WRITE a moment before the descriptor stops to count as a writer. No further
 * event would tell of the end of that moment, so it is waited for. */
static enum writer wait_for_close(int fd)
{
	enum writer writer;
	struct timespec pause = { .tv_nsec = CLOSING_FIRST_NS };
	for (; (writer = look_for_writer(fd)) == WRITER_HERE && pause.tv_nsec < CLOSING_LAST_NS;
	     pause.tv_nsec *= 2)
		nanosleep(&pause, NULL);
	return writer;
}

static void parse(struct source_file *file, const struct file_look *look)
{
	struct spec_source source = { .name = file->path,
				      .text = look->text.data,
				      .len = look->text.len,
				      .directory = look->directory };
	struct spec_set set;
	struct fault_vec faults = { 0 };
	if (spec_load(&source, 1, look->context, &set, &faults) < 0) {
		set_state(file, FILE_BROKEN, "is not valid");
		file->faults = faults;
		return;
	}
	faults_clear(&faults);
	if (!set.count && !set.says_none) {
		spec_set_clear(&set);
		set_broken(file, "says nothing about VMs, write 'vms: {}' for none");
		return;
	}
	set_state(file, FILE_VALID, "");
	file->fresh = set;
	file->has_fresh = true;
}

/* Whether the text in look is all of the file and nobody is changing it. */
static bool read_settled(struct source_file *file, struct file_look *look, int fd,
			 struct note *note, struct file_key *ret_key)
{
	struct stat before, after;
	struct error err;
	if (fstat(fd, &before) < 0) {
		set_broken_errno(file, errno);
		return false;
	}
	if (!S_ISREG(before.st_mode)) {
		set_broken(file, "is not a regular file");
		return false;
	}
	enum writer writer = note && note->closed ? wait_for_close(fd) : look_for_writer(fd);
	look->closing |= writer == WRITER_HERE && note && note->closed;
	if (writer == WRITER_NONE && note)
		note->writing = false; /* a truncate() by path is never closed */
	if (writer == WRITER_HERE || (note && note->writing)) {
		set_busy(file);
		return false;
	}
	buf_reset(&look->text);
	if (fs_read_fd(fd, file->path, SPEC_FILE_MAX, &look->text, &err) < 0) {
		set_broken(file, err.code == ERROR_INVALID ? "is larger than 4 MiB" : err.text);
		return false;
	}
	*ret_key = key_of(&before);
	struct file_key now = { 0 };
	if (fstat(fd, &after) == 0)
		now = key_of(&after);
	if (!key_equal(ret_key, &now) || look_for_writer(fd) == WRITER_HERE) {
		set_busy(file);
		return false;
	}
	return true;
}

/* Tells the watch what the name leads over when it is a symlink. */
static void follow_link(struct source_file *file, struct file_look *look, int fd)
{
	char target[PATH_MAX];
	if (file->linked)
		watch_forget_target(look->watch, file->name);
	ssize_t len = readlinkat(look->dirfd, file->name, target, sizeof(target) - 1);
	file->linked = len > 0;
	if (len <= 0)
		return;
	target[len] = '\0';
	char *through = target;
	while (!strncmp(through, "./", 2))
		through += 2 + strspn(through + 2, "/");
	through[strcspn(through, "/")] =
		'\0'; /* an absolute one becomes "", which no event names */
	watch_target(look->watch, file->name, fd, through);
}

static void read_file(struct source_file *file, struct file_look *look, struct note *note)
{
	auto_close int fd =
		openat(look->dirfd, file->name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		set_broken_errno(file, errno);
		return;
	}
	follow_link(file, look, fd);
	struct file_key key;
	if (!read_settled(file, look, fd, note, &key))
		return;
	parse(file, look);
	file->key = key;
	file->key_valid = true;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	file->racy = now.tv_sec - key.changed.tv_sec < RACY_SECONDS;
}

void source_file_gone(struct source_file *file, struct watch *watch)
{
	if (file->linked)
		watch_forget_target(watch, file->name);
	file->linked = false;
	file->was_gone = true;
	set_state(file, FILE_GONE, "");
}

void source_file_reject(struct source_file *file, const char *why)
{
	set_broken(file, why);
}

/* fstatat() failed: gone, or a symlink that leads nowhere? */
static void look_at_nothing(struct source_file *file, struct file_look *look, int error)
{
	struct stat st;
	if (error == ENOENT && fstatat(look->dirfd, file->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		source_file_gone(file, look->watch);
		return;
	}
	follow_link(file, look, -1);
	if (error == ENOENT)
		set_broken(file, "is a symlink that leads nowhere");
	else
		set_broken_errno(file, error);
}

void source_file_look(struct source_file *file, struct file_look *look)
{
	struct note *note = notes_find(watch_notes(look->watch), file->name);
	if (note)
		note->seen = true;
	else if (look->by_notes && file->key_valid)
		return;
	struct stat st;
	if (fstatat(look->dirfd, file->name, &st, 0) < 0) {
		look_at_nothing(file, look, errno);
		return;
	}
	struct file_key key = key_of(&st);
	bool proven = !note && !(file->racy && look->distrust);
	if (proven && file->key_valid && key_equal(&file->key, &key))
		return;
	if (!S_ISREG(st.st_mode)) {
		set_broken(file, "is not a regular file");
		return;
	}
	if (st.st_size > SPEC_FILE_MAX) {
		set_broken(file, "is larger than 4 MiB");
		return;
	}
	read_file(file, look, note);
}
