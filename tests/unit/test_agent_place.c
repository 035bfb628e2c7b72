#include "agent/block.h"
#include "agent/disks.h"
#include "agent/modules.h"
#include "agent/phase.h"
#include "agent/place.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

static char folder[] = "/tmp/banger-test-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	struct error err;
	return fs_remove_tree(AT_FDCWD, folder, &err);
}

static char *edited(const char *old, size_t count)
{
	static const char *const lines[] = { "one", "two" };
	struct buf text = BUF_INIT;
	block_edit(old, strlen(old), lines, count, &text);
	return buf_take(&text);
}

#define BLOCK "# banger begin\none\ntwo\n# banger end\n"

static void block_keeps_every_other_line(void **state)
{
	(void)state;
	static const struct {
		const char *old, *new;
	} cases[] = {
		{ "", BLOCK },
		{ "mine\n", "mine\n" BLOCK },
		{ "mine", "mine\n" BLOCK },
		{ "a\n# banger begin\nold\n# banger end\nb\n", "a\nb\n" BLOCK },
		{ "# banger begin\r\nold\n# banger end \nb", "b\n" BLOCK },
		{ BLOCK "x\n" BLOCK, "x\n" BLOCK },
		/* Without its end a block owns nothing but its own line. */
		{ "a\n# banger begin\nb\nc\n", "a\nb\nc\n" BLOCK },
		{ "# banger begin\nb\n# banger begin\nold\n# banger end\nc\n", "b\nc\n" BLOCK },
		{ "a\n# banger end\nb\n", "a\nb\n" BLOCK },
		{ "# banger beginning\n", "# banger beginning\n" BLOCK },
		{ "\n\n", "\n\n" BLOCK },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_free char *new = edited(cases[i].old, 2);
		assert_string_equal(new, cases[i].new);
		auto_free char *again = edited(new, 2);
		assert_string_equal(again, new);
	}
	auto_free char *none = edited("a\n" BLOCK, 0);
	assert_string_equal(none, "a\n");
}

static void block_keeps_bytes_that_are_no_text(void **state)
{
	(void)state;
	static const char old[] = "a\0b\nmine\n";
	auto_buf struct buf text = BUF_INIT;
	block_edit(old, sizeof(old) - 1, NULL, 0, &text);
	assert_int_equal(text.len, sizeof(old) - 1);
	assert_memory_equal(text.data, old, text.len);
}

static void owners_resolve_by_the_guests_files(void **state)
{
	(void)state;
	static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:/bin/false\n"
				     "broken:x\nbig:x:99999999999:1::/:\n";
	static const char group[] = "root:x:0:\nadm:x:4:web\n";
	static const struct {
		const char *owner;
		int uid, gid; /* -1: refused */
	} cases[] = {
		{ "root", 0, 0 },	{ "root:adm", 0, 4 },	{ "web", 33, 34 },
		{ "1000", 1000, 1000 }, { "7:8", 7, 8 },	{ "web:9", 33, 9 },
		{ "nobody", -1, 0 },	{ "root:none", -1, 0 }, { "broken", -1, 0 },
		{ "big", -1, 0 },	{ "we", -1, 0 },	{ "", -1, 0 },
		{ "root:", -1, 0 },	{ ":root", -1, 0 },	{ "4294967295", -1, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = { 0 };
		uid_t uid = 77;
		gid_t gid = 77;
		int done = owner_resolve(cases[i].owner, passwd, group, &uid, &gid, &err);
		if (done != (cases[i].uid < 0 ? -1 : 0))
			fail_msg("'%s'", cases[i].owner);
		if (done == 0) {
			assert_int_equal(uid, cases[i].uid);
			assert_int_equal(gid, cases[i].gid);
		}
	}
}

static mode_t mode_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void keys_keep_the_users_lines_and_tighten_modes(void **state)
{
	(void)state;
	struct error err = { 0 };
	auto_free char *home = xasprintf("%s/home", folder);
	auto_free char *ssh = xasprintf("%s/.ssh", home);
	auto_free char *path = xasprintf("%s/authorized_keys", ssh);
	const char *const keys[] = { "ssh-ed25519 AAAA one" };
	assert_int_equal(fs_mkdirs(ssh, 0755, &err), 0);
	assert_int_equal(chmod(home, 0777), 0);
	assert_int_equal(fs_write(AT_FDCWD, path, "mine\n", 5, 0664, &err), 0);
	assert_int_equal(place_keys(home, keys, 1, &err), 0);
	assert_int_equal(mode_of(home), 0755);
	assert_int_equal(mode_of(ssh), 0700);
	assert_int_equal(mode_of(path), 0600);
	auto_buf struct buf text = BUF_INIT;
	assert_int_equal(fs_read(AT_FDCWD, path, 4096, &text, &err), 0);
	assert_string_equal(text.data,
			    "mine\n# banger begin\nssh-ed25519 AAAA one\n# banger end\n");
	assert_int_equal(place_keys(home, NULL, 0, &err), 0);
	buf_reset(&text);
	assert_int_equal(fs_read(AT_FDCWD, path, 4096, &text, &err), 0);
	assert_string_equal(text.data, "mine\n");
}

static void disks_are_found_by_serial(void **state)
{
	(void)state;
	struct error err = { 0 };
	char name[DISK_NAME_MAX];
	auto_free char *block = xasprintf("%s/block", folder);
	static const char *const disks[][2] = { { "vda", "work" },
						{ "vdb", "root\n" },
						{ "loop0", NULL } };
	for (size_t i = 0; i < 3; i++) {
		auto_free char *disk = xasprintf("%s/%s", block, disks[i][0]);
		auto_free char *serial = xasprintf("%s/serial", disk);
		assert_int_equal(fs_mkdirs(disk, 0755, &err), 0);
		if (disks[i][1])
			assert_int_equal(fs_write(AT_FDCWD, serial, disks[i][1],
						  strlen(disks[i][1]), 0644, &err),
					 0);
	}
	assert_int_equal(disk_find(block, "root", name, &err), 0);
	assert_string_equal(name, "vdb");
	assert_int_equal(disk_find(block, "/dev/vdb", name, &err), 0);
	assert_string_equal(name, "vdb");
	assert_int_equal(disk_find(block, "/dev/vdz", name, &err), -1);
	assert_int_equal(disk_find(block, "roo", name, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static const char table[] =
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
	"   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
	"   1: 0F02000A:0016 0202000A:D6F4 01 00000000:00000000 02:0000A1D0 00000000     0\n";
static const char table6[] =
	"  sl  local_address                         remote_address                        st\n"
	"   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0\n";

static void listening_ports_are_told_from_others(void **state)
{
	(void)state;
	assert_true(tcp_table_listens(table, 3000));
	assert_false(tcp_table_listens(table, 22)); /* a connection, nobody listens */
	assert_false(tcp_table_listens(table, 0));
	assert_true(tcp_table_listens(table6, 22));
	assert_false(tcp_table_listens(table6, 23));
	assert_false(tcp_table_listens("", 22));
	assert_false(tcp_table_listens("   0: 0:0016", 22));
	assert_false(tcp_table_listens("   0: 0:0016 0:0", 22));
	assert_false(tcp_table_listens("   0:\n", 22));
	for (size_t len = 0; len < strlen(table); len++) {
		auto_free char *part = xstrndup(table, len);
		tcp_table_listens(part, 3000);
	}
}

static int collect(void *arg, const char *name, struct error *err)
{
	(void)err;
	buf_addf(arg, "%s ", name);
	return 0;
}

static void modules_come_in_two_parts(void **state)
{
	(void)state;
	struct error err = { 0 };
	auto_buf struct buf early = BUF_INIT;
	auto_buf struct buf late = BUF_INIT;
	static const char order[] = "a.ko\nb.ko\n-\nc.ko\n\nd.ko";
	assert_int_equal(modules_each(order, MODULES_EARLY, collect, &early, &err), 0);
	assert_int_equal(modules_each(order, MODULES_LATE, collect, &late, &err), 0);
	assert_string_equal(early.data, "a.ko b.ko ");
	assert_string_equal(late.data, "c.ko d.ko ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(block_keeps_every_other_line),
		cmocka_unit_test(block_keeps_bytes_that_are_no_text),
		cmocka_unit_test(owners_resolve_by_the_guests_files),
		cmocka_unit_test(keys_keep_the_users_lines_and_tighten_modes),
		cmocka_unit_test(disks_are_found_by_serial),
		cmocka_unit_test(listening_ports_are_told_from_others),
		cmocka_unit_test(modules_come_in_two_parts),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
