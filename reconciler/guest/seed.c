/* Theory of operation
 *
 * The initrd is three archives one after the other: the kernel's modules, the agent, and the seed
 * made here. The kernel unpacks them in order; an uncompressed archive has to begin at a multiple
 * of four, zeros between archives are skipped. The two shared parts are begun at multiples of 4096
 * so that a file system that can will share their blocks instead of copying.
 *
 * The file is made anew at every start, so nothing is flushed to the disk: after a crash of the
 * host nobody reads it. Its temporary name is fixed, since a VM has one job at a time; what a
 * killed daemon left is replaced by the next start. */
#include "guest/guest.h"
#include "guest/git_identity.h"
#include "guest/initrd.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"
#include "driver/driver.h"
#include "sys/archive_library.h"
#include "sys/person.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SEED_VERSION   1
#define KEY_FILE_MAX   16384
#define GUEST_SSH_PORT 22
#define GITCONFIG_PATH "/root/.gitconfig"

struct writer {
	struct archive *archive;
	cJSON *files; /* borrowed: the list in seed.json */
	int64_t count;
	uint64_t total;		     /* bytes of the user's files so far */
	const struct person *reader; /* of these; NULL: as we are */
};

static void cleanup_archive(struct archive **archive)
{
	libarchive.archive_write_free(*archive);
}
static void cleanup_entry(struct archive_entry **entry)
{
	libarchive.archive_entry_free(*entry);
}

/* One member of the archive: a directory when data is NULL. Same input, same bytes: no times, no
 * owners, numbered inodes. */
static int add_member(struct archive *archive, const char *path, const void *data, size_t len,
		      struct error *err)
{
	__attribute__((cleanup(cleanup_entry))) struct archive_entry *entry =
		libarchive.archive_entry_new();
	if (!entry)
		BUG("out of memory");
	libarchive.archive_entry_set_pathname(entry, path);
	libarchive.archive_entry_set_filetype(entry, data ? AE_IFREG : AE_IFDIR);
	libarchive.archive_entry_set_perm(entry, data ? 0600 : 0700);
	libarchive.archive_entry_set_nlink(entry, 1);
	libarchive.archive_entry_set_size(entry, (int64_t)len);
	libarchive.archive_entry_set_mtime(entry, 0, 0);
	if (libarchive.archive_write_header(archive, entry) != ARCHIVE_OK ||
	    (len && libarchive.archive_write_data(archive, data, len) != (ssize_t)len))
		return error_set(err, ERROR_SYSTEM, "cannot write '%s' into the seed: %s", path,
				 libarchive.archive_error_string(archive));
	return 0;
}

/* The bytes as the next blob, and its row in seed.json. */
static int add_file(struct writer *w, const char *path, uint32_t mode, const char *owner,
		    const struct buf *data, struct error *err)
{
	auto_free char *blob = xasprintf("banger/files/%jd", (intmax_t)w->count);
	cJSON *row = cJSON_CreateObject();
	json_add_str(row, "path", path);
	json_add_int(row, "mode", mode);
	json_add_str(row, "owner", owner);
	json_add_int(row, "blob", w->count++);
	cJSON_AddItemToArray(w->files, row);
	return add_member(w->archive, blob, data->data, data->len, err);
}

static int add_host_keys(struct writer *w, int vm_dirfd, struct error *err)
{
	static const struct {
		const char *from, *to;
		uint32_t mode;
	} keys[] = {
		{ GUEST_FILE_HOST_KEY, "/etc/ssh/ssh_host_ed25519_key", 0600 },
		{ GUEST_FILE_HOST_KEY_PUB, "/etc/ssh/ssh_host_ed25519_key.pub", 0644 },
	};
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
		auto_buf struct buf data = BUF_INIT;
		if (fs_read(vm_dirfd, keys[i].from, KEY_FILE_MAX, &data, err) < 0)
			return error_wrap(err, "host key");
		int result = add_file(w, keys[i].to, keys[i].mode, "root:root", &data, err);
		explicit_bzero(data.data, data.len);
		if (result < 0)
			return -1;
	}
	return 0;
}

/* Not a regular file: a FIFO or a device would never end, so it is refused before it is read. */
static int read_own(const char *source, uint64_t room, struct buf *ret, struct error *err)
{
	auto_close int fd = open(source, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, "file '%s'", source);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERROR_INVALID, "file '%s' is not a regular file", source);
	if (fs_read_fd(fd, source, room, ret, err) == 0)
		return 0;
	if (err->code == ERROR_SYSTEM)
		return error_wrap(err, "file '%s'", source);
	err->sys = EFBIG;
	return -1;
}

/* reader NULL: as we are. */
static int read_source(const struct person *reader, const char *source, uint64_t room,
		       struct buf *ret, struct error *err)
{
	int failed = reader ? person_read(reader, source, room, ret, err)
			    : read_own(source, room, ret, err);
	if (failed == 0)
		return 0;
	if (err->sys == EFBIG)
		return error_set(err, ERROR_INVALID,
				 "file '%s' makes the files larger than %u MiB together", source,
				 SEED_FILES_MAX >> 20);
	return reader ? error_append(err, " (read as user %u, whose spec names it)",
				     (unsigned)reader->uid)
		      : -1;
}

static int add_spec_files(struct writer *w, const struct file_list *files, struct error *err)
{
	for (size_t i = 0; i < files->count; i++) {
		const struct file_spec *file = &files->at[i];
		auto_buf struct buf data = BUF_INIT;
		if (read_source(w->reader, file->source, SEED_FILES_MAX - w->total, &data, err) <
			    0 ||
		    add_file(w, file->path, file->mode, file->owner, &data, err) < 0)
			return -1;
		w->total += data.len;
	}
	return 0;
}

static int add_git_identity(struct writer *w, const struct seed *seed, struct error *err)
{
	const struct file_list *files = &seed->spec->files;
	for (size_t i = 0; i < files->count; i++)
		if (!strcmp(files->at[i].path, GITCONFIG_PATH))
			return 0;
	if (seed->spec->reader && !w->reader)
		return 0;
	auto_buf struct buf text = BUF_INIT;
	const char *home = seed->home  ? seed->home
			   : w->reader ? w->reader->home
				       : secure_getenv("HOME");
	if (!git_identity(home, w->reader, &text))
		return 0;
	return add_file(w, GITCONFIG_PATH, 0644, "root:root", &text, err);
}

static void add_text_object(cJSON *to, const char *name, const char *key, const char *text,
			    const char *key2, const char *text2)
{
	cJSON *object = cJSON_AddObjectToObject(to, name);
	json_add_str(object, key, text);
	if (key2)
		json_add_str(object, key2, text2);
}

static void add_network(cJSON *to, const struct seed *seed)
{
	if (!seed->address) {
		cJSON_AddNullToObject(to, "network");
		return;
	}
	cJSON *network = cJSON_AddObjectToObject(to, "network");
	json_add_str(network, "mac", seed->mac);
	json_add_str(network, "address", seed->address);
	json_add_str(network, "gateway", seed->gateway);
	cJSON *dns = cJSON_AddArrayToObject(network, "dns");
	if (seed->dns)
		cJSON_AddItemToArray(dns, cJSON_CreateString(seed->dns));
}

void seed_add_ready(cJSON *to, const struct ready_spec *ready)
{
	static const char *const kinds[] = {
		[READY_SSH] = "ssh",
		[READY_AGENT] = "agent",
		[READY_TCP] = "tcp",
		[READY_NONE] = "none",
	};
	cJSON *object = cJSON_AddObjectToObject(to, "ready");
	json_add_str(object, "kind", kinds[ready->kind]);
	if (ready->kind == READY_SSH)
		json_add_int(object, "port", GUEST_SSH_PORT);
	if (ready->kind == READY_TCP)
		json_add_int(object, "port", ready->port);
}

/* Each line that holds a key: a text that was read from a file may hold several, comments and
 * blanks. The agent refuses control characters, so they end here. */
static void add_keys(cJSON *to, const char *text)
{
	while (*text) {
		text += strspn(text, " \t\r\n");
		size_t len = strcspn(text, "\r\n");
		if (len && *text != '#') {
			auto_free char *line = xstrndup(text, len);
			for (char *c = line; *c; c++)
				if (iscntrl((unsigned char)*c))
					*c = ' ';
			cJSON_AddItemToArray(to, cJSON_CreateString(line));
		}
		text += len;
	}
}

/* Firecracker's serials are of its own making, so its disks go by their names, which they get in
 * the order of driver/fc_config.c: root, work, modules. */
static void add_disks(cJSON *json, const struct seed *seed, bool by_name)
{
	char name[] = "/dev/vda";
	char *letter = &name[strlen(name) - 1];
	add_text_object(json, "root", "serial", by_name ? name : "root", NULL, NULL);
	if (seed->spec->work_disk) {
		++*letter;
		add_text_object(json, "work", "serial", by_name ? name : "work", "mount", "/root");
	} else {
		cJSON_AddNullToObject(json, "work");
	}
	++*letter;
	if (seed->modules_disk)
		add_text_object(json, "modules", "serial", by_name ? name : "modules", NULL, NULL);
}

static cJSON *describe(const struct seed *seed)
{
	cJSON *json = cJSON_CreateObject();
	json_add_int(json, "version", SEED_VERSION);
	json_add_str(json, "id", seed->id);
	json_add_str(json, "name", seed->name);
	json_add_str(json, "hostname", seed->name);
	bool firecracker = seed->spec->hypervisor == HYPERVISOR_FIRECRACKER;
	json_add_str(json, "hypervisor", firecracker ? "firecracker" : "qemu");
	add_disks(json, seed, firecracker);
	add_network(json, seed);
	seed_add_ready(json, &seed->spec->ready);
	cJSON_AddNullToObject(json, "init");
	cJSON *keys = cJSON_AddArrayToObject(json, "authorized_keys");
	if (seed->client_key)
		add_keys(keys, seed->client_key);
	for (size_t i = 0; i < seed->spec->ssh_keys.count; i++)
		add_keys(keys, seed->spec->ssh_keys.at[i]);
	return json;
}

/* Whoever wanted it may have left this host since. Without him there is nobody to read as. */
static int find_reader(const struct vm_spec *spec, struct person *ret, struct error *err)
{
	if (!spec->reader || person_find(spec->reader, ret, err) == 0 || !spec->files.count)
		return 0;
	error_wrap(err, "its 'files' are read as who wanted them");
	return error_append(err, ": somebody else has to apply its spec");
}

/* The files first, as they are read; the description that lists them last. */
static int write_members(struct archive *archive, const struct seed *seed, struct error *err)
{
	auto_person struct person reader = { 0 };
	auto_json cJSON *json = describe(seed);
	struct writer w = { .archive = archive, .files = cJSON_AddArrayToObject(json, "files") };
	if (find_reader(seed->spec, &reader, err) < 0)
		return -1;
	w.reader = reader.uid ? &reader : NULL;
	if (add_member(archive, "banger", NULL, 0, err) < 0 ||
	    add_member(archive, "banger/files", NULL, 0, err) < 0 ||
	    add_host_keys(&w, seed->vm_dirfd, err) < 0 || add_git_identity(&w, seed, err) < 0 ||
	    add_spec_files(&w, &seed->spec->files, err) < 0)
		return -1;
	auto_free char *text = json_print(json);
	return add_member(archive, "banger/seed.json", text, strlen(text), err);
}

static int seed_write_cpio(const struct seed *seed, int fd, struct error *err)
{
	if (archive_library_load(err) < 0)
		return -1;
	__attribute__((cleanup(cleanup_archive))) struct archive *archive =
		libarchive.archive_write_new();
	if (!archive)
		BUG("out of memory");
	if (libarchive.archive_write_set_format_cpio_newc(archive) != ARCHIVE_OK ||
	    libarchive.archive_write_set_bytes_per_block(archive, 65536) != ARCHIVE_OK ||
	    libarchive.archive_write_set_bytes_in_last_block(archive, 512) != ARCHIVE_OK ||
	    libarchive.archive_write_open_fd(archive, fd) != ARCHIVE_OK)
		return error_set(err, ERROR_SYSTEM, "cannot begin the seed: %s",
				 libarchive.archive_error_string(archive));
	/* Not archive_write_fail() on error: a failed archive leaks its buffers when it is freed.
	 */
	if (write_members(archive, seed, err) < 0)
		return -1;
	if (libarchive.archive_write_close(archive) != ARCHIVE_OK)
		return error_set(err, ERROR_SYSTEM, "cannot end the seed: %s",
				 libarchive.archive_error_string(archive));
	return 0;
}

/* A rename over a file makes ext4 write the new one's blocks out first, for the programs that
 * forget to: 4 ms here, more than all the rest. A rename to a free name does not. */
static int replace_unflushed(int dirfd, const char *from, const char *to, struct error *err)
{
	if (unlinkat(dirfd, to, 0) < 0 && errno != ENOENT)
		return error_sys(err, "cannot remove '%s'", to);
	if (renameat(dirfd, from, dirfd, to) < 0)
		return error_sys(err, "cannot rename '%s'", from);
	return 0;
}

int seed_write_initrd(const struct seed *seed, const char *modules_cpio, const char *agent_cpio,
		      struct error *err)
{
	static const char tmp[] = VM_FILE_INITRD ".new";
	unlinkat(seed->vm_dirfd, tmp, 0);
	auto_close int fd = openat(seed->vm_dirfd, tmp,
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, "vm '%s': cannot create '%s'", seed->name, tmp);
	int result = initrd_add_part(fd, modules_cpio, err);
	if (result == 0)
		result = initrd_add_part(fd, agent_cpio, err);
	if (result == 0)
		result = seed_write_cpio(seed, fd, err);
	if (result == 0)
		result = replace_unflushed(seed->vm_dirfd, tmp, VM_FILE_INITRD, err);
	if (result < 0) {
		unlinkat(seed->vm_dirfd, tmp, 0);
		return error_wrap(err, "vm '%s'", seed->name);
	}
	return 0;
}
