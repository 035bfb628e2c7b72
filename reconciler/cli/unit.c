#include "cli/unit.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/proc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_MS 90000 /* systemd's own patience with a unit */

bool unit_is_there(const struct paths *paths)
{
	static const char *const places[] = {
		"/etc/systemd/system",	   "/run/systemd/system", "/usr/local/lib/systemd/system",
		"/usr/lib/systemd/system", "/lib/systemd/system",
	};
	/* banger-vms.service says so: systemd would not start the one unit while it stops the
	 * other. */
	if (secure_getenv("BANGER_DAEMON"))
		return false;
	/* The unit's bangerd works at the fixed places; BANGER_ROOT moves ours elsewhere. */
	if (!paths->system || strcmp(paths->state, "/var/lib/banger") != 0 ||
	    access("/run/systemd/system", F_OK) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		auto_free char *path = xasprintf("%s/" UNIT_NAME, places[i]);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

int unit_start(struct error *err)
{
	const char *const argv[] = { "systemctl", "start", UNIT_NAME, NULL };
	const struct proc_run run = { .argv = argv, .timeout_ms = START_MS };
	if (proc_check(&run, NULL, err) == 0)
		return 0;
	error_wrap(err, "cannot start bangerd");
	error_append(err, "; journalctl -u bangerd says more");
	err->code = ERROR_UNAVAILABLE;
	return -1;
}
