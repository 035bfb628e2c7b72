/* A repository of the host that is brought into the guest. As `defaults` may hold a part of it
 * (mode: full), the members of a VM are laid over those; what it is as a whole is judged once all
 * are read, by settle in field.c. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/json.h"

#include <string.h>

#define SOURCE_MAX 4096
#define REF_MAX	   255
#define NONE	   "none"

static const char *const modes[] = { "shallow", "full", "metadata", NULL };

const char *workspace_mode_name(enum workspace_mode mode)
{
	return modes[mode];
}

static bool parse_source(const struct yaml_node *node, const struct path *path,
			 const struct reader *r, struct workspace_spec *to)
{
	const char *source = reader_file(r, node, path, SOURCE_MAX);
	size_t len = source ? strlen(source) : 0;
	if (!source)
		return false;
	/* "." is where most of them are. */
	bool here = len > 2 && text_equal(source + len - 2, "/.");
	to->source = here ? arena_text(r->scratch, source, len - 2) : source;
	return true;
}

static bool parse_path(const struct yaml_node *node, const struct path *path,
		       const struct reader *r, struct workspace_spec *to)
{
	const char *text = want_guest_path(node, path, "directory", r);
	to->path = text ? text : to->path;
	return text != NULL;
}

static bool parse_mode(const struct yaml_node *node, const struct path *path,
		       const struct reader *r, struct workspace_spec *to)
{
	const char *text = want_text(node, path, "shallow, full or metadata", r);
	char hint[64];
	for (size_t i = 0; text && modes[i]; i++)
		if (text_equal(text, modes[i])) {
			to->mode = (enum workspace_mode)i;
			return true;
		}
	if (text)
		READER_FAULT(r, node, path, "must be shallow, full or metadata, not '%.40s'%s",
			     text, did_you_mean(hint, text, modes));
	return false;
}

/* Whether git takes it as a name is only known where git runs. */
static bool parse_ref(const struct yaml_node *node, const struct path *path, const char *what,
		      const struct reader *r, const char **to)
{
	const char *text = want_text(node, path, what, r);
	if (!text)
		return false;
	if (text[0] == '-' || node->count > REF_MAX) {
		READER_FAULT(r, node, path,
			     "must be %s: at most %d bytes and no '-' at its beginning", what,
			     REF_MAX);
		return false;
	}
	*to = text;
	return true;
}

static bool parse_branch(const struct yaml_node *node, const struct path *path,
			 const struct reader *r, struct workspace_spec *to)
{
	return parse_ref(node, path, "the name of a branch", r, &to->branch);
}

static bool parse_from(const struct yaml_node *node, const struct path *path,
		       const struct reader *r, struct workspace_spec *to)
{
	return parse_ref(node, path, "a commit, branch or tag", r, &to->from);
}

static bool parse_untracked(const struct yaml_node *node, const struct path *path,
			    const struct reader *r, struct workspace_spec *to)
{
	return kind_bool.parse(NULL, node, path, r, &to->include_untracked);
}

static bool parse_auto(const struct yaml_node *node, const struct path *path,
		       const struct reader *r, struct workspace_spec *to)
{
	return kind_bool.parse(NULL, node, path, r, &to->auto_prepare);
}

static const struct {
	const char *key;
	bool (*parse)(const struct yaml_node *, const struct path *, const struct reader *,
		      struct workspace_spec *);
} members[] = {
	{ "source", parse_source },	{ "path", parse_path },
	{ "mode", parse_mode },		{ "branch", parse_branch },
	{ "from", parse_from },		{ "include_untracked", parse_untracked },
	{ "auto_prepare", parse_auto },
};

static bool parse_member(const struct yaml_pair *pair, const struct path *up,
			 const struct reader *r, struct workspace_spec *to)
{
	static const char *const known[] = { "source",	     "path", "mode",
					     "branch",	     "from", "include_untracked",
					     "auto_prepare", NULL };
	const struct path path = { .up = up, .key = pair->key->text };
	char hint[64];
	for (size_t i = 0; i < ARRAY_COUNT(members); i++)
		if (text_equal(path.key, members[i].key))
			return members[i].parse(pair->value, &path, r, to);
	READER_FAULT(r, pair->key, &path, "unknown field%s", did_you_mean(hint, path.key, known));
	return false;
}

static void fallback_workspace(const struct field *f, void *to)
{
	(void)f;
	*(struct workspace_spec *)to = (struct workspace_spec){
		.source = "", .path = WORKSPACE_PATH, .branch = "", .from = ""
	};
}

/* One word is its source, or "none". */
static bool parse_word(const struct yaml_node *node, const struct path *path,
		       const struct reader *r, struct workspace_spec *to)
{
	if (node->plain && text_equal(node->text, NONE)) {
		fallback_workspace(NULL, to);
		return true;
	}
	/* As in JSON of our own, where nothing is plain. */
	if (r->stored && text_equal(node->text, NONE))
		return true;
	return parse_source(node, path, r, to);
}

static bool parse_workspace(const struct field *f, const struct yaml_node *node,
			    const struct path *path, const struct reader *r, void *to)
{
	struct workspace_spec spec;
	bool good = true;
	fallback_workspace(f, &spec);
	if (r->merge_maps)
		spec = *(struct workspace_spec *)to;
	if (yaml_is_null(node) || node->kind == NODE_LIST) {
		READER_FAULT(r, node, path, "must be a mapping of source and more, or none");
		return false;
	}
	if (node->kind == NODE_SCALAR)
		good = parse_word(node, path, r, &spec);
	else
		for (size_t i = 0; i < node->count; i++)
			good = parse_member(&node->pairs[i], path, r, &spec) && good;
	if (good && r->merge_maps && node->kind == NODE_MAP && !spec.source[0]) {
		READER_FAULT(r, node, path, "'source' is missing");
		good = false;
	}
	if (good)
		*(struct workspace_spec *)to = spec;
	return good;
}

static bool equal_workspace(const void *a, const void *b)
{
	const struct workspace_spec *x = a, *y = b;
	return text_equal(x->source, y->source) && text_equal(x->path, y->path) &&
	       x->mode == y->mode && text_equal(x->branch, y->branch) &&
	       text_equal(x->from, y->from) && x->include_untracked == y->include_untracked &&
	       x->auto_prepare == y->auto_prepare;
}

static void show_workspace(const struct field *f, const void *value, struct buf *to)
{
	const struct workspace_spec *spec = value;
	(void)f;
	if (!spec->source[0]) {
		buf_add(to, NONE);
		return;
	}
	buf_addf(to, "[%s", spec->source);
	if (!text_equal(spec->path, WORKSPACE_PATH))
		buf_addf(to, " at %s", spec->path);
	if (spec->mode != WORKSPACE_SHALLOW)
		buf_addf(to, ", %s", modes[spec->mode]);
	if (spec->branch[0])
		buf_addf(to, ", branch %s", spec->branch);
	if (spec->from[0])
		buf_addf(to, " from %s", spec->from);
	buf_add(to, spec->include_untracked ? ", include_untracked" : "");
	buf_add(to, spec->auto_prepare ? ", auto_prepare" : "");
	buf_add(to, "]");
}

struct cJSON *workspace_spec_to_json(const struct workspace_spec *spec)
{
	if (!spec->source[0])
		return cJSON_CreateString(NONE);
	cJSON *object = cJSON_CreateObject();
	json_add_str(object, "source", spec->source);
	if (!text_equal(spec->path, WORKSPACE_PATH))
		json_add_str(object, "path", spec->path);
	if (spec->mode != WORKSPACE_SHALLOW)
		json_add_str(object, "mode", modes[spec->mode]);
	if (spec->branch[0])
		json_add_str(object, "branch", spec->branch);
	if (spec->from[0])
		json_add_str(object, "from", spec->from);
	if (spec->include_untracked)
		json_add_bool(object, "include_untracked", true);
	if (spec->auto_prepare)
		json_add_bool(object, "auto_prepare", true);
	return object;
}

static struct cJSON *workspace_to_json(const struct field *f, const void *value)
{
	(void)f;
	return workspace_spec_to_json(value);
}

static void pack_workspace(struct packer *packer, void *value)
{
	struct workspace_spec *spec = value;
	spec->source = pack_text(packer, spec->source);
	spec->path = pack_text(packer, spec->path);
	spec->branch = pack_text(packer, spec->branch);
	spec->from = pack_text(packer, spec->from);
}

static cJSON *add_member(cJSON *to, const char *key, const char *type)
{
	cJSON *member = cJSON_AddObjectToObject(to, key);
	json_add_str(member, "type", type);
	return member;
}

static void workspace_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	cJSON *any = cJSON_AddArrayToObject(schema, "oneOf");
	cJSON *word = cJSON_CreateObject();
	cJSON *object = cJSON_CreateObject();
	cJSON_AddItemToArray(any, word);
	cJSON_AddItemToArray(any, object);
	json_add_str(word, "type", "string");
	schema_pattern(word, "^.+$", SOURCE_MAX);
	json_add_str(object, "type", "object");
	json_add_bool(object, "additionalProperties", false);
	cJSON *own = cJSON_AddObjectToObject(object, "properties");
	schema_pattern(add_member(own, "source", "string"), "^.+$", SOURCE_MAX);
	cJSON *path = add_member(own, "path", "string");
	schema_pattern(path, PATTERN_GUEST_PATH, GUEST_PATH_MAX);
	json_add_str(path, "default", WORKSPACE_PATH);
	cJSON *mode = add_member(own, "mode", "string");
	cJSON_AddItemToObject(mode, "enum", cJSON_CreateStringArray(modes, 3));
	json_add_str(mode, "default", modes[WORKSPACE_SHALLOW]);
	schema_pattern(add_member(own, "branch", "string"), "^([^-].*)?$", REF_MAX);
	schema_pattern(add_member(own, "from", "string"), "^([^-].*)?$", REF_MAX);
	json_add_bool(add_member(own, "include_untracked", "boolean"), "default", false);
	json_add_bool(add_member(own, "auto_prepare", "boolean"), "default", false);
}

const struct kind kind_workspace = {
	.parse = parse_workspace,
	.fallback = fallback_workspace,
	.equal = equal_workspace,
	.show = show_workspace,
	.to_json = workspace_to_json,
	.pack = pack_workspace,
	.to_schema = workspace_to_schema,
	.type = "mapping, or the source alone, or none",
};
