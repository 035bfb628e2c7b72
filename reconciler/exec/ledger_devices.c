/* Block devices of system disks: dm-snapshots with their bases, and the loop devices below them.
 * What the kernel shows of a loop device is as old as the first look at it, so none is ever taken
 * for older than it is. */
#include "exec/ledger.h"
#include "driver/disk_dm.h"
#include "driver/loop_device.h"

#include <stdio.h>
#include <string.h>

/* --- device-mapper --- */

static int probe_dm(struct ledger *ledger, struct error *err)
{
	struct disk_device_vec found = { 0 };
	int result = disk_dm_find(ledger->host->vms_dir, &found, err);
	for (size_t i = 0; i < found.count; i++) {
		char *node = xasprintf(DM_DIR "/%s", found.at[i].name);
		struct object *object = ledger_add(ledger, &ledger_dm, "device", node);
		object_of_vm(object, ledger, found.at[i].id);
		object_made_when(object, node);
		object->number = found.at[i].dev;
	}
	disk_device_vec_clear(&found);
	return result;
}

static int discard_dm(const struct ledger *ledger, const struct object *object, struct error *err)
{
	auto_close int lock = -1;
	if (ledger_lock_vm(ledger, object, &lock, err) < 0)
		return -1;
	return disk_dm_remove(ledger->host->vms_dir, strrchr(object->what, '/') + 1,
			      (dev_t)object->number, err);
}

const struct ledger_kind ledger_dm = { "devices", probe_dm, discard_dm };

/* --- loop devices --- */

/* "/var/lib/banger/vms/0123456789/root.cow": the id, when it is a VM's store. */
static bool store_id(const char *file, char ret[16])
{
	const char *name = strrchr(file, '/');
	const char *id = name;
	while (id && id > file && id[-1] != '/')
		id--;
	return id && !strcmp(name, "/" VM_FILE_ROOT_COW) && name - id < 16 &&
	       snprintf(ret, 16, "%.*s", (int)(name - id), id) > 0 && vm_id_fits(ret);
}

static void add_loop(struct ledger *ledger, const struct loop_found *loop, const char *id)
{
	auto_free char *attributes = xasprintf("/sys/block/%s/loop", loop->name);
	struct object *object = ledger_add(ledger, &ledger_loops, "loop device",
					   xasprintf("/dev/%s (%s)", loop->name, loop->file));
	object_made_when(object, attributes);
	object->st.st_dev = loop->file_dev;
	object->st.st_ino = loop->file_ino;
	if (id[0]) {
		object_of_vm(object, ledger, id);
		return;
	}
	object->need = NEED_USER;
	object->held = loop->used;
}

static void probe_loops_below(struct ledger *ledger, const char *folder)
{
	struct loop_found_vec found = { 0 };
	auto_free char *below = xasprintf("%s/%s", ledger->host->state, folder);
	loop_device_find(below, &found);
	for (size_t i = 0; i < found.count; i++) {
		char id[16] = "";
		const char *name = strrchr(found.at[i].file, '/');
		/* Only as we make them: who looks into a file in another way has his reasons. */
		if (store_id(found.at[i].file, id) ||
		    (found.at[i].read_only && !strcmp(name, "/rootfs.ext4")))
			add_loop(ledger, &found.at[i], id);
	}
	loop_found_clear(&found);
}

static int probe_loops(struct ledger *ledger, struct error *err)
{
	(void)err;
	probe_loops_below(ledger, "vms");
	probe_loops_below(ledger, "images");
	return 0;
}

static int discard_loop(const struct ledger *ledger, const struct object *object, struct error *err)
{
	auto_close int lock = -1;
	if (ledger_lock_vm(ledger, object, &lock, err) < 0)
		return -1;
	/* "/dev/loop3 (file)" */
	const char *name = object->what + strlen("/dev/"), *file = strchr(name, '(');
	struct loop_found loop = { .file = (char *)file,
				   .file_dev = object->st.st_dev,
				   .file_ino = object->st.st_ino };
	snprintf(loop.name, sizeof(loop.name), "%.*s", (int)strcspn(name, " "), name);
	return loop_device_detach(&loop, err);
}

const struct ledger_kind ledger_loops = { "loop devices", probe_loops, discard_loop };
