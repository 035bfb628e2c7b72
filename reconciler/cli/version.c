/* The only file that knows the commit, so that a new one compiles little again. */
#include "cli/cli.h"

#ifndef BANGER_VERSION
#define BANGER_VERSION "unknown"
#endif
#ifndef BANGER_COMMIT
#define BANGER_COMMIT "unknown"
#endif

const char cli_version[] = BANGER_VERSION;
const char cli_commit[] = BANGER_COMMIT;
