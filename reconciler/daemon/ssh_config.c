/* <state>/ssh_config: a Host block for every VM, for those who let their ~/.ssh/config include it
 * (banger ssh-config --install); <state>/group_ssh_config: the same with the key of the machine's
 * group, for its members. Written a moment after something changed, and only when that made a
 * difference: addresses and keys of a VM stay as long as it does. */
#include "daemon/bangerd.h"
#include "base/fs.h"
#include "base/log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SETTLE_MS 100
#define FILE_MAX  (32u << 20)

/* ssh_config(5): quoted, and % begins a token. */
static void add_path(struct buf *out, const char *key, const char *path)
{
	buf_addf(out, "\t%s \"", key);
	for (; *path; path++) {
		if (*path == '%')
			buf_add_char(out, '%');
		if (*path == '"' || *path == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *path);
	}
	buf_add(out, "\"\n");
}

static void add_host(struct buf *out, const struct vm *vm, const char *identity)
{
	auto_free char *known = xasprintf("%s/%s/known_hosts", vm->d->vms_dir, vm->row.id);
	buf_addf(out, "\nHost %s.vm\n\tHostName %s\n\tPort %u\n\tUser root\n", vm->row.name,
		 vm->row.address, net_ssh_port(vm->row.address));
	buf_addf(out, "\tHostKeyAlias banger-%s\n", vm->row.id);
	add_path(out, "IdentityFile", identity);
	add_path(out, "UserKnownHostsFile", known);
	buf_add(out, "\tIdentitiesOnly yes\n\tIdentityAgent none\n\tGlobalKnownHostsFile none\n"
		     "\tStrictHostKeyChecking yes\n\tUpdateHostKeys no\n\tForwardAgent no\n"
		     "\tForwardX11 no\n\tLogLevel ERROR\n");
}

static bool is_so(const char *path, const struct buf *text, gid_t group)
{
	struct error ignored;
	struct stat st;
	auto_buf struct buf old = BUF_INIT;
	return stat(path, &st) == 0 && (!group || st.st_gid == group) &&
	       fs_read(AT_FDCWD, path, FILE_MAX, &old, &ignored) == 0 && old.len == text->len &&
	       !memcmp(old.data, text->data, text->len);
}

/* group 0: for us alone. */
static void write_for(const struct bangerd *d, const char *name, const char *identity, gid_t group)
{
	struct error err = { 0 };
	auto_buf struct buf text = BUF_INIT;
	auto_free char *path = xasprintf("%s/%s", d->paths.state, name);
	buf_add(&text, "# Written by bangerd whenever VMs come and go; see banger ssh-config.\n");
	for (size_t i = 0; i < d->vm_count; i++)
		if (d->vms[i]->row.address && !d->vms[i]->row.deleting)
			add_host(&text, d->vms[i], identity);
	if (is_so(path, &text, group))
		return;
	if ((group ? fs_write_for(AT_FDCWD, path, text.data, text.len, 0640, group, &err)
		   : fs_write(AT_FDCWD, path, text.data, text.len, 0600, &err)) < 0)
		log_warn(NULL, "%s", err.text);
}

static void refresh(void *data)
{
	const struct bangerd *d = data;
	struct error ignored;
	auto_free char *groups = xasprintf("%s/" PATHS_GROUP_SSH_CONFIG, d->paths.state);
	write_for(d, PATHS_SSH_CONFIG, d->identity, 0);
	if (d->group)
		write_for(d, PATHS_GROUP_SSH_CONFIG, d->group_identity, d->group);
	else
		fs_unlink(AT_FDCWD, groups, &ignored);
}

void ssh_config_stale(struct bangerd *d)
{
	if (!d->ssh_config)
		d->ssh_config = loop_timer_new(d->loop, refresh, d);
	if (!loop_timer_is_set(d->ssh_config))
		loop_timer_set(d->ssh_config, SETTLE_MS);
}

void ssh_config_free(struct bangerd *d)
{
	if (d->ssh_config)
		loop_timer_free(d->ssh_config);
	d->ssh_config = NULL;
}
