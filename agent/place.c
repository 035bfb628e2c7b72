#include "agent/place.h"
#include "agent/block.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/units.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define ACCOUNTS_MAX ((size_t)4 << 20)
#define COPY_CHUNK   65536

/* The numeric field of the line "name:…" of a passwd or group file; field 0 is the name. */
static bool account_field(const char *text, const char *name, unsigned field, uint64_t *ret)
{
	size_t len = strlen(name);
	for (const char *line = text; *line;) {
		size_t line_len = strcspn(line, "\n");
		if (line_len > len && !strncmp(line, name, len) && line[len] == ':') {
			const char *at = line;
			for (unsigned i = 0; i < field && at; i++) {
				at = memchr(at, ':', (size_t)(line + line_len - at));
				at = at ? at + 1 : NULL;
			}
			if (!at)
				return false;
			struct error ignored;
			auto_free char *number = xstrndup(at, strcspn(at, ":\n"));
			return units_parse_u64(number, ret, &ignored) == 0 && *ret < UINT32_MAX;
		}
		line += line_len + (line[line_len] == '\n');
	}
	return false;
}

/* A number, or a name that a file knows. */
static bool account_id(const char *word, const char *text, uint64_t *ret)
{
	struct error ignored;
	if (units_parse_u64(word, ret, &ignored) == 0)
		return *ret < UINT32_MAX;
	return account_field(text, word, 2, ret);
}

int owner_resolve(const char *owner, const char *passwd, const char *group, uid_t *ret_uid,
		  gid_t *ret_gid, struct error *err)
{
	const char *colon = strchr(owner, ':');
	auto_free char *user = xstrndup(owner, colon ? (size_t)(colon - owner) : strlen(owner));
	uint64_t uid, gid;
	if (!account_id(user, passwd, &uid))
		return error_set(err, ERROR_NOT_FOUND, "the guest has no user '%s'", user);
	if (colon) {
		if (!account_id(colon + 1, group, &gid))
			return error_set(err, ERROR_NOT_FOUND, "the guest has no group '%s'",
					 colon + 1);
	} else if (!account_field(passwd, user, 3, &gid)) {
		gid = uid;
	}
	*ret_uid = (uid_t)uid;
	*ret_gid = (gid_t)gid;
	return 0;
}

static bool file_holds(const char *path, const struct buf *text)
{
	struct error ignored;
	auto_buf struct buf old = BUF_INIT;
	return fs_read(AT_FDCWD, path, text->len, &old, &ignored) == 0 && old.len == text->len &&
	       !memcmp(old.data, text->data, text->len);
}

static int write_if_other(const char *path, const struct buf *text, struct error *err)
{
	if (file_holds(path, text))
		return 0;
	return fs_write(AT_FDCWD, path, text->data, text->len, 0644, err);
}

int place_hostname(const struct seed *seed, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	buf_addf(&text, "%s\n", seed->hostname);
	if (fs_mkdirs("/etc", 0755, err) < 0 || write_if_other("/etc/hostname", &text, err) < 0)
		return -1;
	if (sethostname(seed->hostname, strlen(seed->hostname)) < 0)
		return error_sys(err, "cannot set hostname '%s'", seed->hostname);
	auto_free char *own = xasprintf("127.0.1.1\t%s", seed->hostname);
	/* The first for images without the file; twice is as good as once. */
	const char *const lines[] = { "127.0.0.1\tlocalhost", own };
	return block_write("/etc/hosts", lines, 2, 0644, err);
}

int place_resolver(const struct seed *seed, struct error *err)
{
	if (!seed->network.dns_count)
		return 0;
	auto_buf struct buf text = BUF_INIT;
	for (size_t i = 0; i < seed->network.dns_count; i++)
		buf_addf(&text, "nameserver %s\n", seed->network.dns[i]);
	return write_if_other("/etc/resolv.conf", &text, err);
}

static int copy_bytes(int from, int to, const char *path, struct error *err)
{
	auto_free char *chunk = xmalloc(COPY_CHUNK);
	for (;;) {
		ssize_t got = read(from, chunk, COPY_CHUNK);
		if (got < 0)
			return error_sys(err, "cannot read the bytes of '%s'", path);
		if (got == 0)
			return 0;
		if (fs_write_all(to, chunk, (size_t)got) < 0)
			return error_sys(err, "cannot write '%s'", path);
	}
}

/* Both from their start; a length that differs shows as a short read. */
static bool same_bytes(int a, int b)
{
	auto_free char *left = xmalloc(COPY_CHUNK);
	auto_free char *right = xmalloc(COPY_CHUNK);
	for (off_t at = 0;;) {
		ssize_t got = pread(a, left, COPY_CHUNK, at);
		if (got < 0 || pread(b, right, COPY_CHUNK, at) != got)
			return false;
		if (got == 0)
			return true;
		if (memcmp(left, right, (size_t)got))
			return false;
		at += got;
	}
}

static int place_bytes(const struct seed_file *file, int blob, uid_t uid, gid_t gid,
		       struct error *err)
{
	/* Neither through a symlink nor hanging on a pipe that an earlier boot left here. */
	auto_close int old =
		open(file->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	if (old >= 0 && fstat(old, &st) == 0 && S_ISREG(st.st_mode) && same_bytes(blob, old)) {
		bool owned = st.st_uid == uid && st.st_gid == gid;
		bool moded = (st.st_mode & 07777) == file->mode;
		if ((!owned && fchown(old, uid, gid) < 0) ||
		    ((!owned || !moded) && fchmod(old, file->mode) < 0))
			return error_sys(err, "cannot set owner and mode of '%s'", file->path);
		return 0;
	}
	auto_free char *tmp = xasprintf("%s.banger", file->path);
	unlink(tmp);
	auto_close int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, "cannot create '%s'", tmp);
	if (copy_bytes(blob, fd, file->path, err) < 0) {
		unlink(tmp);
		return -1;
	}
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, file->mode) < 0 || rename(tmp, file->path) < 0) {
		error_sys(err, "cannot put '%s' in place", file->path);
		unlink(tmp);
		return -1;
	}
	return 0;
}

static int place_one(const struct seed_file *file, int blobs_fd, const char *passwd,
		     const char *group, struct error *err)
{
	uid_t uid = 0;
	gid_t gid = 0;
	if (owner_resolve(file->owner, passwd, group, &uid, &gid, err) < 0)
		return error_wrap(err, "file '%s'", file->path);
	auto_free char *name = xasprintf("%u", file->blob);
	auto_close int blob = openat(blobs_fd, name, O_RDONLY | O_CLOEXEC);
	if (blob < 0)
		return error_sys(err, "file '%s' has no bytes '%s' in the seed", file->path, name);
	auto_free char *parent = xstrdup(file->path);
	*strrchr(parent, '/') = '\0';
	if (*parent && fs_mkdirs(parent, 0755, err) < 0)
		return -1;
	return place_bytes(file, blob, uid, gid, err);
}

int place_files(const struct seed *seed, int blobs_fd, struct error *err)
{
	struct error ignored;
	auto_buf struct buf passwd = BUF_INIT;
	auto_buf struct buf group = BUF_INIT;
	/* An image may have neither; then only numbers and root are known. */
	if (fs_read(AT_FDCWD, "/etc/passwd", ACCOUNTS_MAX, &passwd, &ignored) < 0)
		buf_reset(&passwd);
	if (fs_read(AT_FDCWD, "/etc/group", ACCOUNTS_MAX, &group, &ignored) < 0)
		buf_reset(&group);
	buf_add(&passwd, "\nroot:x:0:0:root:/root:/bin/sh\n");
	buf_add(&group, "\nroot:x:0:\n");
	for (size_t i = 0; i < seed->file_count; i++)
		if (place_one(&seed->files[i], blobs_fd, passwd.data, group.data, err) < 0)
			return -1;
	return 0;
}

/* Owned by us and not writable by others, or sshd takes no key from below it. */
static int tighten(const char *path, mode_t must_not, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_sys(err, "cannot look at '%s'", path);
	if ((st.st_uid != geteuid() || st.st_gid != getegid()) &&
	    chown(path, geteuid(), getegid()) < 0)
		return error_sys(err, "cannot own '%s'", path);
	if ((st.st_mode & must_not) && chmod(path, st.st_mode & 07777 & ~must_not) < 0)
		return error_sys(err, "cannot set the mode of '%s'", path);
	return 0;
}

int place_keys(const char *home, const char *const *keys, size_t count, struct error *err)
{
	auto_free char *folder = xasprintf("%s/.ssh", home);
	auto_free char *path = xasprintf("%s/.ssh/authorized_keys", home);
	if (fs_mkdirs(home, 0700, err) < 0 || tighten(home, 0022, err) < 0 ||
	    fs_mkdirs(folder, 0700, err) < 0 || tighten(folder, 0077, err) < 0 ||
	    block_write(path, keys, count, 0600, err) < 0)
		return -1;
	struct stat st;
	if (!count && stat(path, &st) < 0)
		return 0;
	return tighten(path, 0177, err);
}
