/* Theory of operation: a number is looked for from a place that the id says, upwards, until no
 * directory below vms/ has it. As a directory goes last of all that a VM has, a number that no
 * directory has is nobody's. One lock is around looking and taking.
 *
 * Root works in directories that a hypervisor can write to, and a hypervisor may have fallen to its
 * guest. So nothing here goes by a path below the directory twice: what is given is opened without
 * following links, looked at, and then changed by its descriptor. */
#include "driver/vm_user.h"
#include "driver/id_hash.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/units.h"
#include "sys/unix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int vm_user_base(uid_t *ret, struct error *err)
{
	const char *text = secure_getenv("BANGER_UID_BASE");
	uint64_t value;
	*ret = VM_USER_BASE;
	if (!text || !*text)
		return 0;
	if (units_parse_u64(text, &value, err) < 0 || value < VM_USER_MIN ||
	    value > INT32_MAX - VM_USER_COUNT)
		return error_set(err, ERROR_INVALID,
				 "BANGER_UID_BASE: '%.40s' is no user number from %u to %u", text,
				 VM_USER_MIN, INT32_MAX - VM_USER_COUNT);
	*ret = (uid_t)value;
	return 0;
}

bool vm_user_in_range(uid_t uid)
{
	uid_t base;
	struct error ignored;
	return vm_user_base(&base, &ignored) == 0 && uid >= base && uid - base < VM_USER_COUNT;
}

uid_t vm_user_of(const struct stat *dir)
{
	return dir->st_uid == 0 && dir->st_gid >= VM_USER_MIN ? dir->st_gid : 0;
}

uid_t vm_user_of_fd(int vm_dirfd)
{
	struct stat st;
	return fstat(vm_dirfd, &st) == 0 ? vm_user_of(&st) : 0;
}

/* --- taking one --- */

static int mark_taken(const char *vms_dir, uid_t base, bool taken[VM_USER_COUNT], struct error *err)
{
	auto_dir DIR *list = opendir(vms_dir);
	if (!list)
		return error_sys(err, "cannot list '%s'", vms_dir);
	for (struct dirent *entry; (entry = readdir(list));) {
		struct stat st;
		if (entry->d_name[0] != '.' &&
		    fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    vm_user_of(&st) - base < VM_USER_COUNT)
			taken[vm_user_of(&st) - base] = true;
	}
	return 0;
}

static int choose(const char *vms_dir, const char *id, uid_t *ret, struct error *err)
{
	uid_t base;
	auto_free bool *taken = xcalloc(VM_USER_COUNT, sizeof(*taken));
	if (vm_user_base(&base, err) < 0 || mark_taken(vms_dir, base, taken, err) < 0)
		return -1;
	uint32_t at = (uint32_t)id_hash(id, 4) % VM_USER_COUNT;
	for (uint32_t i = 0; i < VM_USER_COUNT; i++, at = (at + 1) % VM_USER_COUNT)
		if (!taken[at]) {
			*ret = base + at;
			return 0;
		}
	return error_set(err, ERROR_BUSY, "every one of the %u users from %u on has a VM already",
			 VM_USER_COUNT, (unsigned)base);
}

static int take(const char *vms_dir, const char *id, int vm_dirfd, uid_t *ret, struct error *err)
{
	*ret = vm_user_of_fd(vm_dirfd);
	if (!*ret && choose(vms_dir, id, ret, err) < 0)
		return -1;
	if (fchown(vm_dirfd, 0, *ret) == 0 && fchmod(vm_dirfd, VM_DIR_MODE) == 0)
		return 0;
	return error_sys(err, "cannot give '%s/%s' to user %u (BANGER_UID_BASE says which)",
			 vms_dir, id, (unsigned)*ret);
}

int vm_user_take(const char *vms_dir, const char *id, int vm_dirfd, uid_t *ret, struct error *err)
{
	pthread_mutex_lock(&lock);
	int result = take(vms_dir, id, vm_dirfd, ret, err);
	pthread_mutex_unlock(&lock);
	return result;
}

int vm_user_fill(uid_t uid, bool kvm, struct proc_user *ret, struct error *err)
{
	struct stat st;
	*ret = (struct proc_user){ .uid = uid, .gid = uid };
	if (!kvm)
		return 0;
	if (stat("/dev/kvm", &st) < 0)
		return error_sys(err, "cannot look at '/dev/kvm'");
	if ((st.st_mode & 06) == 06)
		return 0;
	if (!st.st_gid || (st.st_mode & 060) != 060)
		return error_set(err, ERROR_CONFLICT,
				 "'/dev/kvm' is for root alone (mode %04o), and hypervisors run as "
				 "users of their own: chgrp kvm /dev/kvm && chmod 0660 /dev/kvm",
				 (unsigned)st.st_mode & 07777);
	ret->group = st.st_gid;
	return 0;
}

int vm_user_check_tun(uid_t uid, struct error *err)
{
	struct stat st;
	struct error refused = { 0 };
	const struct proc_user user = { .uid = uid, .gid = uid };
	if (stat("/dev/net/tun", &st) < 0)
		return error_sys(err, "cannot look at '/dev/net/tun'");
	if (proc_may_open("/dev/net/tun", O_RDWR, &user, &refused) == 0)
		return 0;
	if (refused.sys != EACCES && refused.sys != EPERM) { /* nobody was asked, or it is gone */
		*err = refused;
		return -1;
	}
	return error_set(
		err, ERROR_CONFLICT,
		"%s (mode %04o), and hypervisors run as users of their own: "
		"chmod 0666 /dev/net/tun, as most systems have it (a tap has its owner), or "
		"'network: user'",
		refused.text, (unsigned)st.st_mode & 07777);
}

/* --- what is its --- */

static int change(int fd, const char *name, uid_t user, gid_t group, mode_t mode, struct error *err)
{
	if (fchown(fd, user, group) < 0 || fchmod(fd, mode) < 0)
		return error_sys(err, "cannot give '%s' to user %u", name,
				 user ? (unsigned)user : (unsigned)group);
	return 0;
}

static int open_own(int vm_dirfd, const char *name, struct stat *ret, struct error *err)
{
	*ret = (struct stat){ 0 };
	auto_close int fd =
		openat(vm_dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, ret) < 0)
		return error_sys(err, "cannot open '%s'", name);
	return take_fd(&fd);
}

int vm_user_give(int vm_dirfd, const char *name, uid_t user, struct error *err)
{
	struct stat st;
	auto_close int fd = open_own(vm_dirfd, name, &st, err);
	if (fd < 0)
		return -1;
	if (st.st_uid != user && (st.st_uid != geteuid() || st.st_nlink != 1))
		return error_set(err, ERROR_CONFLICT,
				 "'%s' is not this VM's alone: it belongs to user %u and has %u "
				 "names",
				 name, (unsigned)st.st_uid, (unsigned)st.st_nlink);
	return change(fd, name, user, user, 0600, err);
}

int vm_user_show(int vm_dirfd, const char *name, uid_t user, struct error *err)
{
	struct stat st;
	auto_close int fd = open_own(vm_dirfd, name, &st, err);
	if (fd < 0)
		return -1;
	if (st.st_uid != geteuid() || st.st_nlink != 1)
		return error_set(err, ERROR_CONFLICT, "'%s' is not banger's own", name);
	return change(fd, name, geteuid(), user, 0640, err);
}

int vm_user_give_device(const char *path, uid_t user, struct error *err)
{
	struct stat st;
	auto_close int fd = open(path, O_PATH | O_CLOEXEC);
	char self[32];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, "cannot open '%s'", path);
	if (!S_ISBLK(st.st_mode))
		return error_set(err, ERROR_CONFLICT, "'%s' is no block device", path);
	if (chown(self, user, user) < 0 || chmod(self, 0600) < 0)
		return error_sys(err, "cannot give '%s' to user %u", path, (unsigned)user);
	return 0;
}

static int allow(const char *path, mode_t more, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_sys(err, "cannot look at '%s'", path);
	if ((st.st_mode & more) == more || chmod(path, (st.st_mode & 07777) | more) == 0)
		return 0;
	return error_sys(err, "cannot make '%s' readable", path);
}

int vm_user_share(const char *path, struct error *err)
{
	auto_free char *digest = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	auto_free char *folder = xstrndup(digest, (size_t)(strrchr(digest, '/') - digest));
	if (allow(folder, 0111, err) < 0 || allow(digest, 0111, err) < 0)
		return -1;
	return allow(path, 0444, err);
}

/* --- its sockets --- */

/* Adopted: we laid the link to the monitor of what somebody had started. All others of ours lead
 * into a jail, from where none may lead out. */
static bool leads_to_adopted(int vm_dirfd, const char *name)
{
	struct stat st;
	char to[2];
	return readlinkat(vm_dirfd, name, to, sizeof(to)) > 0 && to[0] == '/' &&
	       fstatat(vm_dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == geteuid();
}

int vm_connect(int vm_dirfd, const char *name, uint64_t timeout_ms, int nonblocking,
	       struct error *err)
{
	pid_t pid;
	uid_t peer, user = vm_user_of_fd(vm_dirfd);
	bool adopted = leads_to_adopted(vm_dirfd, name);
	auto_close int fd =
		adopted ? unix_connect(vm_dirfd, name, timeout_ms, nonblocking, err)
			: unix_connect_within(vm_dirfd, name, timeout_ms, nonblocking, err);
	if (fd < 0)
		return -1;
	if (user && unix_peer(fd, &pid, &peer, err) < 0)
		return -1;
	if (user && peer != user && !(adopted && peer == geteuid()))
		return error_set(err, ERROR_CONFLICT,
				 "user %u listens on '%s', not the VM's own user %u",
				 (unsigned)peer, name, (unsigned)user);
	return take_fd(&fd);
}
