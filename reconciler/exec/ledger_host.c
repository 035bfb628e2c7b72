/* What belongs to no single VM: images and kernels, half-built ones, the download cache, and the
 * daemon's own locks and sockets. */
#include "exec/ledger.h"
#include "base/fs.h"
#include "sys/paths.h"
#include "sys/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

/* --- hypervisors --- */

#define QUIT_MS 3000
#define KILL_MS 5000

static bool dir_has_disks(const struct ledger *ledger, const char *id)
{
	static const char *const disks[] = { VM_FILE_ROOT_DISK, VM_FILE_ROOT_OVERLAY,
					     VM_FILE_ROOT_COW, VM_FILE_WORK_DISK };
	for (size_t i = 0; i < ARRAY_COUNT(disks); i++) {
		auto_free char *path = xasprintf("%s/%s/%s", ledger->host->vms_dir, id, disks[i]);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static int probe_hypervisors(struct ledger *ledger, struct error *err)
{
	struct hv_process_vec found = { 0 };
	if (hv_find_all(ledger->host->vms_dir, &found, err) < 0)
		return -1;
	for (size_t i = 0; i < found.count; i++) {
		const struct hv_process *process = &found.at[i];
		struct object *object = ledger_add(ledger, &ledger_hypervisors, "process",
						   xasprintf("pid %d", (int)process->pid));
		str_copy(object->id, sizeof(object->id), process->id);
		object->need = NEED_ROW;
		object->pid = process->pid;
		object->start_ticks = process->start_ticks;
		object->size = process->memory;
		object->data = dir_has_disks(ledger, process->id);
		object->since_ms = proc_started_ms(process->start_ticks);
	}
	hv_processes_clear(&found);
	for (size_t i = 0; i < ledger->owner_count; i++) {
		const struct owner *owner = &ledger->owners[i];
		if (!owner->adopted)
			continue;
		struct object *object = ledger_add(ledger, &ledger_hypervisors, "process",
						   xasprintf("pid %d", (int)owner->adopted));
		str_copy(object->id, sizeof(object->id), owner->id);
		object->since_ms = owner->started_ms;
	}
	return 0;
}

static int end_process(const struct ledger *ledger, const struct object *object,
		       const struct hv_process *process, struct error *err)
{
	struct error ignored;
	auto_free char *path = xasprintf("%s/%s", ledger->host->vms_dir, object->id);
	auto_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* By its monitor the disks are flushed. */
	if (dir >= 0 && process->hv->quit(dir, QUIT_MS, &ignored) == 0 &&
	    proc_wait_gone(process->pidfd, QUIT_MS) == 0)
		return 0;
	proc_signal(process->pidfd, SIGKILL);
	if (proc_wait_gone(process->pidfd, KILL_MS) == 0)
		return 0;
	return error_set(err, ERROR_TIMEOUT, "%s does not end after SIGKILL", object->what);
}

static int discard_hypervisor(const struct ledger *ledger, const struct object *object,
			      struct error *err)
{
	struct hv_process_vec found = { 0 };
	if (hv_find_all(ledger->host->vms_dir, &found, err) < 0)
		return -1;
	int failed = 0;
	for (size_t i = 0; i < found.count && !failed; i++)
		if (found.at[i].pid == object->pid &&
		    found.at[i].start_ticks == object->start_ticks &&
		    !strcmp(found.at[i].id, object->id))
			failed = end_process(ledger, object, &found.at[i], err);
	hv_processes_clear(&found);
	return failed;
}

const struct ledger_kind ledger_hypervisors = { "processes", probe_hypervisors,
						discard_hypervisor };

/* --- images and kernels --- */

static int probe_leftovers(struct ledger *ledger, struct error *err)
{
	struct image_leftover_vec found = { 0 };
	int failed = image_leftovers(&ledger->host->images, &found, err);
	for (size_t i = 0; i < found.count; i++) {
		struct object *object = ledger_add(ledger, &ledger_leftovers, "half-made image",
						   take_ptr(&found.at[i].path));
		object_of_file(object, &found.at[i].st);
		object->need = NEED_MAKER;
		object->held = found.at[i].held;
	}
	image_leftovers_clear(&found);
	return failed;
}

static int discard_leftover(const struct ledger *ledger, const struct object *object,
			    struct error *err)
{
	return image_leftover_remove(&ledger->host->images, object->what, &object->st, err);
}

const struct ledger_kind ledger_leftovers = { "half-made images", probe_leftovers,
					      discard_leftover };

/* Files or directories of a folder that a filter knows; a folder that is not there has none. */
static void add_entries(struct ledger *ledger, const struct ledger_kind *from, const char *kind,
			const char *folder, mode_t type, bool (*fits)(const char *name))
{
	auto_dir DIR *list = opendir(folder);
	for (struct dirent *entry; list && (entry = readdir(list));) {
		struct stat st;
		if (!fits(entry->d_name) ||
		    fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (st.st_mode & S_IFMT) != type || st.st_uid != geteuid())
			continue;
		object_of_file(
			ledger_add(ledger, from, kind, xasprintf("%s/%s", folder, entry->d_name)),
			&st);
	}
}

static bool is_digest(const char *name)
{
	return strspn(name, "0123456789abcdef") == 64 && !name[64];
}

static int probe_images(struct ledger *ledger, struct error *err)
{
	(void)err;
	auto_free char *images = xasprintf("%s/images", ledger->host->state);
	auto_free char *kernels = xasprintf("%s/kernels", ledger->host->state);
	add_entries(ledger, &ledger_images, "image", images, S_IFDIR, is_digest);
	add_entries(ledger, &ledger_images, "kernel", kernels, S_IFDIR, is_digest);
	return 0;
}

const struct ledger_kind ledger_images = { "images", probe_images, NULL };

/* --- the cache: what a download that was cut short left in the package manager's own folders ---
 */

static bool any_name(const char *name)
{
	return name[0] != '.' && strcmp(name, "lock") != 0 && strcmp(name, "auxfiles") != 0;
}

static int probe_cache(struct ledger *ledger, struct error *err)
{
	static const char *const folders[] = { "lists/partial", "archives/partial", "apt/partial" };
	(void)err;
	auto_close int cache = open(ledger->host->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool held = cache >= 0 && lock_is_held(cache, "lock");
	for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
		size_t first = ledger->objects.count;
		auto_free char *folder = xasprintf("%s/%s", ledger->host->cache, folders[i]);
		add_entries(ledger, &ledger_cache, "half-made download", folder, S_IFREG, any_name);
		for (; first < ledger->objects.count; first++) {
			ledger->objects.at[first].need = NEED_MAKER;
			ledger->objects.at[first].held = held;
		}
	}
	return 0;
}

static int discard_download(const struct ledger *ledger, const struct object *object,
			    struct error *err)
{
	auto_close int cache = open(ledger->host->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cache >= 0 && lock_is_held(cache, "lock"))
		return error_set(err, ERROR_BUSY, "an image is being built");
	int there = object_is_there(object, AT_FDCWD, object->what, err);
	return there <= 0 ? there : fs_unlink(AT_FDCWD, object->what, err);
}

const struct ledger_kind ledger_cache = { "downloads", probe_cache, discard_download };

/* --- half-written files of the daemon's own: fs_write() puts the thread's number behind a name ---
 */

static const char *thread_of(const char *name)
{
	const char *tmp = strstr(name, ".tmp");
	const char *number = tmp ? tmp + strlen(".tmp") : NULL;
	return number && number[0] && !number[strspn(number, "0123456789")] ? number : NULL;
}

static bool is_half_written(const char *name)
{
	return thread_of(name) != NULL;
}

/* One of ours writes it, or will soon write one of that name. */
static bool is_being_written(const char *path)
{
	auto_free char *task = xasprintf("/proc/self/task/%s", thread_of(strrchr(path, '/')));
	return access(task, F_OK) == 0;
}

/* A daemon that died at it left it, and no thread of anybody has that number since. */
static bool is_left_behind(const char *path)
{
	auto_free char *thread = xasprintf("/proc/%s", thread_of(strrchr(path, '/')));
	return access(thread, F_OK) < 0 && errno == ENOENT;
}

static int probe_half_written(struct ledger *ledger, struct error *err)
{
	auto_free char *keys = xasprintf("%s/keys", ledger->host->state);
	const char *const folders[] = { ledger->host->state, keys, ledger->host->cache,
					ledger->runtime };
	size_t first = ledger->objects.count;
	(void)err;
	for (size_t i = 0; i < ARRAY_COUNT(folders); i++)
		add_entries(ledger, &ledger_half_written, "half-made file", folders[i], S_IFREG,
			    is_half_written);
	for (; first < ledger->objects.count; first++) {
		struct object *object = &ledger->objects.at[first];
		object->need = NEED_MAKER;
		object->held = is_being_written(object->what);
		object->maker_gone = is_left_behind(object->what);
	}
	return 0;
}

static int discard_half_written(const struct ledger *ledger, const struct object *object,
				struct error *err)
{
	(void)ledger;
	if (is_being_written(object->what))
		return error_set(err, ERROR_BUSY, "'%s' is being written", object->what);
	int there = object_is_there(object, AT_FDCWD, object->what, err);
	return there <= 0 ? there : fs_unlink(AT_FDCWD, object->what, err);
}

const struct ledger_kind ledger_half_written = { "half-made files", probe_half_written,
						 discard_half_written };

/* --- the daemon --- */

static bool is_lock(const char *name)
{
	return !strncmp(name, ".lock", 5);
}
static bool is_daemon_lock(const char *name)
{
	return !strcmp(name, PATHS_LOCK) || !strcmp(name, "start.lock");
}
static bool is_daemon_socket(const char *name)
{
	return !strcmp(name, "bangerd.sock");
}

static int probe_daemon(struct ledger *ledger, struct error *err)
{
	(void)err;
	auto_free char *images = xasprintf("%s/images", ledger->host->state);
	auto_free char *kernels = xasprintf("%s/kernels", ledger->host->state);
	struct object *object = ledger_add(ledger, &ledger_daemon, "process",
					   xasprintf("pid %d (bangerd)", (int)getpid()));
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc >= 0 && proc_start_ticks(proc, getpid(), &object->start_ticks) == 0)
		object->since_ms = proc_started_ms(object->start_ticks);
	add_entries(ledger, &ledger_daemon, "lock", ledger->host->state, S_IFREG, is_daemon_lock);
	add_entries(ledger, &ledger_daemon, "lock", images, S_IFREG, is_lock);
	add_entries(ledger, &ledger_daemon, "lock", kernels, S_IFREG, is_lock);
	add_entries(ledger, &ledger_daemon, "lock", ledger->runtime, S_IFREG, is_daemon_lock);
	add_entries(ledger, &ledger_daemon, "socket", ledger->runtime, S_IFSOCK, is_daemon_socket);
	return 0;
}

const struct ledger_kind ledger_daemon = { "the daemon", probe_daemon, NULL };
