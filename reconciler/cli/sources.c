#include "cli/sources.h"
#include "cli/cli.h"
#include "cli/key_files.h"
#include "base/fs.h"
#include "rpc/rpc.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TOTAL_MAX    (64u << 20) /* bytes of all sources */
#define DEFAULT_FILE "vms.yaml"

char *path_absolute(const char *cwd, const char *path)
{
	auto_free char *joined = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", cwd, path);
	auto_buf struct buf out = BUF_INIT;
	for (char *at = joined; *at;) {
		size_t len = strcspn(at, "/");
		if (len == 2 && at[0] == '.' && at[1] == '.') {
			const char *slash = strrchr(out.data, '/');
			if (slash) {
				out.len = (size_t)(slash - out.data);
				out.data[out.len] = '\0';
			}
		} else if (len && !(len == 1 && at[0] == '.')) {
			buf_add_char(&out, '/');
			buf_add_bytes(&out, at, len);
		}
		at += len + (at[len] == '/');
	}
	if (!out.len)
		buf_add_char(&out, '/');
	return buf_take(&out);
}

static char *parent_of(const char *absolute)
{
	const char *slash = strrchr(absolute, '/');
	return slash == absolute ? xstrdup("/") : xstrndup(absolute, (size_t)(slash - absolute));
}

static int read_doc(struct sources *ret, int fd, const char *shown, const char *path,
		    const char *directory, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	size_t total = 0;
	/* One byte beyond the limit is enough for spec_load() to say that it is too long. */
	while (text.len <= SPEC_FILE_MAX) {
		size_t want = SPEC_FILE_MAX + 1 - text.len;
		ssize_t got = read(fd, buf_grow(&text, want < 65536 ? want : 65536),
				   want < 65536 ? want : 65536);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_sys(err, "cannot read '%s'", shown);
		if (got == 0)
			break;
		buf_grown(&text, (size_t)got);
	}
	for (size_t i = 0; i < ret->docs.count; i++)
		total += ret->docs.at[i].len;
	if (total + text.len > TOTAL_MAX)
		return error_set(err, ERROR_INVALID,
				 "'%s': all files together are larger than %u MiB", shown,
				 TOTAL_MAX >> 20);
	size_t len = text.len;
	source_doc_vec_push(&ret->docs, (struct source_doc){ .shown = xstrdup(shown),
							     .path = xstrdup(path),
							     .directory = xstrdup(directory),
							     .text = buf_take(&text),
							     .len = len });
	return 0;
}

/* The rules of source/dir.h: what an editor or a copying program left behind is no spec. */
static bool is_spec_name(const char *name)
{
	size_t len = strlen(name);
	if (name[0] == '.' || name[0] == '#')
		return false;
	return (len > 5 && !strcmp(name + len - 5, ".yaml")) ||
	       (len > 4 && !strcmp(name + len - 4, ".yml"));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

DEFINE_VEC(name_vec, char *)

static void names_clear(struct name_vec *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->at[i]);
	name_vec_clear(names);
}

static int read_names(struct sources *ret, int dirfd, const struct name_vec *names,
		      const char *shown, const char *absolute, struct error *err)
{
	size_t len = strlen(shown);
	for (size_t i = 0; i < names->count; i++) {
		const char *slash = len && shown[len - 1] == '/' ? "" : "/";
		auto_free char *name = !strcmp(shown, ".")
					       ? xstrdup(names->at[i])
					       : xasprintf("%s%s%s", shown, slash, names->at[i]);
		auto_free char *path = xasprintf("%s/%s", absolute, names->at[i]);
		auto_close int fd = openat(dirfd, names->at[i], O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return error_sys(err, "cannot open '%s'", name);
		if (read_doc(ret, fd, name, path, absolute, err) < 0)
			return -1;
	}
	return 0;
}

static int read_dir(struct sources *ret, int fd, const char *shown, const char *absolute,
		    struct error *err)
{
	struct name_vec names __attribute__((cleanup(names_clear))) = { 0 };
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	auto_dir DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	if (!dir) {
		error_sys(err, "cannot list '%s'", shown);
		if (copy >= 0)
			close(copy);
		return -1;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st;
		if (is_spec_name(entry->d_name) && fstatat(fd, entry->d_name, &st, 0) == 0 &&
		    S_ISREG(st.st_mode))
			name_vec_push(&names, xstrdup(entry->d_name));
	}
	if (!names.count)
		return error_set(err, ERROR_INVALID, "there is no *.yaml or *.yml in '%s'", shown);
	qsort(names.at, names.count, sizeof(*names.at), compare_names);
	return read_names(ret, fd, &names, shown, absolute, err);
}

/* Of several sources the stack is where they all are. */
static char *common_directory(const char *a, const char *b)
{
	size_t slash = 0, i = 0;
	for (; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			slash = i;
	if ((!a[i] && b[i] == '/') || (!b[i] && a[i] == '/') || (!a[i] && !b[i]))
		slash = i;
	return slash ? xstrndup(a, slash) : xstrdup("/");
}

static void note_place(struct sources *ret, const char *directory, const char *path)
{
	char real[PATH_MAX];
	const char *place = realpath(path, real) ? real : path;
	if (!ret->path) {
		ret->stack = stack_name_of(directory);
		ret->path = xstrdup(place);
		return;
	}
	char *common = ret->path[0] ? common_directory(ret->path, place) : xstrdup("");
	free(ret->path);
	ret->path = common;
}

/* Standard input, a pipe: it has no place, so it must name its stack itself. */
static int read_stream(struct sources *ret, int fd, const char *shown, const char *cwd,
		       struct error *err)
{
	free(ret->stack);
	free(ret->path);
	ret->stack = xstrdup("");
	ret->path = xstrdup("");
	return read_doc(ret, fd, shown, "-", cwd, err);
}

static int read_one(struct cli *cli, struct sources *ret, const char *cwd, const char *given,
		    struct error *err)
{
	struct stat st;
	if (!strcmp(given, "-"))
		return read_stream(ret, fileno(cli->io.in), "-", cwd, err);
	auto_close int fd = open(given, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		error_sys(err, "cannot open '%s'", given);
		err->code = ERROR_INVALID;
		return -1;
	}
	auto_free char *absolute = path_absolute(cwd, given);
	if (S_ISDIR(st.st_mode)) {
		note_place(ret, absolute, absolute);
		return read_dir(ret, fd, given, absolute, err);
	}
	if (!S_ISREG(st.st_mode))
		return read_stream(ret, fd, given, cwd, err);
	auto_free char *parent = parent_of(absolute);
	note_place(ret, parent, absolute);
	return read_doc(ret, fd, given, absolute, parent, err);
}

int sources_read(struct cli *cli, struct sources *ret, struct error *err)
{
	char cwd[PATH_MAX];
	if (!getcwd(cwd, sizeof(cwd)))
		return error_sys(err, "cannot tell the current directory");
	const char *given = cli_value_at(cli, "file", 0);
	if (!given && access(DEFAULT_FILE, F_OK) < 0)
		return error_set(err, ERROR_INVALID,
				 "no file named and no '" DEFAULT_FILE "' here: -f FILE|DIR|-");
	if (!given)
		return read_one(cli, ret, cwd, DEFAULT_FILE, err);
	for (size_t i = 0; (given = cli_value_at(cli, "file", i)); i++)
		if (read_one(cli, ret, cwd, given, err) < 0)
			return -1;
	return 0;
}

void sources_clear(struct sources *sources)
{
	for (size_t i = 0; i < sources->docs.count; i++) {
		struct source_doc *doc = &sources->docs.at[i];
		free(doc->shown);
		free(doc->path);
		free(doc->directory);
		free(doc->text);
	}
	source_doc_vec_clear(&sources->docs);
	free(sources->stack);
	free(sources->path);
	*sources = (struct sources){ 0 };
}

static int write_texts(const struct sources *sources, struct error *err)
{
	auto_close int fd = memfd_create("banger-sources", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return error_sys(err, "cannot make a memory file");
	for (size_t i = 0; i < sources->docs.count; i++)
		if (fs_write_all(fd, sources->docs.at[i].text, sources->docs.at[i].len) < 0)
			return error_sys(err, "cannot write a memory file");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return error_sys(err, "cannot seal a memory file");
	return take_fd(&fd);
}

int sources_to_wire(const struct cli *cli, const struct sources *sources, cJSON *params,
		    struct error *err)
{
	cJSON *documents = cJSON_AddArrayToObject(params, "documents");
	size_t size = 0;
	for (size_t i = 0; i < sources->docs.count; i++) {
		const struct source_doc *doc = &sources->docs.at[i];
		cJSON *item = cJSON_CreateObject();
		json_add_str(item, "name", doc->path);
		json_add_str(item, "directory", doc->directory);
		json_add_int(item, "length", (int64_t)doc->len);
		cJSON_AddItemToArray(documents, item);
		/* Escapes can make six bytes of one. */
		size += 6 * (strlen(doc->path) + strlen(doc->directory)) + 80;
	}
	json_add_str(params, "stack", sources->stack);
	json_add_str(params, "path", sources->path);
	key_files_home(params);
	auto_free struct spec_source *list = sources_for_load(sources);
	key_files_of_sources(cli, list, sources->docs.count, params);
	auto_free char *text = size > RPC_FRAME_MAX / 2 ? json_print(params) : NULL;
	if (text && strlen(text) > RPC_FRAME_MAX - 4096)
		return error_set(err, ERROR_INVALID,
				 "%zu files are too many for one request, put several VMs in one",
				 sources->docs.count);
	return write_texts(sources, err);
}

const char *sources_shown(const struct sources *sources, const char *path)
{
	for (size_t i = 0; i < sources->docs.count; i++)
		if (!strcmp(sources->docs.at[i].path, path))
			return sources->docs.at[i].shown;
	return path;
}

struct spec_source *sources_for_load(const struct sources *sources)
{
	struct spec_source *list = xcalloc(sources->docs.count, sizeof(*list));
	for (size_t i = 0; i < sources->docs.count; i++) {
		const struct source_doc *doc = &sources->docs.at[i];
		list[i] = (struct spec_source){ .name = doc->shown,
						.text = doc->text,
						.len = doc->len,
						.directory = doc->directory };
	}
	return list;
}
