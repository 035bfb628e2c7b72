#include "agent/modules.h"
#include "agent/console.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#define ORDER_MAX 65536

int modules_each(const char *order, enum modules_part part,
		 int (*visit)(void *arg, const char *name, struct error *err), void *arg,
		 struct error *err)
{
	enum modules_part at = MODULES_EARLY;
	for (const char *line = order; *line;) {
		size_t len = strcspn(line, "\n");
		auto_free char *name = xstrndup(line, len);
		line += len + (line[len] == '\n');
		if (!strcmp(name, "-"))
			at = MODULES_LATE;
		else if (at == part && len && visit(arg, name, err) < 0)
			return -1;
	}
	return 0;
}

static int load_one(void *arg, const char *name, struct error *err)
{
	(void)err;
	int folder = *(int *)arg;
	auto_close int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		console_say("cannot open module '%s': %s", name, strerror(errno));
		return 0;
	}
	/* ENODEV: a driver that found nothing of its own and will not stay. */
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV)
		console_say("cannot load module '%s': %s", name, strerror(errno));
	return 0;
}

int modules_load(int root_fd, enum modules_part part, struct error *err)
{
	struct utsname kernel;
	if (uname(&kernel) < 0)
		return error_sys(err, "cannot ask for the kernel's release");
	auto_free char *path = xasprintf("%s/%s", MODULES_FOLDER, kernel.release);
	auto_close int folder = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 && errno == ENOENT)
		return 0;
	if (folder < 0)
		return error_sys(err, "cannot open '%s'", path);
	auto_buf struct buf order = BUF_INIT;
	if (fs_read(folder, "order", ORDER_MAX, &order, err) < 0)
		return -1;
	return modules_each(order.data, part, load_one, &folder, err);
}
