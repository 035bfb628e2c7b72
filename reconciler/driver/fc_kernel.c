/* Theory of operation: released Firecrackers boot an ELF file. A bzImage holds one, compressed;
 * where, its header says (Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, "HdrS" at 0x202,
 * from protocol 2.08 on payload_offset and payload_length at 0x248 and 0x24c, counted from the
 * protected-mode code), and the payload's last four bytes are its size when unpacked. libarchive
 * knows all the compressions that the kernel's build knows. */
#include "driver/fc.h"
#include "base/fs.h"
#include "base/units.h"
#include "sys/archive_library.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define HEADER_BYTES  0x250
#define PAYLOAD_SINCE 0x0208
#define FILE_MAX      (256 * MIB)
#define KERNEL_MAX    (1024 * MIB)

struct payload {
	off_t at;
	size_t len;	   /* without the size at its end */
	uint32_t unpacked; /* bytes */
};

struct source {
	int fd;
	off_t at, end;
	char chunk[65536];
};

static uint32_t le32(const unsigned char *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* From its header; false: it has none, or one that leads out of the file. */
static bool find_payload(int fd, const unsigned char header[HEADER_BYTES], struct payload *ret)
{
	struct stat st;
	unsigned char size[4];
	unsigned setup = header[0x1f1] ? header[0x1f1] : 4;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size > FILE_MAX ||
	    (header[0x206] | header[0x207] << 8) < PAYLOAD_SINCE)
		return false;
	uint64_t at = (setup + 1) * UINT64_C(512) + le32(header + 0x248);
	uint64_t len = le32(header + 0x24c);
	if (len <= sizeof(size) || at + len > (uint64_t)st.st_size ||
	    pread(fd, size, sizeof(size), (off_t)(at + len - sizeof(size))) != sizeof(size))
		return false;
	*ret = (struct payload){ .at = (off_t)at,
				 .len = len - sizeof(size),
				 .unpacked = le32(size) };
	/* gzip keeps the size as a part of its own end. */
	unsigned char magic[2];
	if (pread(fd, magic, 2, ret->at) == 2 && magic[0] == 0x1f && magic[1] == 0x8b)
		ret->len += sizeof(size);
	return ret->unpacked && ret->unpacked <= KERNEL_MAX;
}

static la_ssize_t read_source(struct archive *archive, void *cookie, const void **ret)
{
	struct source *source = cookie;
	(void)archive;
	size_t left = (size_t)(source->end - source->at);
	ssize_t got =
		pread(source->fd, source->chunk,
		      left < sizeof(source->chunk) ? left : sizeof(source->chunk), source->at);
	*ret = source->chunk;
	source->at += got > 0 ? got : 0;
	return got;
}

/* Only as much as the kernel says it is. */
static int unpack(struct archive *archive, uint64_t bytes, int to, struct error *err)
{
	struct archive_entry *entry;
	const void *data;
	size_t len;
	la_int64_t at;
	uint64_t written = 0;
	if (libarchive.archive_read_next_header(archive, &entry) != ARCHIVE_OK)
		return error_set(err, ERROR_INVALID, "%s",
				 libarchive.archive_error_string(archive));
	while (written < bytes) {
		if (libarchive.archive_read_data_block(archive, &data, &len, &at) != ARCHIVE_OK)
			break;
		if (len > bytes - written)
			len = bytes - written;
		if (fs_write_all(to, data, len) < 0)
			return error_sys(err, "cannot write '" VM_FILE_KERNEL "'");
		written += len;
	}
	if (written < bytes)
		return error_set(err, ERROR_INVALID, "its payload is cut off or broken");
	return 0;
}

static int extract(int fd, const struct payload *payload, int to, struct error *err)
{
	struct source source = { .fd = fd,
				 .at = payload->at,
				 .end = payload->at + (off_t)payload->len };
	if (archive_library_load(err) < 0)
		return -1;
	struct archive *archive = libarchive.archive_read_new();
	if (!archive)
		BUG("out of memory");
	/* Not "all": some of those would run a program. */
	libarchive.archive_read_support_filter_gzip(archive);
	libarchive.archive_read_support_filter_bzip2(archive);
	libarchive.archive_read_support_filter_lzma(archive);
	libarchive.archive_read_support_filter_xz(archive);
	libarchive.archive_read_support_filter_lz4(archive);
	libarchive.archive_read_support_filter_zstd(archive);
	libarchive.archive_read_support_format_raw(archive);
	int failed = 0;
	if (libarchive.archive_read_open(archive, &source, NULL, read_source, NULL) != ARCHIVE_OK)
		failed = error_set(err, ERROR_INVALID, "%s",
				   libarchive.archive_error_string(archive));
	else
		failed = unpack(archive, payload->unpacked, to, err);
	libarchive.archive_read_free(archive);
	return failed;
}

static int write_kernel(int dirfd, int fd, const struct payload *payload, struct error *err)
{
	char magic[4];
	if (fs_unlink(dirfd, VM_FILE_KERNEL, err) < 0)
		return -1;
	auto_close int to = openat(dirfd, VM_FILE_KERNEL,
				   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return error_sys(err, "cannot create '" VM_FILE_KERNEL "'");
	int failed = extract(fd, payload, to, err);
	if (failed == 0 && (pread(to, magic, 4, 0) != 4 || memcmp(magic, "\177ELF", 4) != 0))
		failed = error_set(err, ERROR_INVALID, "what it holds is no ELF file");
	struct error ignored;
	if (failed < 0)
		fs_unlink(dirfd, VM_FILE_KERNEL, &ignored);
	return failed;
}

int fc_kernel_prepare(int dirfd, const char *path, fc_version version, const char **ret,
		      struct error *err)
{
	unsigned char header[HEADER_BYTES] = { 0 };
	struct payload payload;
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return error_sys(err, "kernel '%s'", path);
	if (pread(fd, header, sizeof(header), 0) < 4)
		return error_set(err, ERROR_INVALID, "kernel '%s' is empty", path);
	bool elf = !memcmp(header, "\177ELF", 4), bzimage = !memcmp(header + 0x202, "HdrS", 4);
	if (!elf && !bzimage)
		return error_set(err, ERROR_INVALID,
				 "kernel '%s' is neither an ELF file nor a bzImage", path);
	*ret = elf || fc_can(version, FC_BZIMAGE) ? path : VM_FILE_KERNEL;
	if (*ret == path)
		return 0;
	if (!find_payload(fd, header, &payload))
		return error_set(err, ERROR_INVALID,
				 "kernel '%s' is a bzImage whose header names no payload", path);
	if (write_kernel(dirfd, fd, &payload, err) < 0)
		return error_wrap(err, "kernel '%s'", path);
	return 0;
}
