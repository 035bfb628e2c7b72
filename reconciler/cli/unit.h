/* cli/unit.h - bangerd as a unit of systemd, in system mode: where it is installed, it is started
 * as that and not by us. */
#ifndef CLI_UNIT_H
#define CLI_UNIT_H

#include "base/error.h"
#include "sys/paths.h"

#include <stdbool.h>

#define UNIT_NAME "bangerd.service"

/* systemd runs this machine and has the unit for these paths, and BANGER_DAEMON names no other
 * bangerd. */
bool unit_is_there(const struct paths *paths);
/* As root. Returns when bangerd listens; the error says where to look. */
int unit_start(struct error *err);

#endif
