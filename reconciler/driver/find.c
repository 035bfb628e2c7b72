/* Theory of operation: a process is ours when its executable is the driver's program, its owner is
 * us or, where we are root, the VM's own user (vm_user.h), it sees our root directory (a container
 * with the same paths does not), and its command line names a file in our state directory. No file
 * is consulted. The command line is read first, as it rules out nearly all, then the process is
 * pinned by a pidfd and everything is read again: had the pid been reused in between, the pidfd
 * would be of the new process and the second look would not match; had it been reused after, the
 * pidfd would tell that its process ended. */
#include "driver/find.h"
#include "driver/vm_user.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

struct state_dir {
	const char *given;
	char *real; /* NULL: it does not exist */
	dev_t dev;
	ino_t ino;
};

struct scan {
	const struct find_rules *rules;
	int proc_dirfd;
	struct state_dir state;
	struct stat root;
	struct hv_process_vec *found;
	struct buf cmdline, vms_dir; /* room is kept from one process to the next */
};

/* --- the command line --- */

static bool id_valid(const char *id, size_t len)
{
	if (!len || len >= sizeof(((struct hv_process *)0)->id))
		return false;
	return strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz") >= len;
}

bool find_our_path(const char *path, const char *file, struct hv_process *ret,
		   struct buf *ret_vms_dir)
{
	size_t len = strlen(path), tail = strlen(file) + 1;
	if (path[0] != '/' || len <= tail || len >= PATH_MAX || path[len - tail] != '/' ||
	    strcmp(path + len - tail + 1, file) != 0)
		return false;
	const char *end = path + len - tail, *id = end;
	while (id > path && id[-1] != '/')
		id--;
	if (id <= path + 1 || !id_valid(id, (size_t)(end - id)))
		return false;
	memcpy(ret->id, id, (size_t)(end - id));
	ret->id[end - id] = '\0';
	buf_reset(ret_vms_dir);
	buf_add_bytes(ret_vms_dir, path, (size_t)(id - 1 - path));
	return true;
}

const char *find_argument(const char **at, const char *end)
{
	const char *argument = *at;
	const char *nul = argument < end ? memchr(argument, '\0', (size_t)(end - argument)) : NULL;
	if (!nul)
		return NULL;
	*at = nul + 1;
	return argument;
}

/* --- the process --- */

static bool is_our_state(const struct state_dir *state, const char *path)
{
	if (!strcmp(path, state->given) || (state->real && !strcmp(path, state->real)))
		return true;
	struct stat st;
	return state->real && stat(path, &st) == 0 && st.st_dev == state->dev &&
	       st.st_ino == state->ino;
}

static bool runs_it(const struct scan *scan, pid_t pid)
{
	char name[32], path[PATH_MAX];
	snprintf(name, sizeof(name), "%d/exe", (int)pid);
	ssize_t len = readlinkat(scan->proc_dirfd, name, path, sizeof(path) - 1);
	if (len <= 0)
		return false;
	path[len] = '\0';
	const char *base = strrchr(path, '/');
	return base && scan->rules->is_program(base + 1, scan->cmdline.data);
}

static bool shares_our_root(const struct scan *scan, pid_t pid)
{
	char name[32];
	struct stat st;
	snprintf(name, sizeof(name), "%d/root", (int)pid);
	return fstatat(scan->proc_dirfd, name, &st, 0) == 0 && st.st_dev == scan->root.st_dev &&
	       st.st_ino == scan->root.st_ino;
}

static bool owner_of(int proc_dirfd, pid_t pid, uid_t *ret)
{
	char name[16];
	struct stat st;
	snprintf(name, sizeof(name), "%d", (int)pid);
	if (fstatat(proc_dirfd, name, &st, 0) < 0)
		return false;
	*ret = st.st_uid;
	return true;
}

/* Only root runs anything as somebody else: as the user that the VM's directory names. Where there
 * is no directory any more, one of that range is left over. */
static bool runs_as_it_should(const struct scan *scan, uid_t uid, const char *id)
{
	struct stat st;
	if (geteuid() != 0)
		return uid == geteuid();
	auto_free char *dir = xasprintf("%s/%s", scan->state.given, id);
	if (stat(dir, &st) < 0)
		return uid == 0 || vm_user_in_range(uid);
	uid_t own = vm_user_of(&st);
	return uid == (own ? own : geteuid());
}

/* In a jail it sees the VM's directory for jails as its root, and nobody else does. */
static bool is_in_jail(struct scan *scan, pid_t pid, const struct hv_process *seen)
{
	char name[32];
	struct stat is, should;
	auto_free char *path =
		xasprintf("%s/%s/%s", scan->state.given, seen->id, scan->vms_dir.data);
	snprintf(name, sizeof(name), "%d/root", (int)pid);
	return fstatat(scan->proc_dirfd, name, &is, 0) == 0 && lstat(path, &should) == 0 &&
	       S_ISDIR(should.st_mode) && is.st_dev == should.st_dev && is.st_ino == should.st_ino;
}

/* Not being able to look is not the same as nothing being there: a VM that is overlooked would be
 * started again (and fail on its lock). A process that ends meanwhile is nothing. */
static bool means_gone(int code)
{
	return code != EMFILE && code != ENFILE && code != ENOMEM;
}

/* Its command line names our state directory: rules out nearly all. */
static bool look(struct scan *scan, pid_t pid, struct hv_process *ret)
{
	uid_t uid;
	buf_reset(&scan->cmdline);
	buf_reset(&scan->vms_dir);
	return owner_of(scan->proc_dirfd, pid, &uid) && (uid == geteuid() || geteuid() == 0) &&
	       proc_cmdline(scan->proc_dirfd, pid, &scan->cmdline) == 0 &&
	       scan->rules->parse(scan->cmdline.data, scan->cmdline.len, ret, &scan->vms_dir) &&
	       (ret->jailed ? is_in_jail(scan, pid, ret)
			    : is_our_state(&scan->state, scan->vms_dir.data)) &&
	       ((ret->is_jailer && uid == geteuid()) || runs_as_it_should(scan, uid, ret->id));
}

static int consider(void *cookie, pid_t pid)
{
	struct scan *scan = cookie;
	struct hv_process seen;
	errno = 0;
	if (!look(scan, pid, &seen))
		return means_gone(errno) ? 0 : errno;
	auto_close int pidfd = proc_pidfd(pid);
	if (pidfd < 0 || !look(scan, pid, &seen) || !runs_it(scan, pid) ||
	    (!seen.jailed && !shares_our_root(scan, pid)) ||
	    proc_start_ticks(scan->proc_dirfd, pid, &seen.start_ticks) < 0)
		return means_gone(errno) ? 0 : errno;
	/* Had it ended while we looked; a zombie has ended too. */
	if (proc_wait_gone(pidfd, 0) == 0)
		return 0;
	seen.pid = pid;
	seen.pidfd = take_fd(&pidfd);
	hv_process_vec_push(scan->found, seen);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct hv_process *x = a, *y = b;
	int order = strcmp(x->id, y->id);
	return order ? order : (x->pid > y->pid) - (x->pid < y->pid);
}

int find_processes(const struct find_rules *rules, int proc_dirfd, const char *state_vms_dir,
		   struct hv_process_vec *ret, struct error *err)
{
	struct scan scan = { .rules = rules,
			     .proc_dirfd = proc_dirfd,
			     .state = { .given = state_vms_dir },
			     .found = ret,
			     .cmdline = BUF_INIT,
			     .vms_dir = BUF_INIT };
	if (stat("/", &scan.root) < 0)
		return error_sys(err, "cannot look at '/'");
	struct stat st;
	auto_free char *real = realpath(state_vms_dir, NULL);
	if (real && stat(real, &st) == 0) {
		scan.state.real = real;
		scan.state.dev = st.st_dev;
		scan.state.ino = st.st_ino;
	}
	int failed = proc_each(proc_dirfd, consider, &scan);
	buf_clear(&scan.cmdline);
	buf_clear(&scan.vms_dir);
	if (failed) {
		errno = failed > 0 ? failed : errno;
		return error_sys(err, "cannot look for running VMs in /proc");
	}
	if (ret->count)
		qsort(ret->at, ret->count, sizeof(*ret->at), by_id);
	return 0;
}
