/* What jailed hypervisors have beside a VM's files: the jail, a directory in the VM's, and the
 * cgroup of the same name, which is left alone where its jail was when a VM's directory was taken
 * away by hand. */
#include "exec/ledger.h"
#include "driver/cgroup.h"
#include "driver/fc.h"
#include "driver/jail.h"
#include "base/fs.h"
#include "sys/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CGROUPS CGROUP_ROOT "/" CGROUP_PARENT

/* path is taken; id that of its VM */
static void add(struct ledger *ledger, const char *kind, char *path, const char *id,
		const struct stat *st)
{
	struct object *object = ledger_add(ledger, &ledger_jails, kind, path);
	object_of_file(object, st);
	object_of_vm(object, ledger, id);
}

static void add_jail(struct ledger *ledger, int vms, const char *id)
{
	struct stat st;
	auto_free char *name = xasprintf("%s/" VM_FILE_JAIL, id);
	if (fstatat(vms, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		add(ledger, "jail", xasprintf("%s/%s", ledger->host->vms_dir, name), id, &st);
}

static void add_cgroup(struct ledger *ledger, int cgroups, const char *name)
{
	struct stat st;
	struct hv_process of;
	if (fc_id_parse(name, &of) && fstatat(cgroups, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode))
		add(ledger, "cgroup", xasprintf(CGROUPS "/%s", name), of.id, &st);
}

static void each(struct ledger *ledger, const char *path,
		 void (*fn)(struct ledger *ledger, int dirfd, const char *name))
{
	auto_dir DIR *list = opendir(path);
	for (struct dirent *entry; list && (entry = readdir(list));)
		if (entry->d_name[0] != '.')
			fn(ledger, dirfd(list), entry->d_name);
}

static int probe(struct ledger *ledger, struct error *err)
{
	(void)err;
	each(ledger, ledger->host->vms_dir, add_jail);
	if (ledger->host->subnet)
		each(ledger, CGROUPS, add_cgroup);
	return 0;
}

static int discard(const struct ledger *ledger, const struct object *object, struct error *err)
{
	auto_close int lock = -1;
	if (ledger_lock_vm(ledger, object, &lock, err) < 0)
		return -1;
	int there = object_is_there(object, AT_FDCWD, object->what, err);
	if (there <= 0)
		return there;
	const char *name = strrchr(object->what, '/') + 1;
	bool jail = strcmp(object->kind, "cgroup") != 0;
	/* Of another bangerd's VM, perhaps. */
	if (!jail && cgroup_is_populated(name))
		return error_set(err, ERROR_BUSY, "a process lives in '%s'", object->what);
	if (!jail)
		return cgroup_remove(name, err);
	auto_free char *path = xasprintf("%s/%s", ledger->host->vms_dir, object->id);
	auto_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : error_sys(err, "cannot open '%s'", path);
	return jail_remove(dir, err);
}

const struct ledger_kind ledger_jails = { "jails", probe, discard };
