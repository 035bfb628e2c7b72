/* cli/yaml.h - a JSON value as YAML, for -o yaml of what has no schema of its own. */
#ifndef CLI_YAML_H
#define CLI_YAML_H

#include "base/buf.h"
#include "base/json.h"

void yaml_add(struct buf *out, const cJSON *value);

#endif
