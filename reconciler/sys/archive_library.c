#include "sys/archive_library.h"

#include <pthread.h>

struct archive_library libarchive;
static bool ready;

static const struct library_symbol symbols[] = {
	LIBRARY_SYMBOL(libarchive, archive_error_string),
	LIBRARY_SYMBOL(libarchive, archive_entry_new),
	LIBRARY_SYMBOL(libarchive, archive_entry_free),
	LIBRARY_SYMBOL(libarchive, archive_entry_set_pathname),
	LIBRARY_SYMBOL(libarchive, archive_entry_set_filetype),
	LIBRARY_SYMBOL(libarchive, archive_entry_set_perm),
	LIBRARY_SYMBOL(libarchive, archive_entry_set_nlink),
	LIBRARY_SYMBOL(libarchive, archive_entry_set_size),
	LIBRARY_SYMBOL(libarchive, archive_entry_set_mtime),
	LIBRARY_SYMBOL(libarchive, archive_write_new),
	LIBRARY_SYMBOL(libarchive, archive_write_set_format_cpio_newc),
	LIBRARY_SYMBOL(libarchive, archive_write_set_bytes_per_block),
	LIBRARY_SYMBOL(libarchive, archive_write_set_bytes_in_last_block),
	LIBRARY_SYMBOL(libarchive, archive_write_open_fd),
	LIBRARY_SYMBOL(libarchive, archive_write_header),
	LIBRARY_SYMBOL(libarchive, archive_write_data),
	LIBRARY_SYMBOL(libarchive, archive_write_close),
	LIBRARY_SYMBOL(libarchive, archive_write_free),
	LIBRARY_SYMBOL(libarchive, archive_read_new),
	LIBRARY_SYMBOL(libarchive, archive_read_support_filter_gzip),
	LIBRARY_SYMBOL(libarchive, archive_read_support_filter_bzip2),
	LIBRARY_SYMBOL(libarchive, archive_read_support_filter_lzma),
	LIBRARY_SYMBOL(libarchive, archive_read_support_filter_xz),
	LIBRARY_SYMBOL(libarchive, archive_read_support_filter_lz4),
	LIBRARY_SYMBOL(libarchive, archive_read_support_filter_zstd),
	LIBRARY_SYMBOL(libarchive, archive_read_support_format_raw),
	LIBRARY_SYMBOL(libarchive, archive_read_open),
	LIBRARY_SYMBOL(libarchive, archive_read_next_header),
	LIBRARY_SYMBOL(libarchive, archive_read_data_block),
	LIBRARY_SYMBOL(libarchive, archive_read_free),
	{ 0 },
};

static void load(void)
{
	static const char *const names[] = { "libarchive.so.13", NULL };
	ready = library_load(names, symbols);
}

int archive_library_load(struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
	if (ready)
		return 0;
	return error_set(err, ERROR_NOT_FOUND,
			 "libarchive.so.13 is not installed, which starting a VM needs: "
			 "apt-get install libarchive13");
}
