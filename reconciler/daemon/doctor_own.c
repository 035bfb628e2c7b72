/* What is banger's own: its directories, what it was installed with, its network, its tidiness. */
#include "daemon/doctor.h"
#include "base/units.h"
#include "driver/net_dns.h"
#include "rpc/rpc.h"
#include "sys/proc.h"

#include <grp.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define GROUPADD_MS	 10000
#define OTHERS_WRITE	 (S_IWGRP | S_IWOTH)
#define ENOUGH_BYTES	 (4 * GIB)
#define TOO_LITTLE_BYTES GIB

/* --- what it was installed with --- */

static void look_share(const struct doctor *doctor, const struct doctor_row *row,
		       struct finding *ret)
{
	auto_free char *path = xasprintf("%s/%s", doctor->paths->share, row->what);
	if (access(path, R_OK) == 0)
		finding_set(ret, HEALTH_PASS, "%s", path);
	else
		finding_set(ret, HEALTH_FAIL, "cannot read '%s', %s: %s", path, strerror(errno),
			    row->without);
}

/* --- its directories --- */

#define OWN_MAX 5
static size_t own_directories(const struct doctor *doctor, char *ret[OWN_MAX])
{
	const struct paths *paths = doctor->paths;
	size_t count = 0;
	ret[count++] = xstrdup(paths->state);
	ret[count++] = xasprintf("%s/vms", paths->state);
	ret[count++] = xasprintf("%s/keys", paths->state);
	ret[count++] = xstrdup(paths->cache);
	ret[count++] = xstrdup(paths->runtime);
	return count;
}

/* NULL: nothing is wrong with it. */
static const char *fault_of(const char *path, mode_t *ret_mode)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? NULL : strerror(errno); /* made when it is needed */
	*ret_mode = st.st_mode & 07777;
	if (!S_ISDIR(st.st_mode))
		return "is no directory";
	if (st.st_uid != geteuid())
		return "belongs to another user";
	return st.st_mode & OTHERS_WRITE ? "may be written by others" : NULL;
}

static void look_directories(const struct doctor *doctor, const struct doctor_row *row,
			     struct finding *ret)
{
	char *own[OWN_MAX];
	size_t count = own_directories(doctor, own);
	(void)row;
	finding_set(ret, HEALTH_PASS, "%s", doctor->paths->state);
	for (size_t i = 0; i < count; i++) {
		mode_t mode;
		const char *fault = fault_of(own[i], &mode);
		if (fault && ret->health == HEALTH_PASS) {
			finding_set(ret, HEALTH_FAIL, "'%s' %s", own[i], fault);
			buf_addf(&ret->fix, "chown %u '%s'; chmod go-w '%s'", (unsigned)geteuid(),
				 own[i], own[i]);
		}
		free(own[i]);
	}
}

static int mend_directory(const char *path, struct buf *ret_done, struct error *err)
{
	mode_t mode = 0;
	const char *fault = fault_of(path, &mode);
	if (!fault)
		return 0;
	if (!(mode & OTHERS_WRITE) || chmod(path, mode & ~(mode_t)OTHERS_WRITE) < 0)
		return error_set(err, ERROR_CONFLICT, "'%s' %s", path, fault);
	buf_addf(ret_done, "%staken from others: '%s' was %04o", ret_done->len ? ", " : "", path,
		 (unsigned)mode);
	return 0;
}

static int mend_directories(const struct doctor *doctor, const struct doctor_row *row,
			    struct buf *ret_done, struct error *err)
{
	char *own[OWN_MAX];
	size_t count = own_directories(doctor, own);
	int result = 0;
	(void)row;
	for (size_t i = 0; i < count; i++) {
		if (result == 0)
			result = mend_directory(own[i], ret_done, err);
		free(own[i]);
	}
	return result;
}

static void look_space(const struct doctor *doctor, const struct doctor_row *row,
		       struct finding *ret)
{
	struct statvfs fs;
	char text[UNITS_TEXT_MAX];
	(void)row;
	if (statvfs(doctor->paths->state, &fs) < 0) {
		finding_set(ret, HEALTH_FAIL, "%s", strerror(errno));
		return;
	}
	uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	finding_set(ret,
		    bytes > ENOUGH_BYTES       ? HEALTH_PASS
		    : bytes > TOO_LITTLE_BYTES ? HEALTH_WARN
					       : HEALTH_FAIL,
		    "%s free in %s", units_format_size(bytes / MIB * MIB, text),
		    doctor->paths->state);
	buf_add(&ret->fix, "free some space, or ");
	buf_add(&ret->fix, doctor->paths->system ? "mount a larger file system there"
						 : "set XDG_STATE_HOME to a larger file system");
}

/* --- who may use it --- */

static void look_group(const struct doctor *doctor, const struct doctor_row *row,
		       struct finding *ret)
{
	struct group entry, *found = NULL;
	char room[16384];
	(void)doctor;
	(void)row;
	if (getgrnam_r(MACHINE_GROUP, &entry, room, sizeof(room), &found) == 0 && found)
		finding_set(ret, HEALTH_PASS, "gid %u", (unsigned)entry.gr_gid);
	else
		finding_set(ret, HEALTH_WARN,
			    "there is no group '" MACHINE_GROUP
			    "': only root can use the machine's VMs");
}

static int mend_group(const struct doctor *doctor, const struct doctor_row *row,
		      struct buf *ret_done, struct error *err)
{
	static const char *const argv[] = { "groupadd", "--system", MACHINE_GROUP, NULL };
	const struct proc_run run = { .argv = argv, .timeout_ms = GROUPADD_MS };
	(void)doctor;
	(void)row;
	if (proc_check(&run, NULL, err) < 0)
		return error_wrap(err, "cannot make the group '" MACHINE_GROUP "'");
	buf_add(ret_done,
		"made the group '" MACHINE_GROUP "', which the next start of bangerd lets in");
	return 0;
}

static void look_socket(const struct doctor *doctor, const struct doctor_row *row,
			struct finding *ret)
{
	struct stat st;
	auto_free char *path = xasprintf("%s/" RPC_SOCKET, doctor->paths->runtime);
	(void)row;
	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		finding_set(ret, HEALTH_FAIL, "'%s' is not there", path);
	else if (st.st_mode & (S_IWOTH | S_IROTH))
		finding_set(ret, HEALTH_FAIL, "'%s' is open to everybody", path);
	else
		finding_set(ret, HEALTH_PASS, "%s", path);
}

/* --- its network --- */

static void look_subnet(const struct doctor *doctor, const struct doctor_row *row,
			struct finding *ret)
{
	struct error err;
	char gateway[16];
	const struct net_subnet *subnet = doctor->ledger->host->subnet;
	(void)row;
	net_subnet_gateway(subnet, gateway);
	if (net_subnet_free(subnet, &err) < 0)
		finding_set(ret, HEALTH_FAIL, "%s", err.text);
	else
		finding_set(ret, HEALTH_PASS, "%s/%u", gateway, subnet->prefix);
}

/* --- its tidiness --- */

static void look_orphans(const struct doctor *doctor, const struct doctor_row *row,
			 struct finding *ret)
{
	const struct ledger *ledger = doctor->ledger;
	size_t count = 0, processes = 0;
	(void)row;
	for (size_t i = 0; i < ledger->objects.count; i++) {
		const struct object *object = &ledger->objects.at[i];
		count += ledger_takes(ledger, object, true);
		processes += object->orphan && object->pid;
	}
	if (doctor->ledger_err->code != ERROR_NONE)
		finding_set(ret, HEALTH_FAIL, "%s", doctor->ledger_err->text);
	else if (processes)
		finding_set(ret, HEALTH_WARN,
			    "%zu hypervisors of VMs that are in no record hold their disks",
			    processes);
	else if (count)
		finding_set(ret, HEALTH_WARN, "%zu things of banger's are nobody's", count);
	else
		finding_set(ret, HEALTH_PASS, "none");
}

/* --- its names --- */

static void look_names(const struct doctor *doctor, const struct doctor_row *row,
		       struct finding *ret)
{
	char gateway[16];
	(void)row;
	enum resolved_state state = net_resolved_state();
	net_subnet_gateway(doctor->ledger->host->subnet, gateway);
	if (state == RESOLVED_ABSENT)
		finding_set(ret, HEALTH_WARN,
			    "systemd-resolved does not run: names in ." NET_DNS_ZONE
			    " are answered at %s alone",
			    gateway);
	else if (state == RESOLVED_ASKS_US)
		finding_set(ret, HEALTH_PASS,
			    "systemd-resolved asks bangerd for names in ." NET_DNS_ZONE);
	else if (if_nametoindex(NET_BRIDGE))
		finding_set(ret, HEALTH_WARN,
			    "systemd-resolved does not ask at %s for names in ." NET_DNS_ZONE
			    ", bangerd's log says why",
			    gateway);
	else
		finding_set(ret, HEALTH_PASS,
			    "systemd-resolved is told as soon as a VM is on the bridge");
}

const struct doctor_row doctor_own[] = {
	{ .check = "agent",
	  .modes = IN_BOTH,
	  .look = look_share,
	  .what = "agent.cpio",
	  .without = "no VM starts",
	  .fix = "build it with make, or install banger again; BANGER_SHARE names another place" },
	{ .check = "image recipes",
	  .modes = IN_BOTH,
	  .look = look_share,
	  .what = "images",
	  .without = "no image can be pulled",
	  .fix = "build it with make, or install banger again; BANGER_SHARE names another place" },
	{ .check = "directories",
	  .modes = IN_BOTH,
	  .look = look_directories,
	  .mend = mend_directories },
	{ .check = "disk space", .modes = IN_BOTH, .look = look_space },
	{ .check = "group",
	  .modes = IN_SYSTEM,
	  .look = look_group,
	  .mend = mend_group,
	  .fix = "groupadd --system " MACHINE_GROUP "; usermod -aG " MACHINE_GROUP " USER" },
	{ .check = "socket",
	  .modes = IN_SYSTEM,
	  .look = look_socket,
	  .fix = "banger --system daemon stop; the next command starts it anew" },
	{ .check = "subnet",
	  .modes = IN_SYSTEM,
	  .look = look_subnet,
	  .fix = "start bangerd with another one in BANGER_SUBNET" },
	{ .check = "names",
	  .modes = IN_SYSTEM,
	  .look = look_names,
	  .fix = "systemctl start systemd-resolved (apt-get install systemd-resolved), or have "
		 "your resolver ask there (dnsmasq: server=/" NET_DNS_ZONE "/ADDRESS)" },
	{ .check = "orphans",
	  .modes = IN_BOTH,
	  .look = look_orphans,
	  .fix = "banger gc shows and removes them" },
	{ .check = NULL },
};
