/* cli/spec_flags.h - the fields of a VM as flags (FLAGS_SPEC of the command table). cmd_vm.c */
#ifndef CLI_SPEC_FLAGS_H
#define CLI_SPEC_FLAGS_H

#include "cli/cli.h"

/* Appends "key=value" for each, as vm.create and vm.set want them. */
int spec_flags(struct cli *cli, cJSON *list, struct error *err);

#endif
