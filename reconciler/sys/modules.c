/* By depmod's indexes (modules.dep(5)) rather than by modinfo: a unit of systemd with
 * ProtectKernelModules= has an empty /lib/modules, and what its manager sees, which we may look at,
 * no program that we start could. */
#include "sys/modules.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>

#define INDEX_MAX (16u << 20)
#define MANAGER	  "/proc/1/root"

bool module_is_loaded(const char *name)
{
	auto_free char *path = xasprintf("/sys/module/%s", name);
	return access(path, F_OK) == 0;
}

/* "kernel/net/bridge/br-netfilter.ko.xz" is br_netfilter: the kernel's own name has no dashes. */
static bool is_file_of(const char *path, size_t len, const char *name)
{
	const char *base = path;
	for (size_t i = 0; i < len; i++)
		if (path[i] == '/')
			base = path + i + 1;
	size_t left = len - (size_t)(base - path), want = strlen(name);
	if (left < want + 3 || strncmp(base + want, ".ko", 3) != 0)
		return false;
	for (size_t i = 0; i < want; i++)
		if (base[i] != name[i] && !(base[i] == '-' && name[i] == '_'))
			return false;
	return true;
}

/* The path at the beginning of the line about it; caller frees, NULL: none. */
static char *find_line(const char *directory, const char *index, const char *name)
{
	auto_buf struct buf text = BUF_INIT;
	struct error ignored;
	auto_free char *path = xasprintf("%s/%s", directory, index);
	if (fs_read(AT_FDCWD, path, INDEX_MAX, &text, &ignored) < 0)
		return NULL;
	for (const char *line = text.data; *line; line += *line == '\n') {
		size_t len = strcspn(line, ":\n");
		if (is_file_of(line, len, name))
			return xstrndup(line, len);
		line += strcspn(line, "\n");
	}
	return NULL;
}

bool module_find_in(const char *root, const char *release, const char *name, struct buf *ret)
{
	auto_free char *directory = xasprintf("%s/lib/modules/%s", root, release);
	auto_free char *built_in = find_line(directory, "modules.builtin", name);
	auto_free char *file = built_in ? NULL : find_line(directory, "modules.dep", name);
	if (built_in)
		buf_add(ret, "built in");
	if (!file)
		return built_in != NULL;
	auto_free char *path = xasprintf("%s/%s", directory, file);
	if (access(path, F_OK) < 0)
		return false;
	buf_add(ret, path + strlen(root));
	return true;
}

bool module_find(const char *name, struct buf *ret)
{
	struct utsname kernel;
	return uname(&kernel) == 0 && (module_find_in("", kernel.release, name, ret) ||
				       module_find_in(MANAGER, kernel.release, name, ret));
}
