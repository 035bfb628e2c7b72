#include "exec/adopt.h"
#include "exec/handles.h"
#include "base/fs.h"
#include "base/json.h"
#include "guest/guest.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

void adopted_free(struct adopted *adopted)
{
	if (!adopted)
		return;
	free(adopted->mark);
	free(adopted);
}

struct adopted *adopted_read(int vm_dirfd)
{
	struct error ignored;
	auto_buf struct buf text = BUF_INIT;
	/* A hypervisor may put files there, and must not tell us which process is another's. */
	if (fs_read_own(vm_dirfd, VM_FILE_ADOPTED, 8192, &text, &ignored) < 0)
		return NULL;
	auto_json cJSON *json = json_parse(text.data, text.len, &ignored);
	int64_t pid = json_int(json, "pid", 0), ticks = json_int(json, "start_ticks", 0);
	const char *mark = json_str(json, "mark", "");
	if (pid <= 0 || pid > INT32_MAX || ticks <= 0 || !mark[0])
		return NULL;
	struct adopted *adopted = xcalloc(1, sizeof(*adopted));
	*adopted = (struct adopted){ (pid_t)pid, (uint64_t)ticks, xstrdup(mark) };
	return adopted;
}

/* <state>/<folder>/<digest>/anything */
static void digest_of(const struct host *host, const char *folder, const char *path, char ret[65])
{
	auto_free char *ours = xasprintf("%s/%s", host->state, folder);
	auto_free char *real = realpath(ours, NULL);
	auto_free char *theirs = path ? realpath(path, NULL) : NULL;
	size_t len = real ? strlen(real) : 0;
	ret[0] = '\0';
	if (!real || !theirs || strncmp(theirs, real, len) != 0 || theirs[len] != '/' ||
	    strspn(theirs + len + 1, "0123456789abcdef") != 64 || theirs[len + 65] != '/')
		return;
	memcpy(ret, theirs + len + 1, 64);
	ret[64] = '\0';
}

void adopt_digests(const struct host *host, const struct hv_foreign *foreign, char ret_image[65],
		   char ret_kernel[65])
{
	digest_of(host, "images", foreign->disk_count ? foreign->disks[0].base : NULL, ret_image);
	digest_of(host, "kernels", foreign->kernel, ret_kernel);
}

void adopt_judge(const struct host *host, struct hv_foreign *foreign, const char *image_digest)
{
	const struct foreign_disk *disk = &foreign->disks[0];
	if (host->own_users && foreign->disk_count && disk->qcow2 && disk->base && !image_digest[0])
		hv_foreign_refuse(foreign,
				  "its disk '%.100s' is an overlay of '%.100s', which is no image "
				  "in banger's store: bangerd opens no other file to a hypervisor",
				  disk->path, disk->base);
}

static bool has_open(pid_t pid, const struct stat *file)
{
	auto_free char *path = xasprintf("/proc/%d/fd", (int)pid);
	auto_dir DIR *dir = fs_list(AT_FDCWD, path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		struct stat st;
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && st.st_ino == file->st_ino &&
		    st.st_dev == file->st_dev)
			return true;
	}
	return false;
}

/* Of a path in a directory of somebody else's another file may have become meanwhile, /etc/shadow
 * even, which would be given to a hypervisor next. */
static int check_linked(int dirfd, const char *name, pid_t pid, const struct foreign_disk *disk,
			struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    has_open(pid, &st))
		return 0;
	return error_set(err, ERROR_CONFLICT,
			 "'%s' is not the file that process %d has as its disk: something else "
			 "was put in its place",
			 disk->path, (int)pid);
}

static int link_disk(int dirfd, const char *name, pid_t pid, const struct foreign_disk *disk,
		     struct error *err)
{
	if (linkat(AT_FDCWD, disk->path, dirfd, name, 0) == 0)
		return check_linked(dirfd, name, pid, disk, err);
	if (errno == EXDEV)
		return error_set(err, ERROR_CONFLICT,
				 "its disk '%s' lies on another file system than banger's VMs: "
				 "set XDG_STATE_HOME to a place on that one",
				 disk->path);
	return error_sys(err, "cannot link its disk '%s'", disk->path);
}

static int write_adopted(int dirfd, const struct hv_foreign *foreign, struct error *err)
{
	auto_json cJSON *json = cJSON_CreateObject();
	json_add_int(json, "pid", foreign->pid);
	json_add_int(json, "start_ticks", (int64_t)foreign->start_ticks);
	json_add_str(json, "mark", foreign->mark);
	auto_free char *text = json_print(json);
	return fs_write(dirfd, VM_FILE_ADOPTED, text, strlen(text), 0600, err);
}

/* Its process has them open; the next one is started as this VM's own user. */
static int give_disks(const struct host *host, const char *id, int fd, struct error *err)
{
	static const char *const disks[] = { VM_FILE_ROOT_DISK, VM_FILE_ROOT_OVERLAY,
					     VM_FILE_WORK_DISK };
	uid_t user;
	if (!host->own_users)
		return 0;
	if (vm_user_take(host->vms_dir, id, fd, &user, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_COUNT(disks); i++)
		if (fchownat(fd, disks[i], user, user, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return error_sys(err, "cannot give '%s' to user %u", disks[i],
					 (unsigned)user);
	return 0;
}

static int fill(int fd, const struct hv_foreign *foreign, const char *name,
		const char *image_digest, struct error *err)
{
	auto_free char *comment = xasprintf("root@%s", name);
	bool qcow2 = foreign->disks[0].qcow2;
	if (link_disk(fd, qcow2 ? VM_FILE_ROOT_OVERLAY : VM_FILE_ROOT_DISK, foreign->pid,
		      &foreign->disks[0], err) < 0 ||
	    (foreign->disk_count > 1 &&
	     link_disk(fd, VM_FILE_WORK_DISK, foreign->pid, &foreign->disks[1], err) < 0))
		return -1;
	if (symlinkat(foreign->monitor, fd, VM_FILE_MONITOR) < 0)
		return error_sys(err, "cannot link its monitor '%s'", foreign->monitor);
	if (keys_host(fd, comment, err) < 0 || write_adopted(fd, foreign, err) < 0)
		return -1;
	return made_write(fd, image_digest, err);
}

int adopt_make(const struct host *host, const struct hv_foreign *foreign, const char *name,
	       const char *image_digest, char ret_id[16], struct error *err)
{
	uint64_t random;
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return error_sys(err, "cannot get random bytes");
	snprintf(ret_id, 16, "%010llx", (unsigned long long)(random & 0xffffffffffULL));
	auto_free char *dir = xasprintf("%s/%s", host->vms_dir, ret_id);
	if (mkdir(dir, 0700) < 0)
		return error_sys(err, "cannot make '%s'", dir);
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		error_sys(err, "cannot open '%s'", dir);
	else if (fill(fd, foreign, name, image_digest, err) == 0 &&
		 give_disks(host, ret_id, fd, err) == 0)
		return 0;
	adopt_unmake(host, ret_id);
	return -1;
}

void adopt_unmake(const struct host *host, const char *id)
{
	struct error ignored;
	auto_free char *dir = xasprintf("%s/%s", host->vms_dir, id);
	fs_remove_tree(AT_FDCWD, dir, &ignored);
}
