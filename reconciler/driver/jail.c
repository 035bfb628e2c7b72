#include "driver/jail.h"
#include "driver/cgroup.h"
#include "driver/driver.h"
#include "driver/vm_user.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

void jail_root_path(const char *program, const char *name, struct buf *ret)
{
	buf_addf(ret, VM_FILE_JAIL "/%s/%s/root", program, name);
}

/* --- made and filled --- */

int jail_possible(int fd, struct error *err)
{
	struct statvfs fs;
	if (fstatvfs(fd, &fs) < 0)
		return error_sys(err, "cannot look at the file system");
	if (fs.f_flag & (ST_NODEV | ST_NOEXEC))
		return error_set(err, ERROR_INVALID,
				 "the jailer needs device nodes and programs below the state "
				 "directory, whose file system is mounted '%s': mount it without",
				 fs.f_flag & ST_NODEV ? "nodev" : "noexec");
	return 0;
}

/* A hypervisor without a jail can make a directory of this name: what is in it is not our word. */
static bool is_ours(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_uid == geteuid();
}

/* Each directory by the one above it: no path is too long, and no link is followed. */
static int enter(int dirfd, const char *name, struct error *err)
{
	if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return error_sys(err, "cannot make '%s' of the jail", name);
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, "cannot open '%s' of the jail", name);
	if (!is_ours(fd))
		return error_set(err, ERROR_CONFLICT,
				 "'%s' of the jail is there already and somebody else's", name);
	return take_fd(&fd);
}

int jail_make(int vm_dirfd, const char *program, const char *name, struct error *err)
{
	if (jail_possible(vm_dirfd, err) < 0)
		return -1;
	auto_close int base = enter(vm_dirfd, VM_FILE_JAIL, err);
	auto_close int of_program = base < 0 ? -1 : enter(base, program, err);
	auto_close int own = of_program < 0 ? -1 : enter(of_program, name, err);
	/* After the directory, which tells of it. */
	return own < 0 || cgroup_make(name, err) < 0 ? -1 : enter(own, "root", err);
}

static int copy(int root, const char *name, int dirfd, const char *from, struct error *err)
{
	struct stat st;
	auto_close int in = openat(dirfd, from, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0)
		return error_sys(err, "cannot open '%s'", from);
	auto_close int out = openat(root, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	/* The mode once more: our umask is for ourselves. */
	if (out < 0 || fchmod(out, 0444) < 0 || fs_copy(out, in, (uint64_t)st.st_size) < 0)
		return error_sys(err, "cannot copy '%s' into the jail", from);
	return 0;
}

/* Its directory is nobody's but ours, so that everybody may read it there means the jail. */
int jail_share(int root, const char *name, int dirfd, const char *from, struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, from, &st, 0) < 0)
		return error_sys(err, "cannot open '%s'", from);
	if (st.st_mode & S_IROTH && linkat(dirfd, from, root, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	return copy(root, name, dirfd, from, err);
}

int jail_give(int root, int vm_dirfd, const char *name, uid_t uid, struct error *err)
{
	/* First given, then put where it is the user's to replace. */
	if (vm_user_give(vm_dirfd, name, uid, err) < 0)
		return -1;
	if (linkat(vm_dirfd, name, root, name, 0) < 0)
		return error_sys(err, "cannot link '%s' into the jail", name);
	return 0;
}

int jail_device(int root, const char *name, const char *device, uid_t uid, struct error *err)
{
	struct stat st;
	if (stat(device, &st) < 0)
		return error_sys(err, "cannot look at '%s'", device);
	if (!S_ISBLK(st.st_mode))
		return error_set(err, ERROR_INVALID, "'%s' is no block device", device);
	if (mknodat(root, name, S_IFBLK | 0600, st.st_rdev) < 0 ||
	    fchownat(root, name, uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, "cannot make a node of '%s' in the jail", device);
	return 0;
}

/* --- gone --- */

/* The cgroup before the directory that tells its name. */
static int remove_cgroups_of(int base, const char *program, struct error *err)
{
	auto_dir DIR *list = fs_list(base, program);
	if (!list)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : error_sys(err, "cannot list '%s' of the jail", program);
	for (struct dirent *entry; (entry = readdir(list));)
		if (entry->d_name[0] != '.' && cgroup_remove(entry->d_name, err) < 0)
			return -1;
	return 0;
}

int jail_remove(int vm_dirfd, struct error *err)
{
	auto_dir DIR *list = fs_list(vm_dirfd, VM_FILE_JAIL);
	if (!list && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		return error_sys(err, "cannot list '" VM_FILE_JAIL "'");
	/* By others it may be anything, which goes all the same. */
	for (struct dirent *entry; list && is_ours(dirfd(list)) && (entry = readdir(list));)
		if (entry->d_name[0] != '.' &&
		    remove_cgroups_of(dirfd(list), entry->d_name, err) < 0)
			return -1;
	return fs_remove_tree(vm_dirfd, VM_FILE_JAIL, err);
}
