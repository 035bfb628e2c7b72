/* ssh_keys: public keys, given as such or as the file that holds them.
 *
 * What people paste here by mistake is a private key, so no message of this file shows any text but
 * a path, and only what looks like one. */
#include "schema/kind.h"
#include "schema/text.h"

#include "base/fs.h"
#include "base/json.h"

#include <fcntl.h>
#include <string.h>

#define KEY_LENGTH_MAX 16384
#define KEY_FILE_MAX   65536
#define KEY_PATH_MAX   4096
#define BASE64_SET     SET_ALNUM "+/="

DEFINE_VEC(text_vec, const char *)

static bool looks_like_key(const char *text)
{
	static const char *const types[] = { "ssh-", "ecdsa-", "sk-" };
	for (size_t i = 0; i < ARRAY_COUNT(types); i++)
		if (!strncmp(text, types[i], strlen(types[i])) && strchr(text, ' '))
			return true;
	return false;
}

static bool looks_like_path(const char *text)
{
	size_t len = strlen(text);
	return text[0] == '/' || !strncmp(text, "./", 2) || !strncmp(text, "../", 3) ||
	       !strncmp(text, "~/", 2) ||
	       (len > 4 && !strcmp(text + len - 4, ".pub") && !strchr(text, ' '));
}

/* type base64 [comment] */
static bool key_is_valid(const char *text, size_t len)
{
	const char *blob = memchr(text, ' ', len);
	if (len > KEY_LENGTH_MAX || !blob || !text_is_clean(text, len))
		return false;
	size_t type = (size_t)(blob - text);
	size_t base64 = strspn(++blob, BASE64_SET);
	const char *end = blob + base64;
	return strspn(text, SET_LOWER SET_DIGIT "-.@") == type && base64 >= 32 &&
	       !strncmp(blob, "AAAA", 4) && (end >= text + len || *end == ' ');
}

/* Every line that is neither empty nor a comment; -1 when one is no key. */
static int take_lines(const char *text, const struct reader *r, struct text_vec *to)
{
	while (*text) {
		size_t line = strcspn(text, "\r\n");
		size_t len = line;
		while (len && text[len - 1] == ' ')
			len--;
		if (len && text[0] != '#') {
			if (to->count >= LIST_MAX || !looks_like_key(text) ||
			    !key_is_valid(text, len))
				return -1;
			text_vec_push(to, arena_text(r->scratch, text, len));
		}
		text += line;
		text += strspn(text, "\r\n");
	}
	return 0;
}

char *spec_read_key_file(const char *path, struct error *err)
{
	auto_buf struct buf text = BUF_INIT;
	/* A FIFO or a terminal named by mistake must not hang the reader. */
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		error_sys(err, "cannot open '%s'", path);
		return NULL;
	}
	if (fs_read_fd(fd, path, KEY_FILE_MAX, &text, err) < 0)
		return NULL;
	return buf_take(&text);
}

static char *read_key_file(const struct reader *r, const char *path, struct error *err)
{
	return r->context->read_file ? r->context->read_file(r->context->cookie, path, err)
				     : spec_read_key_file(path, err);
}

static bool read_path(const struct yaml_node *node, const struct path *path, const struct reader *r,
		      struct text_vec *to)
{
	struct error err = { 0 };
	const char *file = reader_file(r, node, path, KEY_PATH_MAX);
	if (!file)
		return false;
	auto_free char *text = read_key_file(r, file, &err);
	size_t first = to->count;
	if (!text)
		READER_FAULT(r, node, path, "%s", err.text);
	else if (strstr(text, "PRIVATE KEY"))
		READER_FAULT(r, node, path, "'%.200s' holds a private key, name the public one",
			     file);
	else if (take_lines(text, r, to) < 0 || to->count == first)
		READER_FAULT(r, node, path, "'%.200s' holds something else than public keys", file);
	else
		return true;
	return false;
}

static bool parse_key(const struct yaml_node *node, const struct path *path, const struct reader *r,
		      struct text_vec *to)
{
	if (node->kind == NODE_SCALAR && strstr(node->text, "PRIVATE KEY")) {
		READER_FAULT(r, node, path, "a private key, give the public one");
		return false;
	}
	const char *text = want_text(node, path, "a public key or a path", r);
	if (!text)
		return false;
	size_t before = to->count;
	if (looks_like_key(text)) {
		if (take_lines(text, r, to) == 0 && to->count > before)
			return true;
		READER_FAULT(r, node, path, "not a valid public key");
		return false;
	}
	if (!r->stored && looks_like_path(text))
		return read_path(node, path, r, to);
	READER_FAULT(r, node, path,
		     "neither a public key nor a path (which begins with /, ./ or ~/, or ends in "
		     ".pub)");
	return false;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, each once: the order of keys means nothing, so a changed one is no change. */
static struct string_list to_list(const struct text_vec *keys, const struct reader *r)
{
	struct string_list list = { 0 };
	if (!keys->count)
		return list;
	qsort(keys->at, keys->count, sizeof(*keys->at), by_text);
	list.at = arena_alloc(r->scratch, keys->count * sizeof(*list.at), 8);
	for (size_t i = 0; i < keys->count; i++)
		if (!i || !text_equal(keys->at[i], keys->at[i - 1]))
			list.at[list.count++] = keys->at[i];
	return list;
}

static bool parse_keys(const struct field *f, const struct yaml_node *node, const struct path *path,
		       const struct reader *r, void *to)
{
	struct text_vec keys = { 0 };
	bool good = want_list(node, path, "public keys or paths", r);
	(void)f;
	for (size_t i = 0; node->kind == NODE_LIST && i < node->count && i < LIST_MAX; i++) {
		const struct path at = { .up = path, .index = i };
		good = parse_key(node->items[i], &at, r, &keys) && good;
	}
	if (good)
		*(struct string_list *)to = to_list(&keys, r);
	text_vec_clear(&keys);
	return good;
}

/* "ssh-ed25519 ...kLx3Vw== me@laptop": enough to know it by. */
static void show_keys(const struct field *f, const void *value, struct buf *to)
{
	const struct string_list *list = value;
	(void)f;
	for (size_t i = 0; i < list->count; i++) {
		const char *blob = strchr(list->at[i], ' ') + 1;
		size_t type = (size_t)(blob - list->at[i]), len = strcspn(blob, " ");
		size_t tail = len < 8 ? len : 8;
		buf_addf(to, "%s%.*s...%s", i ? ", " : "[", (int)type, list->at[i],
			 blob + len - tail);
	}
	buf_add(to, list->count ? "]" : "none");
}

static void keys_to_schema(const struct field *f, struct cJSON *schema)
{
	(void)f;
	schema_pattern_list(schema,
			    "^(((ssh|ecdsa|sk)-[^ ]+ AAAA.*)|(/|\\./|\\.\\./|~/).*|[^ ]+\\.pub)$",
			    KEY_LENGTH_MAX);
}

const struct kind kind_keys = {
	.parse = parse_keys,
	.equal = strings_equal,
	.show = show_keys,
	.to_json = strings_to_json,
	.pack = strings_pack,
	.to_schema = keys_to_schema,
	.type = "list of keys or paths",
};
