/* Theory of operation
 *
 * The private key file is the only truth. It is made under a name of its own, complete and 0600,
 * and then linked to its real name: link() of two makers lets exactly one win, the other takes
 * what is there. The public file is derived from the private one, so whoever finds it missing (a
 * maker died between the two) writes the same bytes. The same holds for known_hosts. */
#include "guest/guest.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <libssh/libssh.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_FILE_MAX 16384
#define PEM_LINE     70 /* what ssh-keygen writes; some readers know no longer ones */

static void cleanup_key(ssh_key *key)
{
	ssh_key_free(*key);
}
static void cleanup_ssh_text(char **text)
{
	ssh_string_free_char(*text);
}
#define auto_key      __attribute__((cleanup(cleanup_key)))
#define auto_ssh_text __attribute__((cleanup(cleanup_ssh_text)))

/* Puts a whole file at name unless there is one. 0 also when another maker was first. */
static int put_once(int dirfd, const char *name, const char *text, mode_t mode, struct error *err)
{
	static atomic_uint counter;
	auto_free char *tmp =
		xasprintf(".%s.%d-%u", name, (int)getpid(), atomic_fetch_add(&counter, 1));
	unlinkat(dirfd, tmp, 0); /* a dead process had our pid */
	auto_close int fd =
		openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return error_sys(err, "cannot create '%s'", tmp);
	int failed = fs_write_all(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0 ||
		     fsync(fd) < 0 || (linkat(dirfd, tmp, dirfd, name, 0) < 0 && errno != EEXIST);
	if (failed)
		error_sys(err, "cannot write '%s'", name);
	unlinkat(dirfd, tmp, 0);
	return failed ? -1 : 0;
}

/* libssh puts the whole body on one line: fold it as everybody else does. */
static char *fold_pem(const char *text)
{
	auto_buf struct buf folded = BUF_INIT;
	size_t column = 0;
	for (; *text; text++) {
		if (*text == '\n')
			column = 0;
		else if (column++ == PEM_LINE) {
			buf_add_char(&folded, '\n');
			column = 1;
		}
		buf_add_char(&folded, *text);
	}
	return buf_take(&folded);
}

static int make_private(int dirfd, const char *name, struct error *err)
{
	auto_key ssh_key key = NULL;
	auto_ssh_text char *text = NULL;
	if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) != SSH_OK ||
	    ssh_pki_export_privkey_base64(key, NULL, NULL, NULL, &text) != SSH_OK)
		return error_set(err, ERROR_SYSTEM, "libssh cannot make an ed25519 key");
	auto_free char *folded = fold_pem(text);
	int result = put_once(dirfd, name, folded, 0600, err);
	explicit_bzero(folded, strlen(folded));
	explicit_bzero(text, strlen(text));
	return result;
}

/* "ssh-ed25519 AAAA… comment" of the private key in name. */
static int read_public(int dirfd, const char *name, const char *comment, char **ret,
		       struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	if (fs_read(dirfd, name, KEY_FILE_MAX, &text, err) < 0)
		return -1;
	auto_key ssh_key key = NULL;
	auto_ssh_text char *blob = NULL;
	bool good = ssh_pki_import_privkey_base64(text.data, NULL, NULL, NULL, &key) == SSH_OK &&
		    ssh_pki_export_pubkey_base64(key, &blob) == SSH_OK;
	if (text.room)
		explicit_bzero(text.data, text.len);
	if (!good)
		return error_set(err, ERROR_INVALID,
				 "'%s' is not an SSH key without passphrase, remove it to have a "
				 "new one made",
				 name);
	*ret = xasprintf("%s %s %s", ssh_key_type_to_char(ssh_key_type(key)), blob, comment);
	return 0;
}

static bool exists(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int key_pair(int dirfd, const char *name, const char *comment, char **ret_public,
		    struct error *err)
{
	if (!exists(dirfd, name) && make_private(dirfd, name, err) < 0)
		return -1;
	auto_free char *line = NULL;
	if (read_public(dirfd, name, comment, &line, err) < 0)
		return -1;
	auto_free char *public_name = xasprintf("%s.pub", name);
	if (!exists(dirfd, public_name)) {
		auto_free char *text = xasprintf("%s\n", line);
		if (put_once(dirfd, public_name, text, 0644, err) < 0)
			return -1;
	}
	if (ret_public)
		*ret_public = take_ptr(&line);
	return 0;
}

int keys_client(const char *state_dir, char **ret_public_line, struct error *err)
{
	auto_free char *dir = xasprintf("%s/keys", state_dir);
	if (fs_mkdirs(dir, 0700, err) < 0)
		return error_wrap(err, "client key");
	auto_close int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return error_sys(err, "cannot open '%s'", dir);
	if (key_pair(dirfd, "id_ed25519", "banger", ret_public_line, err) < 0)
		return error_wrap(err, "client key in '%s'", dir);
	return 0;
}

#define GROUP_KEY "group_ed25519"

static int share(int dirfd, gid_t group, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	if (fs_read(dirfd, "id_ed25519", KEY_FILE_MAX, &text, err) < 0)
		return -1;
	int result = fs_write_for(dirfd, GROUP_KEY, text.data, text.len, 0640, group, err);
	explicit_bzero(text.data, text.len);
	return result;
}

int keys_share(const char *state_dir, gid_t group, struct error *err)
{
	auto_free char *dir = xasprintf("%s/keys", state_dir);
	auto_close int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return error_sys(err, "cannot open '%s'", dir);
	if (!group && fs_unlink(dirfd, GROUP_KEY, err) < 0)
		return -1;
	if (group && share(dirfd, group, err) < 0)
		return -1;
	if (fchown(dirfd, 0, group) < 0 || fchmod(dirfd, group ? 0710 : 0700) < 0)
		return error_sys(err, "cannot change the mode of '%s'", dir);
	return 0;
}

int keys_host(int vm_dirfd, const char *comment, struct error *err)
{
	if (key_pair(vm_dirfd, GUEST_FILE_HOST_KEY, comment, NULL, err) < 0)
		return error_wrap(err, "host key");
	return 0;
}

int keys_known_hosts(int vm_dirfd, const char *id, struct error *err)
{
	auto_buf struct buf line = BUF_INIT;
	if (fs_read(vm_dirfd, GUEST_FILE_HOST_KEY_PUB, KEY_FILE_MAX, &line, err) < 0)
		return error_wrap(err, "known_hosts");
	/* type and key; the comment is for people and ends here */
	char *type_end = strchr(line.data, ' ');
	char *blob_end = type_end ? strpbrk(type_end + 1, " \n") : NULL;
	if (!blob_end)
		return error_set(err, ERROR_INVALID, "'%s' is not a public key",
				 GUEST_FILE_HOST_KEY_PUB);
	*blob_end = '\0';
	auto_free char *text = xasprintf("banger-%s %s\n", id, line.data);

	/* Nearly always right already, and a write costs a flush to the disk. */
	struct error unread;
	auto_buf struct buf old = BUF_INIT;
	if (fs_read_own(vm_dirfd, GUEST_FILE_KNOWN_HOSTS, KEY_FILE_MAX, &old, &unread) == 0 &&
	    !strcmp(old.data, text))
		return 0;
	return fs_write(vm_dirfd, GUEST_FILE_KNOWN_HOSTS, text, strlen(text), 0644, err);
}
