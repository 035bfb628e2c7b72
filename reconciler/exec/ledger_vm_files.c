/* Theory of operation: a directory below vms/ is a VM's when its name can be an id, it is ours and
 * no link, and it is empty or holds a file that a row of capabilities[] knows, of that file's type.
 * Those files are objects of their own, or (kind NULL) part of the directory. A file is taken out
 * while its VM's lock is held, so that no start can come between the look and the removal. A
 * directory goes last and only when nothing is in it that is not banger's. */
#include "exec/capability.h"
#include "exec/ledger.h"
#include "driver/vm_user.h"
#include "base/fs.h"
#include "sys/loop.h"
#include "sys/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#define LOCK_MS 3000

static bool type_fits(const struct vm_file *file, mode_t mode)
{
	return (mode & S_IFMT) == (file->type ? file->type : S_IFREG);
}

/* name, or name.tmp and digits: what is being written. NULL: not banger's. */
static const struct vm_file *file_known(const char *name, mode_t mode, bool *ret_half_made)
{
	const char *tmp = strstr(name, ".tmp");
	*ret_half_made = tmp && strspn(tmp + 4, "0123456789") == strlen(tmp + 4);
	size_t len = *ret_half_made ? (size_t)(tmp - name) : strlen(name);
	for (size_t i = 0; capabilities[i]; i++)
		for (const struct vm_file *file = capabilities[i]->files; file && file->name;
		     file++)
			if (strlen(file->name) == len && !strncmp(file->name, name, len) &&
			    type_fits(file, mode))
				return file;
	return NULL;
}

struct vm_dir {
	struct ledger *ledger;
	const char *id, *path;
	int fd;
	uid_t user; /* whom its hypervisor's files belong to; geteuid(): ours */
	bool held, any, data;
	uint64_t rest;	   /* bytes of what is part of it */
	int64_t newest_ms; /* of its files: taking one out of it makes it no younger */
};

static void look_at_file(struct vm_dir *dir, const char *name)
{
	bool half_made;
	struct stat st;
	if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (st.st_uid != geteuid() && st.st_uid != dir->user))
		return;
	const struct vm_file *file = file_known(name, st.st_mode, &half_made);
	if (!file)
		return;
	dir->any = true;
	int64_t written_ms = (int64_t)st.st_mtim.tv_sec * 1000;
	if (written_ms > dir->newest_ms)
		dir->newest_ms = written_ms;
	if (S_ISDIR(st.st_mode)) /* another row's */
		return;
	if (!file->kind && !half_made) {
		dir->rest += (uint64_t)st.st_blocks * 512;
		return;
	}
	struct object *object =
		ledger_add(dir->ledger, &ledger_vm_files, half_made ? "half-made file" : file->kind,
			   xasprintf("%s/%s", dir->path, name));
	object_of_file(object, &st);
	str_copy(object->id, sizeof(object->id), dir->id);
	object->need = half_made ? NEED_MAKER : file->need;
	object->data = file->data && !half_made;
	object->held = dir->held;
	dir->data |= object->data;
}

static void look_into(struct ledger *ledger, int vms_fd, const char *id)
{
	auto_free char *path = xasprintf("%s/%s", ledger->host->vms_dir, id);
	auto_dir DIR *list = fs_list(vms_fd, id);
	struct stat st;
	if (!list || fstat(dirfd(list), &st) < 0 || st.st_uid != geteuid())
		return;
	const struct owner *owner = ledger_owner(ledger, id);
	struct vm_dir dir = { .ledger = ledger, .id = id, .path = path, .fd = dirfd(list) };
	dir.user = vm_user_of(&st) ? vm_user_of(&st) : geteuid();
	dir.held = (owner && owner->runs) || lock_is_held(dir.fd, VM_FILE_LOCK);
	size_t entries = 0;
	for (struct dirent *entry; (entry = readdir(list));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
			entries++;
			look_at_file(&dir, entry->d_name);
		}
	if (entries && !dir.any)
		return;
	struct object *object = ledger_add(ledger, &ledger_vm_files, "directory", take_ptr(&path));
	object_of_file(object, &st);
	str_copy(object->id, sizeof(object->id), id);
	object->need = NEED_ROW;
	object->data = dir.data;
	object->size += dir.rest;
	if (dir.newest_ms)
		object->since_ms = dir.newest_ms;
}

static int probe(struct ledger *ledger, struct error *err)
{
	auto_dir DIR *list = opendir(ledger->host->vms_dir);
	if (!list)
		return error_sys(err, "cannot list '%s'", ledger->host->vms_dir);
	for (struct dirent *entry; (entry = readdir(list));)
		if (vm_id_fits(entry->d_name))
			look_into(ledger, dirfd(list), entry->d_name);
	return 0;
}

/* A hypervisor that is ending is in no list any more before it has let go of its lock. */
static bool lock_in_time(int fd)
{
	for (uint64_t end = clock_monotonic_ms() + LOCK_MS;;) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (clock_monotonic_ms() >= end)
			return false;
		usleep(10 * 1000);
	}
}

int ledger_lock_vm(const struct ledger *ledger, const struct object *object, int *ret_fd,
		   struct error *err)
{
	*ret_fd = -1;
	if (!object->id[0])
		return 0;
	auto_free char *path = xasprintf("%s/%s/" VM_FILE_LOCK, ledger->host->vms_dir, object->id);
	auto_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : error_sys(err, "cannot open '%s'", path);
	if (!lock_in_time(fd))
		return error_set(err, ERROR_BUSY, "a hypervisor holds '%s'", object->what);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* What is left in it is its own, or not banger's. */
static int empty_directory(int dirfd, const char *what, struct error *err)
{
	auto_dir DIR *list = fs_list(dirfd, ".");
	if (!list)
		return error_sys(err, "cannot list '%s'", what);
	for (struct dirent *entry; (entry = readdir(list));) {
		const char *name = entry->d_name;
		bool half_made;
		struct stat st;
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		const struct vm_file *file = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0
						     ? NULL
						     : file_known(name, st.st_mode, &half_made);
		if (!file)
			return error_set(err, ERROR_CONFLICT,
					 "'%s' stays: '%s' in it is not banger's", what, name);
		if (file->kind || half_made)
			return error_set(err, ERROR_BUSY, "'%s' stays: it still holds '%s'", what,
					 name);
		if (fs_unlink(dirfd, name, err) < 0)
			return -1;
	}
	return 0;
}

static int discard(const struct ledger *ledger, const struct object *object, struct error *err)
{
	auto_close int vms =
		open(ledger->host->vms_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int dir =
		vms < 0 ? -1
			: openat(vms, object->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : error_sys(err, "cannot open '%s'", object->what);
	auto_close int lock = -1;
	if (ledger_lock_vm(ledger, object, &lock, err) < 0)
		return -1;
	bool whole = S_ISDIR(object->st.st_mode);
	const char *name = whole ? object->id : strrchr(object->what, '/') + 1;
	int there = object_is_there(object, whole ? vms : dir, name, err);
	if (there <= 0)
		return there;
	if (!whole)
		return fs_unlink(dir, name, err);
	if (empty_directory(dir, object->what, err) < 0)
		return -1;
	if (unlinkat(vms, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return error_sys(err, "cannot remove '%s'", object->what);
	return 0;
}

const struct ledger_kind ledger_vm_files = { "files of VMs", probe, discard };
