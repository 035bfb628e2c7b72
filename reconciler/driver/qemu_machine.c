/* Theory of operation: the running machine is asked, not the command line, which knows nothing of
 * defaults and of what was plugged later: query-cpus-fast, query-memory-size-summary, query-kvm,
 * query-block, query-pci, and of the human monitor "info network" and "info usernet". Devices are
 * judged by their PCI ids against what a start by banger has too. */
#include "driver/adopt.h"
#include "driver/qemu.h"
#include "driver/qmp.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define PCI_DEPTH_MAX 4

/* --- devices --- */

static const struct {
	uint16_t vendor, device;
} known_devices[] = {
	{ 0x8086, 0x29c0 }, { 0x8086, 0x2918 }, { 0x8086, 0x2922 }, { 0x8086, 0x2930 }, /* q35 */
	{ 0x8086, 0x1237 }, { 0x8086, 0x7000 }, { 0x8086, 0x7010 }, { 0x8086, 0x7113 }, /* pc */
	{ 0x1234, 0x1111 },			/* a screen that nobody looks at */
	{ 0x1b36, 0x000c }, { 0x1b36, 0x0011 }, /* a root port; pvpanic */
	{ 0x1af4, 0x1000 }, { 0x1af4, 0x1041 }, /* virtio: network */
	{ 0x1af4, 0x1001 }, { 0x1af4, 0x1042 }, /* block */
	{ 0x1af4, 0x1003 }, { 0x1af4, 0x1043 }, /* console */
	{ 0x1af4, 0x1005 }, { 0x1af4, 0x1044 }, /* random numbers */
	{ 0x1af4, 0x1002 }, { 0x1af4, 0x1045 }, /* balloon */
};

static void judge_device(const cJSON *device, struct hv_foreign *ret)
{
	const cJSON *id = json_get(device, "id"), *class = json_get(device, "class_info");
	int64_t vendor = json_int(id, "vendor", -1), model = json_int(id, "device", -1);
	for (size_t i = 0; i < ARRAY_COUNT(known_devices); i++)
		if (known_devices[i].vendor == vendor && known_devices[i].device == model)
			return;
	const char *name = json_str(device, "qdev_id", "");
	hv_foreign_refuse(ret,
			  "its device '%.40s%s%.60s' (%04x:%04x) is none that banger gives a VM",
			  name, name[0] ? ", " : "", json_str(class, "desc", "unknown"),
			  (unsigned)(vendor & 0xffff), (unsigned)(model & 0xffff));
}

static size_t judge_bus(const cJSON *devices, unsigned depth, struct hv_foreign *ret)
{
	const cJSON *device;
	size_t count = 0;
	cJSON_ArrayForEach(device, devices)
	{
		count++;
		judge_device(device, ret);
		if (depth < PCI_DEPTH_MAX)
			judge_bus(json_get(json_get(device, "pci_bridge"), "devices"), depth + 1,
				  ret);
	}
	return count;
}

static int ask_devices(struct qmp *qmp, struct hv_foreign *ret, struct error *err)
{
	auto_json cJSON *buses = NULL;
	const cJSON *bus;
	size_t count = 0;
	if (qmp_command(qmp, "query-pci", NULL, &buses, err) < 0)
		return -1;
	cJSON_ArrayForEach(bus, buses)
	{
		count += judge_bus(json_get(bus, "devices"), 0, ret);
	}
	if (!count)
		hv_foreign_refuse(ret, "its machine has no PCI devices that could be told");
	return 0;
}

/* --- processors and memory --- */

static int ask_size(struct qmp *qmp, struct hv_foreign *ret, struct error *err)
{
	auto_json cJSON *cpus = NULL;
	auto_json cJSON *memory = NULL;
	auto_json cJSON *kvm = NULL;
	auto_json cJSON *name = NULL;
	if (qmp_command(qmp, "query-cpus-fast", NULL, &cpus, err) < 0 ||
	    qmp_command(qmp, "query-memory-size-summary", NULL, &memory, err) < 0 ||
	    qmp_command(qmp, "query-kvm", NULL, &kvm, err) < 0 ||
	    qmp_command(qmp, "query-name", NULL, &name, err) < 0)
		return -1;
	int64_t bytes = json_int(memory, "base-memory", 0);
	ret->vcpus = (uint32_t)cJSON_GetArraySize(cpus);
	ret->memory = bytes > 0 ? (uint64_t)bytes : 0;
	ret->accel = json_bool(kvm, "enabled", false) ? ACCEL_KVM : ACCEL_TCG;
	const char *text = json_str(name, "name", "");
	ret->name = text[0] ? xstrdup(text) : NULL;
	if (json_int(memory, "plugged-memory", 0) > 0)
		hv_foreign_refuse(ret, "memory was plugged into it");
	return 0;
}

/* --- disks --- */

#define EXT4_MAGIC_AT 1080

static bool holds_ext4(const char *path)
{
	unsigned char magic[2] = { 0 };
	auto_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       pread(fd, magic, sizeof(magic), EXT4_MAGIC_AT) == (ssize_t)sizeof(magic) &&
	       magic[0] == 0x53 && magic[1] == 0xef;
}

static void judge_disk(const struct foreign_disk *disk, bool is_work, struct hv_foreign *ret)
{
	struct stat st;
	if (lstat(disk->path, &st) < 0 || !S_ISREG(st.st_mode))
		hv_foreign_refuse(ret, "its disk '%.200s' is not a file", disk->path);
	else if (is_work && disk->qcow2)
		hv_foreign_refuse(ret, "its second disk '%.200s' is not raw", disk->path);
	else if (disk->qcow2 && (!disk->base || disk->base[0] != '/' || !holds_ext4(disk->base)))
		hv_foreign_refuse(ret,
				  "its disk '%.200s' is an overlay of no file system that could be "
				  "told",
				  disk->path);
	else if (!disk->qcow2 && !holds_ext4(disk->path))
		hv_foreign_refuse(ret, "its disk '%.200s' holds no ext4, without partitions",
				  disk->path);
}

static void take_disk(int proc, const cJSON *inserted, struct hv_foreign *ret)
{
	const cJSON *image = json_get(inserted, "image");
	const char *format = json_str(image, "format", json_str(inserted, "drv", ""));
	const char *file = json_str(image, "filename", json_str(inserted, "file", ""));
	bool qcow2 = !strcmp(format, "qcow2");
	if (json_bool(inserted, "ro", false) || (!qcow2 && strcmp(format, "raw") != 0)) {
		hv_foreign_refuse(ret, "its disk '%.200s' is %s", file,
				  qcow2 || !strcmp(format, "raw") ? "read-only"
								  : "neither raw nor qcow2");
		return;
	}
	if (ret->disk_count == FOREIGN_DISKS) {
		hv_foreign_refuse(ret, "it has a third disk '%.200s'", file);
		return;
	}
	struct foreign_disk *disk = &ret->disks[ret->disk_count++];
	const char *base = json_str(image, "full-backing-filename", NULL);
	int64_t size = json_int(image, "virtual-size", 0);
	disk->path = foreign_path(proc, ret->pid, file);
	disk->base = base ? xstrdup(base) : NULL;
	disk->qcow2 = qcow2;
	disk->size = size > 0 ? (uint64_t)size : 0;
	judge_disk(disk, ret->disk_count > 1, ret);
}

static int ask_disks(struct qmp *qmp, int proc, struct hv_foreign *ret, struct error *err)
{
	auto_json cJSON *blocks = NULL;
	const cJSON *block;
	if (qmp_command(qmp, "query-block", NULL, &blocks, err) < 0)
		return -1;
	cJSON_ArrayForEach(block, blocks)
	{
		const cJSON *inserted = json_get(block, "inserted");
		if (cJSON_IsObject(inserted)) /* an empty drive is nothing */
			take_disk(proc, inserted, ret);
	}
	if (!ret->disk_count)
		hv_foreign_refuse(ret, "it has no disk");
	return 0;
}

/* --- network --- */

/* " \ net0: index=0,type=user,net=10.0.2.0,restrict=off" */
static int ask_network(struct qmp *qmp, struct hv_foreign *ret, struct error *err)
{
	static const char type[] = "type=";
	auto_buf struct buf text = BUF_INIT;
	size_t cards = 0, users = 0;
	if (qmp_human(qmp, "info network", &text, err) < 0)
		return -1;
	for (const char *at = text.data; (at = strstr(at, type));) {
		at += strlen(type);
		int len = (int)strcspn(at, ",\r\n ");
		bool nic = !strncmp(at, "nic", (size_t)len),
		     user = !strncmp(at, "user", (size_t)len);
		cards += nic;
		users += user;
		if (!nic && !user)
			hv_foreign_refuse(ret, "its network is '%.*s', not user networking", len,
					  at);
	}
	ret->nat = users && !strstr(text.data, "restrict=on");
	if (cards > 1)
		hv_foreign_refuse(ret, "it has %zu network cards", cards);
	return users ? qemu_list_ports(qmp, &ret->ports, err) : 0;
}

int qemu_ask_machine(struct qmp *qmp, int proc, struct hv_foreign *ret, struct error *err)
{
	if (ask_size(qmp, ret, err) < 0 || ask_disks(qmp, proc, ret, err) < 0 ||
	    ask_devices(qmp, ret, err) < 0 || ask_network(qmp, ret, err) < 0)
		return error_wrap(err, "process %d", (int)ret->pid);
	return 0;
}
