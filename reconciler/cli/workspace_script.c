#include "cli/workspace_script.h"
#include "cli/cli.h"
#include "cli/ssh_argv.h"

static void add_variable(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s=", name);
	shell_quote(out, value);
	buf_add_char(out, '\n');
}

const char scratch_function[] =
	"scratch() (\n"
	"	owner=$(cut -c 1-8 /proc/sys/kernel/random/boot_id).$$\n"
	"	for old in \"$1/.banger-$2.\"*; do\n"
	"		pid=${old##*.banger-$2.${owner%.*}.}\n"
	"		kill -0 \"${pid%.*}\" 2> /dev/null || rm -rf \"$old\"\n"
	"	done\n"
	"	mktemp -d \"$1/.banger-$2.$owner.XXXXXX\"\n"
	")\n";

const char sparse_function[] =
	"sparse() (\n"
	"	for one in \"$1\"/sparse/*; do\n"
	"		[ -f \"$one/size\" ] || continue\n"
	"		truncate -s \"$(cat \"$one/size\")\" \"$one/it\"\n"
	"		for piece in \"$one\"/at/*; do\n"
	"			[ -f \"$piece\" ] || continue\n"
	"			dd if=\"$piece\" of=\"$one/it\" bs=1048576 seek=\"${piece##*/}\" conv=notrunc\n"
	"			rm \"$piece\"\n"
	"		done\n"
	"		touch -r \"$one/size\" \"$one/it\"\n"
	"	done\n"
	")\n";

/* The tree of everything there is, through an index of its own beside the real one, which gives
 * what is known of the files and stays as it is. */
static const char tree_function[] =
	"tree() (\n"
	"	cd \"$1\"\n"
	"	g=$(git rev-parse --absolute-git-dir)\n"
	"	i=\"$g/banger-index.$$\"\n"
	"	trap 'rm -f \"$i\" \"$i.lock\"' EXIT\n"
	"	[ ! -f \"$g/index\" ] || cp -p \"$g/index\" \"$i\"\n"
	"	GIT_INDEX_FILE=$i git -c core.safecrlf=false -c advice.addEmbeddedRepo=false add -A\n"
	"	GIT_INDEX_FILE=$i git write-tree\n"
	")\n";

static const char work_check[] =
	"if [ -e \"$path\" ] && [ -z \"$force\" ]; then\n"
	"	was=$(git -C \"$path\" rev-parse -q --verify " WORKSPACE_REF
	" 2>/dev/null) || was=\n"
	"	if [ -n \"$was\" ]; then\n"
	"		[ \"$(tree \"$path\")\" = \"$was\" ] || exit 65\n"
	"	elif [ ! -d \"$path/.git\" ] && [ -n \"$(ls -A \"$path\")\" ]; then\n"
	"		exit 65\n"
	"	elif [ -d \"$path/.git\" ] && [ -n \"$(ls -A \"$path\" | grep -vx .git)\" ]; then\n"
	"		exit 65\n"
	"	fi\n"
	"fi\n";

static const char build_function[] =
	"build() (\n"
	"	mkdir -p \"$2\"\n"
	"	mv \"$1/repo/.git\" \"$2/.git\"\n"
	"	cd \"$2\"\n"
	"	[ -z \"$checkout\" ] || git reset -q --hard\n"
	"	[ ! -s \"$1/removed\" ] || xargs -0 rm -rf -- < \"$1/removed\"\n"
	"	[ ! -d \"$1/overlay\" ] || cp -al \"$1/overlay/.\" .\n"
	"	for module in \"$1\"/modules/*; do\n"
	"		[ ! -f \"$module/place\" ] || build \"$module\" \"$2/$(cat \"$module/place\")\"\n"
	"	done\n"
	")\n";

static const char prepare_body[] =
	"mkdir -p \"$(dirname \"$path\")\"\n"
	"new=$(scratch \"$(dirname \"$path\")\" workspace)\n"
	"trap 'rm -rf \"$new\"' EXIT\n"
	"trap 'exit 129' HUP INT TERM\n"
	"tar -x -f - -C \"$new\"\n"
	"sparse \"$new\"\n"
	"build \"$new\" \"$new/tree\"\n"
	"if [ -n \"$checkout\" ]; then\n"
	"	git -C \"$new/tree\" update-ref " WORKSPACE_REF " \"$(tree \"$new/tree\")\"\n"
	"fi\n"
	"[ ! -e \"$path\" ] || mv \"$path\" \"$new/old\"\n"
	"mv \"$new/tree\" \"$path\"\n"
	"if command -v mise > /dev/null 2>&1; then\n"
	"	(cd \"$path\" && mise trust --quiet --all) > /dev/null 2>&1 || :\n"
	"fi\n"
	"sync\n";

void prepare_script(struct buf *out, const struct prepare_script *script)
{
	buf_add(out, "set -eu\numask 022\n");
	add_variable(out, "path", script->path);
	add_variable(out, "checkout", script->checkout ? "yes" : "");
	add_variable(out, "force", script->force ? "yes" : "");
	buf_add(out, "command -v git > /dev/null || exit 64\n");
	buf_add(out, scratch_function);
	buf_add(out, sparse_function);
	buf_add(out, tree_function);
	buf_add(out, work_check);
	buf_add(out, build_function);
	buf_add(out, prepare_body);
}

static const char export_body[] =
	"cd \"$path\" 2> /dev/null || exit 66\n"
	"command -v git > /dev/null || exit 64\n"
	"g=$(git rev-parse --absolute-git-dir) || exit 66\n"
	"from=\n"
	"for name in \"$base\" \"$fallback\"; do\n"
	"	[ -z \"$name\" ] || [ -n \"$from\" ] ||\n"
	"		from=$(git rev-parse -q --verify \"$name^{tree}\") || :\n"
	"done\n"
	"[ -n \"$from\" ] || exit 67\n"
	"i=\"$g/banger-index.$$\"\n"
	"trap 'rm -f \"$i\" \"$i.lock\"' EXIT\n"
	"trap 'exit 129' HUP INT TERM\n"
	"export GIT_INDEX_FILE=\"$i\"\n"
	"git read-tree \"$from\"\n"
	"git -c core.safecrlf=false -c advice.addEmbeddedRepo=false add -A\n"
	"git -c diff.noprefix=false -c diff.mnemonicPrefix=false -c core.quotePath=true \\\n"
	"	diff --cached --no-color --no-ext-diff --no-textconv -M";

void export_script(struct buf *out, const char *path, const char *base, const char *fallback,
		   enum export_what what)
{
	static const char *const how[] = {
		[EXPORT_PATCH] = "--binary --full-index",
		[EXPORT_NAMES] = "--name-status -z",
		[EXPORT_TEXT] = "--submodule=short",
	};
	buf_add(out, "set -eu\n");
	add_variable(out, "path", path);
	add_variable(out, "base", base ? base : WORKSPACE_REF);
	add_variable(out, "fallback", base || !fallback ? "" : fallback);
	buf_addf(out, "%s %s \"$from\" --\n", export_body, how[what]);
}

void exec_script(struct buf *out, const char *path, const char *const *words, size_t count)
{
	if (path) {
		buf_add(out, "cd ");
		shell_quote(out, path);
		buf_addf(out, " || exit %d; ", STATUS_SSH);
	}
	if (!count) {
		buf_add(out, "exec \"${SHELL:-/bin/sh}\" -l");
		return;
	}
	auto_buf struct buf line = BUF_INIT;
	for (size_t i = 0; i < count; i++) {
		buf_add(&line, i ? " " : "");
		shell_quote(&line, words[i]);
	}
	buf_addf(out, "if command -v mise > /dev/null 2>&1; then exec mise exec -- %s; else %s; fi",
		 line.data, line.data);
}
