/* Theory of operation: how much memory is plugged and how much was asked for is asked of QEMU,
 * which knows both; the request is only made when it is not the standing one. The guest follows in
 * its own time, or in parts, or not at all: that is the caller's to watch. Disks grow at once, and
 * the guest's kernel is told by an interrupt. */
#include "driver/qemu.h"
#include "driver/qmp.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

#define MONITOR_WAIT_MS 5000

void qmp_memory_devices(const cJSON *devices, uint64_t *ret_now, uint64_t *ret_asked)
{
	const cJSON *device;
	*ret_now = *ret_asked = 0;
	cJSON_ArrayForEach(device, devices)
	{
		const cJSON *data = json_get(device, "data");
		int64_t now = json_int(data, "size", 0);
		int64_t asked = json_int(data, "requested-size", 0);
		if (strcmp(json_str(data, "id", ""), QEMU_MEMORY) != 0 || now < 0 || asked < 0)
			continue;
		*ret_now = (uint64_t)now;
		*ret_asked = (uint64_t)asked;
	}
}

static int ask_memory(struct qmp *qmp, uint64_t *ret_start, uint64_t *ret_now, uint64_t *ret_asked,
		      struct error *err)
{
	auto_json cJSON *summary = NULL, *devices = NULL;
	if (qmp_command(qmp, "query-memory-size-summary", NULL, &summary, err) < 0 ||
	    qmp_command(qmp, "query-memory-devices", NULL, &devices, err) < 0)
		return -1;
	int64_t start = json_int(summary, "base-memory", -1);
	if (start <= 0)
		return error_set(err, ERROR_SYSTEM, "QEMU does not say how much memory there is");
	*ret_start = (uint64_t)start;
	qmp_memory_devices(devices, ret_now, ret_asked);
	return 0;
}

static int request_memory(struct qmp *qmp, uint64_t bytes, struct error *err)
{
	cJSON *arguments = cJSON_CreateObject();
	json_add_str(arguments, "path", "/machine/peripheral/" QEMU_MEMORY);
	json_add_str(arguments, "property", "requested-size");
	json_add_int(arguments, "value", (int64_t)bytes);
	return qmp_command(qmp, "qom-set", arguments, NULL, err);
}

int qemu_set_memory(int vm_dirfd, uint64_t bytes, struct hv_memory *ret, struct error *err)
{
	auto_qmp struct qmp qmp = QMP_INIT;
	uint64_t start = 0, now = 0, asked = 0;
	char size[UNITS_TEXT_MAX];
	if (qmp_open(vm_dirfd, -1, MONITOR_WAIT_MS, &qmp, err) < 0 ||
	    ask_memory(&qmp, &start, &now, &asked, err) < 0)
		return error_wrap(err, "cannot change the memory");
	if (bytes < start)
		return error_set(err, ERROR_INVALID,
				 "it was started with %s, only a restart makes that less",
				 units_format_size(start, size));
	uint64_t want = (bytes - start) / QEMU_MEMORY_BLOCK * QEMU_MEMORY_BLOCK;
	if (want != asked && request_memory(&qmp, want, err) < 0)
		return error_wrap(err, "cannot change the memory");
	*ret = (struct hv_memory){ .goal = start + want, .now = start + now };
	return 0;
}

int qemu_grow_disk(int vm_dirfd, enum hv_disk disk, uint64_t size_bytes, struct error *err)
{
	const char *node = disk == HV_DISK_WORK ? QEMU_NODE_WORK : QEMU_NODE_ROOT;
	auto_qmp struct qmp qmp = QMP_INIT;
	cJSON *arguments = cJSON_CreateObject();
	json_add_str(arguments, "node-name", node);
	json_add_int(arguments, "size", (int64_t)size_bytes);
	if (qmp_open(vm_dirfd, -1, MONITOR_WAIT_MS, &qmp, err) < 0) {
		cJSON_Delete(arguments);
		return error_wrap(err, "cannot grow disk '%s'", node);
	}
	if (qmp_command(&qmp, "block_resize", arguments, NULL, err) < 0)
		return error_wrap(err, "cannot grow disk '%s'", node);
	return 0;
}
