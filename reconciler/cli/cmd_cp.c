/* cp: files and directories in and out, as a tar stream through the pinned ssh.
 *
 * Like scp: into a directory that is there under its own name, else as that name. What comes out of
 * a guest is untrusted: it is unpacked into a fresh directory beside the place, never through a
 * link, and only then renamed. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/conn.h"
#include "cli/spawn.h"
#include "cli/ssh_session.h"
#include "cli/tar.h"
#include "cli/unpack.h"
#include "cli/workspace_script.h"
#include "base/fs.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

/* "NAME:PATH" as its two halves; NULL when it is a path of this host: no colon, or a slash before
 * it. Caller frees the name. */
static char *vm_of(const char *word, const char **ret_path)
{
	const char *colon = strchr(word, ':'), *slash = strchr(word, '/');
	if (!colon || colon == word || (slash && slash < colon))
		return NULL;
	*ret_path = colon + 1;
	return xstrndup(word, (size_t)(colon - word));
}

static char *base_of(const char *path)
{
	size_t len = strlen(path);
	while (len && path[len - 1] == '/')
		len--;
	const char *slash = len ? memrchr(path, '/', len) : NULL;
	size_t from = slash ? (size_t)(slash - path) + 1 : 0;
	return xstrndup(path + from, len - from);
}

static int check_base(const char *path, const char *base, struct error *err)
{
	if (base[0] && strcmp(base, ".") != 0 && strcmp(base, "..") != 0)
		return 0;
	return error_set(err, ERROR_INVALID, "'%s' has no name of its own to copy under", path);
}

static int copy_failed(const char *name, int said, int status, struct error *err)
{
	auto_free char *tail = spawn_tail(said);
	if (strstr(tail, "No space left"))
		return error_set(err, ERROR_SYSTEM, "the disk of vm '%s' is full (%s)", name, tail);
	return error_set(err, ERROR_SYSTEM, "vm '%s' could not do it (status %d): %s", name, status,
			 tail);
}

/* --- in --- */

static const char in_body[] =
	"case $dst in /*) ;; ?*) dst=./$dst ;; *) dst=. ;; esac\n"
	"if [ -d \"$dst\" ]; then dir=$dst name=$base\n"
	"else case $dst in */) echo \"there is no directory $dst\" >&2; exit 1 ;; esac\n"
	"dir=$(dirname \"$dst\") name=$(basename \"$dst\"); fi\n"
	"new=$(scratch \"$dir\" cp)\n"
	"trap 'rm -rf \"$new\"' EXIT\n"
	"trap 'exit 129' HUP INT TERM\n"
	"tar -x -f - -C \"$new\"\n"
	"sparse \"$new\"\n"
	"if [ -d \"$new/it\" ] && [ ! -L \"$new/it\" ] && [ -d \"$dir/$name\" ]; then\n"
	"	cp -a \"$new/it/.\" \"$dir/$name/\"\n"
	"else mv -f \"$new/it\" \"$dir/$name\"; fi\n";

static void add_variable(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s=", name);
	shell_quote(out, value);
	buf_add_char(out, '\n');
}

/* A link that was named is meant to be what it leads to; those below it stay links. */
static int send_it(void *cookie, int fd, struct error *err)
{
	const char *source = *(const char *const *)cookie;
	auto_ptr(tar) tar = tar_new(fd);
	auto_free char *real = realpath(source, NULL);
	struct stat st;
	if (!real || stat(real, &st) < 0)
		return error_sys(err, "cannot open '%s'", source);
	int added = S_ISDIR(st.st_mode) ? tar_add_tree(tar, "it", AT_FDCWD, real, err)
					: tar_add_file(tar, "it", AT_FDCWD, real, err);
	return added < 0 ? -1 : tar_finish(tar, err);
}

static int copy_in(struct cli *cli, const char *name, const cJSON *target, const char *source,
		   const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	auto_free char *base = base_of(source);
	auto_close int said = spawn_scratch(err);
	int status;
	if (said < 0 || check_base(source, base, err) < 0)
		return -1;
	buf_add(&text, "set -eu\numask 022\n");
	add_variable(&text, "dst", path);
	add_variable(&text, "base", base);
	buf_add(&text, scratch_function);
	buf_add(&text, sparse_function);
	buf_add(&text, in_body);
	const struct guest_script guest = {
		.name = name, .target = target, .text = text.data, .err = said
	};
	if (guest_send(cli, &guest, send_it, &source, &status, err) < 0)
		return -1;
	return status ? copy_failed(name, said, status, err) : 0;
}

/* --- out --- */

static const char out_body[] = "case $src in /*) ;; *) src=./$src ;; esac\n"
			       "[ -e \"$src\" ] || { echo \"there is no $src\" >&2; exit 1; }\n"
			       "src=$(readlink -f \"$src\")\n"
			       "cd \"$(dirname \"$src\")\"\n"
			       "case $(tar --version 2>&1) in *GNU*) s=-S ;; *) s= ;; esac\n"
			       "exec tar -c $s -f - \"./$(basename \"$src\")\"\n";

/* The directory to unpack beside, and the name there. */
static void place_of(const char *destination, const char *base, char **ret_dir, char **ret_name)
{
	struct stat st;
	if (stat(destination, &st) == 0 && S_ISDIR(st.st_mode)) {
		*ret_dir = xstrdup(destination);
		*ret_name = xstrdup(base);
		return;
	}
	const char *slash = strrchr(destination, '/');
	*ret_dir = slash ? xstrndup(destination,
				    (size_t)(slash - destination) + (slash == destination))
			 : xstrdup(".");
	*ret_name = xstrdup(slash ? slash + 1 : destination);
}

static int copy_out(struct cli *cli, const char *name, const cJSON *target, const char *path,
		    const char *destination, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	auto_free char *base = base_of(path);
	auto_free char *dir = NULL, *as = NULL;
	auto_close int said = spawn_scratch(err), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	auto_close int reader = -1;
	auto_close int writer = -1;
	struct error broken = { 0 };
	int ends[2], status;
	pid_t pid;
	if (check_base(path, base, err) < 0)
		return -1;
	place_of(destination, base, &dir, &as);
	if (!as[0])
		return error_set(err, ERROR_INVALID, "there is no directory '%s'", destination);
	if (said < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, "cannot make a pipe");
	reader = ends[0];
	writer = ends[1];
	buf_add(&text, "set -eu\n");
	add_variable(&text, "src", path);
	buf_add(&text, out_body);
	struct guest_script guest = { name, target, text.data, null, writer, said, NULL };
	if (guest_start(cli, &guest, &pid, err) < 0)
		return -1;
	cleanup_close(&writer);
	writer = -1;
	struct unpack *unpack = unpack_stream(reader, dir, &broken);
	cleanup_close(&reader);
	reader = -1;
	int failed = guest_wait(cli, &guest, pid, &status, err);
	if (failed == 0 && status && status != 128 + SIGPIPE)
		failed = copy_failed(name, said, status, err);
	if (failed == 0 && !unpack) {
		*err = broken;
		failed = -1;
	}
	if (failed == 0)
		failed = unpack_finish(unpack, as, err);
	unpack_free(unpack);
	return failed;
}

int cmd_cp(struct cli *cli)
{
	struct error err = { 0 };
	const char *const *words = cli->args.words.at;
	const char *from_path = words[0], *to_path = words[1];
	auto_free char *from = vm_of(words[0], &from_path), *to = vm_of(words[1], &to_path);
	auto_json cJSON *target = NULL;
	if (!from == !to)
		return cli_misused(cli, "one of the two is in a VM, as NAME:PATH");
	const char *name = from ? from : to;
	if (ssh_wait_ready(cli, name, 0, &target, &err) < 0)
		return cli_fail_vm(cli, name, &err);
	int failed = from ? copy_out(cli, name, target, from_path, to_path, &err)
			  : copy_in(cli, name, target, from_path, to_path, &err);
	return failed < 0 ? cli_fail_vm(cli, name, &err) : STATUS_DONE;
}
