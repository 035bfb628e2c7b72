/* What a record says of a workspace (rpc/METHODS.md, WORKSPACE), against what a spec wants. */
#include "plan/plan.h"
#include "base/json.h"

#include <string.h>

bool workspace_is_as_wanted(const struct workspace_spec *want, const char *source,
			    const struct cJSON *record)
{
	const struct {
		const char *key, *want, *otherwise;
	} texts[] = {
		{ "source", source, "" },
		{ "path", want->path, WORKSPACE_PATH },
		{ "mode", workspace_mode_name(want->mode), "" },
		{ "wanted_branch", want->branch, "" },
		{ "wanted_from", want->from, "" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		if (strcmp(json_str(record, texts[i].key, texts[i].otherwise), texts[i].want) != 0)
			return false;
	return json_bool(record, "include_untracked", false) == want->include_untracked;
}
