/* Runs a fuzz target without a fuzzer: every file named, and every file of every folder named, goes
 * through it once. So what a fuzzer found stays a test that any compiler can run. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
	struct error err = { 0 };
	auto_buf struct buf text = BUF_INIT;
	if (fs_read(AT_FDCWD, path, INPUT_MAX, &text, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	/* Exactly as large as the input, so that a sanitizer sees one byte too many. */
	auto_free uint8_t *exact = xmalloc(text.len);
	memcpy(exact, text.data, text.len);
	LLVMFuzzerTestOneInput(exact, text.len);
	return 1;
}

static int run_folder(const char *path)
{
	int count = 0;
	auto_dir DIR *dir = opendir(path);
	if (!dir) {
		fprintf(stderr, "cannot list '%s'\n", path);
		return -1;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		auto_free char *file = xasprintf("%s/%s", path, entry->d_name);
		struct stat st;
		if (stat(file, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (run_file(file) < 0)
			return -1;
		count++;
	}
	return count;
}

int main(int argc, char **argv)
{
	int total = 0;
	for (int i = 1; i < argc; i++) {
		struct stat st;
		bool folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
		int count = folder ? run_folder(argv[i]) : run_file(argv[i]);
		if (count < 0)
			return 1;
		total += count;
	}
	printf("%s: %d inputs\n", argv[0], total);
	return total ? 0 : 1;
}
