/* Theory of operation: the argument vector is the VM's only record on the host. It is made from a
 * struct vm_machine and nothing else, and qemu_find.c reads it back from /proc. No path of the
 * user's stands inside a comma-separated option, so nothing has to be escaped: the process's
 * working directory is the VM's, and the kernel and the pid file have options of their own.
 *
 * q35 is used with both accelerators. microvm boots 0.3 s sooner, but hangs under TCG in the
 * calibration of its clock, cannot hot-plug and has no PCI bus for pvpanic. */
#include "driver/qemu.h"
#include "driver/id_hash.h"
#include "base/mem.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

DEFINE_VEC(arg_vec, char *)

static void add(struct arg_vec *args, const char *option, const char *value)
{
	arg_vec_push(args, xstrdup(option));
	if (value)
		arg_vec_push(args, xstrdup(value));
}

static void add_taken(struct arg_vec *args, const char *option, char *value)
{
	arg_vec_push(args, xstrdup(option));
	arg_vec_push(args, value);
}

/* The same VM keeps its UUID over restarts; version 8: "made by a rule of our own". */
static char *uuid_text(const char *id)
{
	uint64_t high = id_hash(id, 1), low = id_hash(id, 2);
	high = (high & ~UINT64_C(0xf000)) | 0x8000;
	low = (low & ~(UINT64_C(3) << 62)) | UINT64_C(2) << 62;
	return xasprintf("%08x-%04x-%04x-%04x-%012" PRIx64, (unsigned)(high >> 32),
			 (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xffff),
			 (unsigned)(low >> 48), low & UINT64_C(0xffffffffffff));
}

static void add_identity(struct arg_vec *args, const struct vm_machine *m)
{
	add_taken(args, "-name", xasprintf("guest=banger-%s,process=banger-%s", m->id, m->name));
	add_taken(args, "-pidfile", xasprintf("%s/" VM_FILE_PID, m->dir));
	add_taken(args, "-uuid", uuid_text(m->id));
	add(args, "-nodefaults", NULL);
	add(args, "-no-user-config", NULL);
	add(args, "-display", "none");
	add(args, "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
	    "resourcecontrol=deny");
}

static uint64_t room_for_more(const struct vm_machine *m)
{
	uint64_t more = m->memory_max > m->memory ? m->memory_max - m->memory : 0;
	return (more + QEMU_MEMORY_BLOCK - 1) / QEMU_MEMORY_BLOCK * QEMU_MEMORY_BLOCK;
}

static char *size_text(uint64_t bytes)
{
	return bytes % MIB ? xasprintf("%" PRIu64 "K", bytes / KIB)
			   : xasprintf("%" PRIu64 "M", bytes / MIB);
}

/* Memory that the guest was not started with is a device of its own: virtio-mem goes both ways and
 * says how far it is, where a DIMM can hardly be taken out again. reserve=off: what the guest does
 * not use is not asked of the host. */
static void add_memory(struct arg_vec *args, const struct vm_machine *m)
{
	uint64_t room = room_for_more(m);
	auto_free char *start = size_text(m->memory), *most = size_text(m->memory + room);
	add_taken(args, "-m", room ? xasprintf("%s,maxmem=%s", start, most) : xstrdup(start));
	if (!room)
		return;
	add_taken(args, "-object",
		  xasprintf("memory-backend-ram,id=" QEMU_MEMORY "-ram,size=%" PRIu64
			    "M,reserve=off",
			    room / MIB));
	add_taken(args, "-device",
		  xasprintf("virtio-mem-pci,id=" QEMU_MEMORY ",memdev=" QEMU_MEMORY
			    "-ram,block-size=%uM,requested-size=0,disable-legacy=on",
			    (unsigned)(QEMU_MEMORY_BLOCK / MIB)));
}

static void add_machine(struct arg_vec *args, const struct vm_machine *m)
{
	bool kvm = m->accel == ACCEL_KVM;
	add(args, "-machine",
	    "q35,usb=off,vmport=off,smm=off,sata=off,smbus=off,hpet=off,"
	    "dump-guest-core=off");
	add(args, "-accel", kvm ? "kvm" : "tcg,thread=multi,tb-size=32");
	add(args, "-cpu", kvm ? "host" : "max");
	add_taken(args, "-smp", xasprintf("%u", m->vcpus));
	add_memory(args, m);
}

static void add_kernel(struct arg_vec *args, const struct vm_machine *m)
{
	add(args, "-kernel", m->kernel);
	add(args, "-initrd", VM_FILE_INITRD);
	const char *user = m->kernel_args ? m->kernel_args : "";
	/* panic=-1: reset at once when pvpanic's driver is not there to tell of the panic. The self
	 * tests of ciphers take 0.3 of a boot's 2.7 s of CPU time under TCG (measured; nothing else
	 * that is harmless made a difference). */
	/* With room for more memory: what is plugged goes online by itself, where it can be taken
	 * out again; and the kernel does not set 64 MiB aside for devices that cannot reach above 4
	 * GiB, of which there are none. */
	const char *plug =
		room_for_more(m) ? " swiotlb=noforce memhp_default_state=online_movable" : "";
	add_taken(args, "-append",
		  xasprintf("console=ttyS0 quiet panic=-1 cryptomgr.notests%s%s%s", plug,
			    *user ? " " : "", user));
}

/* Both disks: the guest finds them by serial; its flushes reach the host's disk (cache
 * "writeback"), what it discards is given back. */
static void add_disk(struct arg_vec *args, const char *node, const char *file, bool qcow2)
{
	add_taken(args, "-blockdev",
		  xasprintf("driver=%s,node-name=%s-file,filename=%s,aio=threads,discard=unmap",
			    file[0] == '/' ? "host_device" : "file", node, file));
	add_taken(args, "-blockdev",
		  xasprintf("driver=%s,node-name=%s,file=%s-file,discard=unmap",
			    qcow2 ? "qcow2" : "raw", node, node));
	add_taken(args, "-device",
		  xasprintf("virtio-blk-pci,drive=%s,serial=%s,disable-legacy=on", node, node));
}

/* Nobody writes to it, so any number of VMs may have it open. A comma in an option is doubled. */
static void add_modules(struct arg_vec *args, const char *path)
{
	auto_buf struct buf file = BUF_INIT;
	buf_add(&file, "driver=file,node-name=modules-file,read-only=on,filename=");
	for (; *path; path++)
		buf_addf(&file, *path == ',' ? ",%c" : "%c", *path);
	add(args, "-blockdev", file.data);
	add(args, "-blockdev", "driver=raw,node-name=modules,file=modules-file,read-only=on");
	add(args, "-device", "virtio-blk-pci,drive=modules,serial=modules,disable-legacy=on");
}

void qemu_forward_text(struct buf *to, const struct port_spec *port, bool with_guest)
{
	buf_addf(to, "%s:%s:%u", port->proto == PORT_UDP ? "udp" : "tcp", port->address,
		 port->host);
	if (with_guest)
		buf_addf(to, "-:%u", port->guest);
}

static void add_user_network(struct arg_vec *args, const struct vm_machine *m)
{
	auto_buf struct buf net = BUF_INIT;
	buf_addf(&net, "user,id=" QEMU_NETDEV ",ipv6=off,restrict=%s", m->nat ? "off" : "on");
	struct port_spec ssh = { .address = m->address,
				 .host = USER_SSH_PORT,
				 .guest = QEMU_SSH_GUEST_PORT,
				 .proto = PORT_TCP };
	buf_add(&net, ",hostfwd=");
	qemu_forward_text(&net, &ssh, true);
	for (size_t i = 0; m->ports && i < m->ports->count; i++) {
		buf_add(&net, ",hostfwd=");
		qemu_forward_text(&net, &m->ports->at[i], true);
	}
	add(args, "-netdev", net.data);
}

static void add_network(struct arg_vec *args, const struct vm_machine *m)
{
	if (m->tap)
		add_taken(args, "-netdev",
			  xasprintf("tap,id=" QEMU_NETDEV ",ifname=%s,script=no,downscript=no",
				    m->tap));
	else
		add_user_network(args, m);
	/* No ROM: the guest never boots from the network. */
	add_taken(args, "-device",
		  xasprintf("virtio-net-pci,netdev=" QEMU_NETDEV
			    ",mac=%s,romfile=,disable-legacy=on",
			    m->mac));
}

static void add_channels(struct arg_vec *args)
{
	add(args, "-device", "virtio-rng-pci,disable-legacy=on");
	add(args, "-device",
	    "virtio-balloon-pci,deflate-on-oom=on,free-page-reporting=on,disable-legacy=on");
	add(args, "-device", "pvpanic-pci");
	/* Each port costs the guest two queues to set up at boot; the default is 31 of them. */
	add(args, "-device", "virtio-serial-pci,id=serial0,max_ports=4,disable-legacy=on");
	add(args, "-chardev", "socket,id=agent,path=" VM_FILE_AGENT ",server=on,wait=off");
	add(args, "-device",
	    "virtserialport,bus=serial0.0,nr=1,chardev=agent,name=org.banger.agent.0");
	add(args, "-chardev", "socket,id=exec,path=" VM_FILE_EXEC ",server=on,wait=off");
	add(args, "-device",
	    "virtserialport,bus=serial0.0,nr=2,chardev=exec,name=org.banger.exec.0");
	add(args, "-chardev", "socket,id=console,path=" VM_FILE_CONSOLE ",server=on,wait=off");
	add(args, "-serial", "chardev:console");
	add(args, "-chardev", "socket,id=monitor,path=" VM_FILE_MONITOR ",server=on,wait=off");
	add(args, "-mon", "chardev=monitor,mode=control");
}

char **qemu_argv(const struct vm_machine *machine)
{
	struct arg_vec args = { 0 };
	arg_vec_push(&args, xstrdup(QEMU_PROGRAM));
	add_identity(&args, machine);
	add_machine(&args, machine);
	add_kernel(&args, machine);
	bool overlay = machine->root_is_qcow2;
	add_disk(&args, QEMU_NODE_ROOT,
		 machine->root_device ? machine->root_device
		 : overlay	      ? VM_FILE_ROOT_OVERLAY
				      : VM_FILE_ROOT_DISK,
		 overlay);
	if (machine->has_work_disk)
		add_disk(&args, QEMU_NODE_WORK, VM_FILE_WORK_DISK, false);
	if (machine->modules_disk)
		add_modules(&args, machine->modules_disk);
	add_network(&args, machine);
	add_channels(&args);
	arg_vec_push(&args, NULL);
	return args.at;
}
