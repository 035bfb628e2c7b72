/* cli/key_files.h - the files with keys that a member of the machine's group names in a spec.
 *
 * bangerd is root there and opens no path of his: what `ssh_keys` name is opened here, as him, and
 * the texts go along with the request (rpc/METHODS.md, key_files). What could not be read is
 * missing then, and bangerd's to say where. */
#ifndef CLI_KEY_FILES_H
#define CLI_KEY_FILES_H

#include "cli/cli.h"
#include "schema/spec_load.h"

/* Of the sources that params are about. */
void key_files_of_sources(const struct cli *cli, const struct spec_source *sources, size_t count,
			  cJSON *params);
/* What "~/" is for the one who calls, into params. */
void key_files_home(cJSON *params);
/* Of params.set, as vm.create and vm.set take it; and what "~/" is for the caller. */
void key_files_of_set(const struct cli *cli, cJSON *params);

#endif
