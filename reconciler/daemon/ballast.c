/* A little space held back for the moment when the disk is full: writing down that a VM shall stop
 * or go needs some bytes, and it is what a full disk is answered with. */
#include "daemon/bangerd.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/units.h"

#include <fcntl.h>

#define BALLAST	     "ballast"
#define BALLAST_SIZE MIB
#define ROOM	     (256 << 10) /* with less than this it is given up */

static char *ballast_path(const struct bangerd *d)
{
	return xasprintf("%s/" BALLAST, d->paths.state);
}

void ballast_take(struct bangerd *d)
{
	struct error err;
	auto_free char *path = ballast_path(d);
	if (disk_check_space(d->paths.state, 16 * BALLAST_SIZE, &err) < 0)
		return;
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, BALLAST_SIZE) != 0)
		fs_unlink(AT_FDCWD, path, &err);
}

void ballast_give(struct bangerd *d)
{
	struct error err;
	auto_free char *path = ballast_path(d);
	if (disk_check_space(d->paths.state, ROOM, &err) == 0 || access(path, F_OK) < 0)
		return;
	log_warn(NULL, "%s: using what was held back", err.text);
	fs_unlink(AT_FDCWD, path, &err);
}
