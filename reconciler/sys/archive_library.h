/* sys/archive_library.h - libarchive's functions, loaded when they are first asked for: it brings
 * along libraries that would take 2.4 MiB of an idle daemon. */
#ifndef SYS_ARCHIVE_LIBRARY_H
#define SYS_ARCHIVE_LIBRARY_H

#include "base/error.h"
#include "sys/library.h"

#include <archive.h>
#include <archive_entry.h>

struct archive_library {
	LIBRARY_FUNCTION(archive_error_string);
	LIBRARY_FUNCTION(archive_entry_new);
	LIBRARY_FUNCTION(archive_entry_free);
	LIBRARY_FUNCTION(archive_entry_set_pathname);
	LIBRARY_FUNCTION(archive_entry_set_filetype);
	LIBRARY_FUNCTION(archive_entry_set_perm);
	LIBRARY_FUNCTION(archive_entry_set_nlink);
	LIBRARY_FUNCTION(archive_entry_set_size);
	LIBRARY_FUNCTION(archive_entry_set_mtime);
	LIBRARY_FUNCTION(archive_write_new);
	LIBRARY_FUNCTION(archive_write_set_format_cpio_newc);
	LIBRARY_FUNCTION(archive_write_set_bytes_per_block);
	LIBRARY_FUNCTION(archive_write_set_bytes_in_last_block);
	LIBRARY_FUNCTION(archive_write_open_fd);
	LIBRARY_FUNCTION(archive_write_header);
	LIBRARY_FUNCTION(archive_write_data);
	LIBRARY_FUNCTION(archive_write_close);
	LIBRARY_FUNCTION(archive_write_free);
	LIBRARY_FUNCTION(archive_read_new);
	LIBRARY_FUNCTION(archive_read_support_filter_gzip);
	LIBRARY_FUNCTION(archive_read_support_filter_bzip2);
	LIBRARY_FUNCTION(archive_read_support_filter_lzma);
	LIBRARY_FUNCTION(archive_read_support_filter_xz);
	LIBRARY_FUNCTION(archive_read_support_filter_lz4);
	LIBRARY_FUNCTION(archive_read_support_filter_zstd);
	LIBRARY_FUNCTION(archive_read_support_format_raw);
	LIBRARY_FUNCTION(archive_read_open);
	LIBRARY_FUNCTION(archive_read_next_header);
	LIBRARY_FUNCTION(archive_read_data_block);
	LIBRARY_FUNCTION(archive_read_free);
};

extern struct archive_library libarchive;

/* To be called before any of them, from any thread. -1: it is not installed. */
int archive_library_load(struct error *err);

#endif
