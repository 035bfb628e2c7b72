/* cli: repositories, the stream a guest gets, its scripts (run here by sh), patches back. */
#include "test_cli_help.h"

#include <signal.h>

#include "cli/spawn.h"
#include "cli/ssh_include.h"
#include "cli/tar.h"
#include "cli/transfer.h"
#include "cli/unpack.h"
#include "cli/workspace_script.h"

static struct error err;
static char *top, *repo, *guest;

/* sh -c text with our directories as variables; stdin from in. Returns the status. */
static int sh_with(int in, int out, const char *text)
{
	const char *const argv[] = { "sh", "-c", text, NULL };
	const struct spawn spawn = { argv, in, out, -1 };
	pid_t pid;
	assert_int_equal(spawn_start(&spawn, &pid, &err), 0);
	return spawn_wait(pid);
}

static void sh(const char *text)
{
	int status = sh_with(-1, -1, text);
	if (status)
		fail_msg("%d: %s", status, text);
}

static char *sh_out(const char *text)
{
	auto_close int out = spawn_scratch(&err);
	auto_buf struct buf said = BUF_INIT;
	int status = sh_with(-1, out, text);
	if (status)
		fail_msg("%d: %s", status, text);
	lseek(out, 0, SEEK_SET);
	assert_int_equal(fs_read_fd(out, "out", 1 << 20, &said, &err), 0);
	while (said.len && said.data[said.len - 1] == '\n')
		said.data[--said.len] = '\0';
	return buf_take(&said);
}

static int setup(void **state)
{
	(void)state;
	char template[] = "/tmp/banger-test-ws-XXXXXX";
	assert_non_null(mkdtemp(template));
	top = xstrdup(template);
	repo = xasprintf("%s/repo", top);
	guest = xasprintf("%s/guest/repo", top);
	setenv("T", top, 1);
	setenv("R", repo, 1);
	setenv("G", guest, 1);
	setenv("HOME", top, 1);
	sh("mkdir -p \"$T/guest\" \"$T/cache\"; cd \"$T\"; git config --global user.name t;"
	   "git config --global user.email t@t; git init -q -b main repo; cd repo;"
	   "printf 'one\\n' > a.txt; mkdir -p d/e; echo b > d/e/b; echo c > c; chmod +x c;"
	   "printf n > 'new\nline'; printf q > \"quote's\"; printf d > -dash; ln -s /etc/passwd out;"
	   "printf x > \"$(printf 'latin-\\351')\"; printf '*.log\\n' > .gitignore;"
	   "git add -A; git commit -qm one");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fs_remove_tree(AT_FDCWD, top, &err);
	free(top);
	free(repo);
	free(guest);
	return 0;
}

/* Packs the repository and lets the guest's script unpack it here. Returns the script's status. */
static int prepare(enum transfer_mode mode, bool untracked, bool force)
{
	auto_git struct git git = { 0 };
	auto_buf struct buf text = BUF_INIT;
	auto_free char *cache = xasprintf("%s/cache", top);
	const struct prepare_script script = { guest, mode != TRANSFER_METADATA, force };
	if (git_open(&git, repo, &err) < 0)
		fail_msg("%s", err.text);
	auto_transfer struct transfer transfer = { .mode = mode,
						   .include_untracked = untracked,
						   .branch = git.branch,
						   .base = git.head,
						   .git = &git };
	auto_close int stream = spawn_scratch(&err);
	if (transfer_plan(&transfer, &err) < 0 || transfer_send(&transfer, cache, stream, &err) < 0)
		fail_msg("%s", err.text);
	lseek(stream, 0, SEEK_SET);
	prepare_script(&text, &script);
	return sh_with(stream, -1, text.data);
}

static char *tree_of(const char *variable)
{
	auto_free char *text = xasprintf("cd \"$%s\"; export GIT_INDEX_FILE=.git/t; git read-tree "
					 "HEAD; git add -A; git write-tree; rm .git/t",
					 variable);
	return sh_out(text);
}

static void assert_same_tree(void)
{
	auto_free char *here = tree_of("R"), *there = tree_of("G");
	assert_string_equal(here, there);
}

static void hostile_names_and_changes_arrive(void **state)
{
	(void)state;
	sh("cd \"$R\"; echo two >> a.txt; rm -r d; ln -s /etc d; rm c; mkdir c; echo in > c/in;"
	   "touch x.log");
	assert_int_equal(prepare(TRANSFER_SHALLOW, true, false), 0);
	assert_same_tree();
	sh("cd \"$G\"; [ ! -e x.log ]; [ -L d ]; [ -f c/in ]; [ $(git log --oneline | wc -l) = 1 ];"
	   "[ \"$(git branch --show-current)\" = main ]; git fsck 2>&1");
	sh("[ -z \"$(ls -A \"$T/cache\")\" ] && [ \"$(ls -A \"$T/guest\")\" = repo ]");
}

static void sparse_files_stay_sparse(void **state)
{
	(void)state;
	/* Ends in a hole, begins with one, is nothing else; data over the edge of a piece; many. */
	sh("cd \"$R\"; truncate -s 300000001 a.txt; printf x | dd of=a.txt bs=1 seek=104857599 "
	   "conv=notrunc; printf yz | dd of=a.txt bs=1 seek=209715199 conv=notrunc;"
	   "truncate -s 9000000 'hole only'; mkdir -p n; for i in 1 2 3; do truncate -s 5000000 n/$i; echo end >> n/$i;"
	   "done; chmod 600 n/2; touch -d @1000000000 n/3");
	assert_int_equal(prepare(TRANSFER_SHALLOW, true, false), 0);
	sh("for f in a.txt 'hole only' n/1 n/2 n/3; do cmp \"$R/$f\" \"$G/$f\"; "
	   "[ $(stat -c %b \"$G/$f\") -lt 10000 ]; done; [ $(stat -c %a \"$G/n/2\") = 600 ];"
	   "[ $(stat -c %Y \"$G/n/3\") = 1000000000 ]; [ $(stat -c %h \"$G/n/3\") = 1 ]");
	sh("[ \"$(ls -A \"$T/guest\")\" = repo ]");
}

static void what_a_killed_script_left_is_taken_away(void **state)
{
	(void)state;
	sh("mkdir -p \"$T/guest\"; cd \"$T/guest\"; b=$(cut -c 1-8 /proc/sys/kernel/random/boot_id);"
	   "mkdir .banger-workspace.00000000.1.abcdef .banger-workspace.$b.4194999.abcdef "
	   ".banger-workspace.$b.1.abcdef .banger-workspace.old");
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), 0);
	sh("cd \"$T/guest\"; [ \"$(ls -A | wc -l)\" = 2 ]; rmdir .banger-workspace.*.1.abcdef");
}

static void untracked_files_stay_unless_asked_for(void **state)
{
	(void)state;
	sh("cd \"$R\"; echo u > untracked; git add -N untracked; git reset -q; echo s > staged;"
	   "git add staged; git rm -q --cached a.txt");
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), 0);
	sh("cd \"$G\"; [ ! -e untracked ]; [ -e staged ]; [ ! -e a.txt ]");
}

static void nothing_the_repository_names_is_run(void **state)
{
	(void)state;
	sh("cd \"$R\"; for key in core.fsmonitor core.sshCommand core.pager diff.external "
	   "filter.f.clean filter.f.smudge filter.f.process diff.f.textconv diff.f.command; do "
	   "git config $key \"touch $T/ran; false\"; done; mkdir \"$T/hooks\";"
	   "printf '#!/bin/sh\\ntouch %s/ran\\n' \"$T\" > \"$T/hooks/post-index-change\";"
	   "chmod +x \"$T/hooks/post-index-change\"; git config core.hooksPath \"$T/hooks\";"
	   "echo '* filter=f diff=f' > .git/info/attributes; echo changed > a.txt");
	assert_int_equal(prepare(TRANSFER_FULL, true, false), 0);
	sh("[ ! -e \"$T/ran\" ] && [ \"$(cat \"$G/a.txt\")\" = changed ] &&"
	   "! grep -q touch \"$G/.git/config\"");
}

static void work_in_the_guest_is_not_thrown_away(void **state)
{
	(void)state;
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), 0);
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), 0);
	sh("touch \"$G/fresh\"");
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), GUEST_HAS_WORK);
	sh("[ -e \"$G/fresh\" ]");
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, true), 0);
	sh("[ ! -e \"$G/fresh\" ]; rm -rf \"$G\"; mkdir \"$G\"; touch \"$G/other\"");
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), GUEST_HAS_WORK);
}

static void a_stream_that_ends_early_leaves_what_was_there(void **state)
{
	(void)state;
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), 0);
	auto_buf struct buf text = BUF_INIT;
	const struct prepare_script script = { guest, true, false };
	prepare_script(&text, &script);
	auto_close int half = spawn_scratch(&err);
	assert_int_equal(fs_write_all(half, "not an archive at all", 21), 0);
	lseek(half, 0, SEEK_SET);
	assert_int_not_equal(sh_with(half, -1, text.data), 0);
	sh("[ -e \"$G/a.txt\" ] && [ \"$(ls -A \"$T/guest\")\" = repo ]");
}

static void a_patch_gives_the_same_tree(void **state)
{
	(void)state;
	sh("cd \"$R\"; echo local >> a.txt");
	assert_int_equal(prepare(TRANSFER_SHALLOW, false, false), 0);
	sh("cd \"$G\"; echo more > more; git add more; git commit -qm more; git mv d/e/b moved;"
	   "rm c; printf '\\000\\001' > bin; echo again >> a.txt; git add a.txt;"
	   "sha256sum .git/index > \"$T/before\"");
	auto_buf struct buf text = BUF_INIT;
	export_script(&text, guest, NULL, "HEAD", EXPORT_PATCH);
	auto_free char *path = xasprintf("%s/patch", top);
	auto_close int patch = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(sh_with(-1, patch, text.data), 0);
	sh("cd \"$G\"; sha256sum -c --quiet \"$T/before\"; ! ls .git | grep banger-index;"
	   "cd \"$R\"; git apply \"$T/patch\"");
	assert_same_tree();
	buf_reset(&text);
	export_script(&text, guest, "no-such-commit", NULL, EXPORT_PATCH);
	assert_int_equal(sh_with(-1, patch, text.data), GUEST_NO_BASE);
	sh("rm -rf \"$G\"");
	assert_int_equal(sh_with(-1, patch, text.data), GUEST_NO_WORKSPACE);
}

static void exec_runs_words_as_they_are(void **state)
{
	(void)state;
	static const char *const words[] = { "printf", "%s|", "a b", "$HOME", "'", "", "x\ny" };
	auto_buf struct buf text = BUF_INIT;
	sh("mkdir -p \"$G\"");
	exec_script(&text, guest, words, ARRAY_COUNT(words));
	setenv("PATH", "/usr/bin:/bin", 1);
	auto_free char *out = sh_out(text.data);
	assert_string_equal(out, "a b|$HOME|'||x\ny|");
	buf_reset(&text);
	static const char *const leave[] = { "sh", "-c", "exit 42" };
	exec_script(&text, guest, leave, 3);
	assert_int_equal(sh_with(-1, -1, text.data), 42);
	sh("rmdir \"$G\"");
	assert_int_equal(sh_with(-1, -1, text.data), STATUS_SSH);
	sh("mkdir \"$G\" \"$T/bin\"; printf '#!/bin/sh\\necho in mise: \"$@\"\\n' > \"$T/bin/mise\";"
	   "chmod +x \"$T/bin/mise\"");
	auto_free char *with = xasprintf("PATH=%s/bin:$PATH; %s", top, text.data);
	auto_free char *wrapped = sh_out(with);
	assert_string_equal(wrapped, "in mise: exec -- sh -c exit 42");
}

static void nobody_reading_is_an_error_and_no_leak(void **state)
{
	(void)state;
	int ends[2];
	auto_git struct git git = { 0 };
	auto_free char *cache = xasprintf("%s/cache", top);
	sh("head -c 3000000 /dev/urandom > \"$R/large\"");
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	assert_int_equal(git_open(&git, repo, &err), 0);
	auto_transfer struct transfer transfer = {
		.include_untracked = true, .branch = git.branch, .base = git.head, .git = &git
	};
	assert_int_equal(transfer_plan(&transfer, &err), 0);
	assert_int_equal(transfer_send(&transfer, cache, ends[1], &err), -1);
	assert_int_equal(err.sys, EPIPE);
	close(ends[1]);
}

static void what_is_no_repository_is_told(void **state)
{
	(void)state;
	static const struct {
		const char *make, *said;
	} cases[] = {
		{ "mkdir \"$T/x\"", "not a git repository" },
		{ "git init -q \"$T/x\"", "no commits yet" },
		{ "ln -s \"$R/.git\" \"$T/x\"", "own directory" },
		{ "touch \"$T/x\"", "not a directory" },
		{ ":", "cannot open" },
	};
	auto_free char *path = xasprintf("%s/x", top);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_git struct git git = { 0 };
		sh("rm -rf \"$T/x\"");
		sh(cases[i].make);
		assert_int_equal(git_open(&git, path, &err), -1);
		assert_non_null(strstr(err.text, cases[i].said));
	}
}

static void lists_are_separated_by_nul(void **state)
{
	(void)state;
	static const char text[] = "M\0a b\0D\0-x\ny\0T\0\xe9\0";
	struct buf list = BUF_INIT;
	auto_git_changes struct git_changes changes = { 0 };
	buf_add_bytes(&list, text, sizeof(text) - 1);
	assert_int_equal(git_parse_status(&list, &changes, &err), 0);
	assert_int_equal(changes.changed.count, 2);
	assert_string_equal(changes.changed.at[1], "\xe9");
	assert_string_equal(changes.removed.at[0], "-x\ny");
	buf_add_bytes(&list, "M", 2);
	auto_git_changes struct git_changes bad = { 0 };
	assert_int_equal(git_parse_status(&list, &bad, &err), -1);
	buf_clear(&list);
}

static void urls_lose_their_passwords(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "https://me:token@host/x.git", "https://host/x.git" },
		{ "https://host/a@b.git", "https://host/a@b.git" },
		{ "git@host:x.git", "git@host:x.git" },
		{ "ssh://git@host/x", "ssh://git@host/x" },
		{ "/a/path", "/a/path" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		auto_free char *clean = git_clean_url(cases[i][0]);
		assert_string_equal(clean, cases[i][1]);
	}
}

/* --- what a guest sends --- */

static struct unpack *unpack_made_by(const char *text)
{
	auto_close int fd = spawn_scratch(&err);
	assert_int_equal(sh_with(-1, fd, text), 0);
	lseek(fd, 0, SEEK_SET);
	return unpack_stream(fd, guest, &err);
}

static void what_a_guest_sends_stays_where_it_belongs(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"cd \"$T\"; echo x > f; tar -c -P -f - \"$T/f\"",
		"cd \"$T\"; echo x > f; tar -c -P -f - --transform 's,f,../f2,' f",
		"cd \"$T\"; mkdir -p s; ln -sfn \"$T\" s/l; mkdir -p r/l; echo x > r/l/escaped;"
		"{ tar -c -f - -b1 -C s l | head -c 512; tar -c -f - -C r l/escaped; }",
		"echo nonsense",
	};
	sh("mkdir -p \"$G\"");
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct unpack *unpack = unpack_made_by(bad[i]);
		assert_null(unpack);
	}
	sh("[ ! -e \"$T/escaped\" ] && [ -z \"$(ls -A \"$G\")\" ]");
	struct unpack *good = unpack_made_by("cd \"$R\"; tar -c -f - ./d");
	assert_non_null(good);
	assert_int_equal(unpack_finish(good, "as this", &err), 0);
	unpack_free(good);
	sh("cd \"$G\"; [ \"$(ls -A)\" = 'as this' ] && [ -f 'as this/e/b' ]");
	sh("[ \"$(ls -A \"$G\")\" = 'as this' ]");
}

static void what_is_there_takes_in_what_comes(void **state)
{
	(void)state;
	sh("mkdir -p \"$G/d/e\" \"$T/out/e\"; cd \"$G/d\"; echo old > e/b; echo own > e/own; ln -s \"$T/out\" l;"
	   "cd \"$R/d\"; echo new > top; ln -s nowhere e/own2; echo l > l");
	struct unpack *again = unpack_made_by("cd \"$R\"; tar -c -f - ./d");
	assert_int_equal(unpack_finish(again, "d", &err), 0);
	unpack_free(again);
	sh("cd \"$G/d\"; [ \"$(cat e/b e/own top l)\" = \"$(printf 'b\nown\nnew\nl')\" ]; [ -L e/own2 ];"
	   "[ -f l ]; [ ! -L l ]");
	/* A link to a directory is none, and a file is none: nothing at all is moved then. */
	sh("rm -r \"$G/d/e\"; ln -s \"$T/out/e\" \"$G/d/e\"; echo changed > \"$R/d/top\"");
	again = unpack_made_by("cd \"$R\"; tar -c -f - ./d");
	assert_int_equal(unpack_finish(again, "d", &err), -1);
	unpack_free(again);
	assert_int_equal(err.code, ERROR_CONFLICT);
	sh("[ -z \"$(ls -A \"$T/out/e\")\" ]; [ \"$(cat \"$G/d/top\")\" = new ]; [ \"$(ls -A \"$G\")\" = d ]");
}

/* --- ssh_config --- */

static void somebody_elses_ssh_config_comes_back(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"Host *\n",
		"# c\r\nHost a\r\n\tPort 1\r\n",
		"no newline at the end",
		"Include x/*\n\n\n",
		"\xff\xfe raw\n",
	};
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		struct buf in = BUF_INIT, once = BUF_INIT, twice = BUF_INIT, back = BUF_INIT;
		bool created;
		buf_add(&in, texts[i]);
		assert_int_equal(ssh_include_add(&in, "/s/ssh_config", false, &once, &err), 0);
		assert_int_equal(ssh_include_add(&once, "/s/ssh_config", false, &twice, &err), 0);
		assert_string_equal(once.data, twice.data);
		assert_non_null(strstr(once.data, "\nInclude \"/s/ssh_config\"\n"));
		assert_int_equal(ssh_include_remove(&twice, &back, &created, &err), 0);
		assert_string_equal(back.data, texts[i]);
		assert_false(created);
		buf_clear(&in);
		buf_clear(&once);
		buf_clear(&twice);
		buf_clear(&back);
	}
	struct buf cut = BUF_INIT, out = BUF_INIT;
	bool created;
	assert_int_equal(ssh_include_add(&cut, "/x", true, &out, &err), 0);
	buf_add_bytes(&cut, out.data, out.len - 5);
	buf_reset(&out);
	assert_int_equal(ssh_include_remove(&cut, &out, &created, &err), -1);
	buf_clear(&cut);
	buf_clear(&out);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	alarm(120);
	const struct CMUnitTest tests[] = {
		CASE(hostile_names_and_changes_arrive),
		CASE(sparse_files_stay_sparse),
		CASE(what_a_killed_script_left_is_taken_away),
		CASE(untracked_files_stay_unless_asked_for),
		CASE(nothing_the_repository_names_is_run),
		CASE(work_in_the_guest_is_not_thrown_away),
		CASE(a_stream_that_ends_early_leaves_what_was_there),
		CASE(a_patch_gives_the_same_tree),
		CASE(exec_runs_words_as_they_are),
		CASE(nobody_reading_is_an_error_and_no_leak),
		CASE(what_is_no_repository_is_told),
		CASE(lists_are_separated_by_nul),
		CASE(urls_lose_their_passwords),
		CASE(what_a_guest_sends_stays_where_it_belongs),
		CASE(what_is_there_takes_in_what_comes),
		CASE(somebody_elses_ssh_config_comes_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
