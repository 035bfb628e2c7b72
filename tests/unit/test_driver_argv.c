/* driver: the argument vector, compared with tests/driver/argv/<case>.txt; UPDATE=1 rewrites them.
 */
#include "driver/qemu.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

static struct vm_machine machine(void)
{
	return (struct vm_machine){ .id = "ab12",
				    .name = "web",
				    .dir = "/state/vms/ab12",
				    .dirfd = -1,
				    .vcpus = 2,
				    .memory = 128 * MIB,
				    .kernel = "/state/kernels/k/vmlinux",
				    .kernel_args = "",
				    .modules_disk = "/state,x/kernels/k/modules.ext4",
				    .root_is_qcow2 = true,
				    .mac = "52:54:00:01:02:03",
				    .address = "127.64.1.2" };
}

/* One option a line, as people read it. */
static void print_argv(const struct vm_machine *vm, struct buf *ret)
{
	char **argv = hv_qemu.argv(vm);
	for (size_t i = 0; argv[i]; i++)
		buf_addf(ret, "%s%s", i == 0 ? "" : argv[i][0] == '-' ? "\n" : " ", argv[i]);
	buf_add(ret, "\n");
	hv_argv_free(argv);
}

static void compare(const struct vm_machine *vm, const char *path)
{
	struct error err = { 0 };
	auto_buf struct buf got = BUF_INIT, want = BUF_INIT;
	print_argv(vm, &got);
	if (getenv("UPDATE"))
		assert_int_equal(fs_write(AT_FDCWD, path, got.data, got.len, 0644, &err), 0);
	if (fs_read(AT_FDCWD, path, 65536, &want, &err) < 0)
		fail_msg("%s (run from the top of the tree)", err.text);
	assert_string_equal(got.data, want.data);
}

static void small_under_tcg(void **state)
{
	(void)state;
	struct vm_machine vm = machine();
	compare(&vm, "tests/driver/argv/tcg.txt");
}

static void everything_under_kvm(void **state)
{
	(void)state;
	struct vm_machine vm = machine();
	struct port_spec ports[] = {
		{ .address = "127.0.0.1", .host = 8080, .guest = 80 },
		{ .address = "0.0.0.0", .host = 5353, .guest = 53, .proto = PORT_UDP },
	};
	struct port_list list = { ports, 2 };
	vm.accel = ACCEL_KVM;
	vm.nat = true;
	vm.ports = &list;
	vm.has_work_disk = true;
	vm.root_is_qcow2 = false;
	vm.kernel_args = "-pidfile /state/vms/evil/pid";
	vm.memory = 128 * MIB + 512 * KIB;
	vm.memory_max = 1 * GIB;
	compare(&vm, "tests/driver/argv/kvm-all.txt");
}

static void a_tap_in_place_of_user_networking(void **state)
{
	(void)state;
	struct vm_machine vm = machine();
	vm.tap = "bgr-ab12";
	vm.address = "10.183.4.5";
	compare(&vm, "tests/driver/argv/tap.txt");
}

/* What is written is read back: the command line is the VM's record. */
static void a_command_line_is_read_back(void **state)
{
	(void)state;
	struct vm_machine vm = machine();
	vm.accel = ACCEL_KVM;
	vm.nat = true;
	vm.memory = 3 * GIB + 4 * KIB;
	vm.memory_max = vm.memory + 5 * MIB;
	vm.kernel_args = "-pidfile /state/vms/evil/pid";
	char **argv = hv_qemu.argv(&vm);
	auto_buf struct buf cmdline = BUF_INIT, vms = BUF_INIT;
	for (size_t i = 0; argv[i]; i++)
		buf_add_bytes(&cmdline, argv[i], strlen(argv[i]) + 1);
	hv_argv_free(argv);
	struct hv_process found;
	assert_true(qemu_cmdline_parse(cmdline.data, cmdline.len, &found, &vms));
	assert_string_equal(found.id, "ab12");
	assert_string_equal(vms.data, "/state/vms");
	assert_int_equal(found.vcpus, 2);
	assert_int_equal(found.memory, vm.memory);
	assert_int_equal(found.memory_max, vm.memory + 8 * MIB); /* whole blocks */
	assert_int_equal(found.accel, ACCEL_KVM);
	assert_true(found.nat);
	/* Cut off anywhere, it is either still recognised or not, but never something else. */
	for (size_t len = 0; len < cmdline.len; len++) {
		auto_free char *part = malloc(len ? len : 1); /* exact, for the sanitizer */
		memcpy(part, cmdline.data, len);
		if (qemu_cmdline_parse(part, len, &found, &vms))
			assert_string_equal(found.id, "ab12");
	}
}

static void forwardings_read_back(void **state)
{
	(void)state;
	struct port_spec port;
	char room[16];
	assert_true(qemu_forward_parse("tcp:127.0.0.1:8080-:80'", &port, room));
	assert_string_equal(port.address, "127.0.0.1");
	assert_int_equal(port.host, 8080);
	assert_true(qemu_forward_parse("udp:0.0.0.0:53", &port, room));
	assert_int_equal(port.proto, PORT_UDP);
	assert_false(qemu_forward_parse("tcp::8080-:80", &port, room));
	assert_false(qemu_forward_parse("tcp:1.2.3.4:99999", &port, room));
	assert_false(qemu_forward_parse("tcp:1111111111111111111111:1", &port, room));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_under_tcg),
		cmocka_unit_test(everything_under_kvm),
		cmocka_unit_test(a_tap_in_place_of_user_networking),
		cmocka_unit_test(a_command_line_is_read_back),
		cmocka_unit_test(forwardings_read_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
