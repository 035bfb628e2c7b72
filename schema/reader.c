#include "schema/reader.h"
#include "schema/kind.h"
#include "schema/text.h"

#include <string.h>

void draft_init(struct draft *draft, const struct reader *reader)
{
	*draft = (struct draft){ 0 };
	fields_fallback(&draft->spec);
	if (reader->context->default_image)
		draft->spec.image = reader->context->default_image;
}

static void unknown_field(const struct yaml_node *key, const struct path *path,
			  const struct reader *reader)
{
	const char *meant = field_suggest(key->text);
	if (meant)
		READER_FAULT(reader, key, path, "unknown field, did you mean '%s'?", meant);
	else
		READER_FAULT(reader, key, path, "unknown field");
}

void draft_read(struct draft *draft, const struct yaml_node *map, const struct path *path,
		const struct reader *reader)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct yaml_node *key = map->pairs[i].key, *value = map->pairs[i].value;
		const struct path at = { .up = path, .key = key->text };
		const struct field *field = field_find(key->text);
		enum field_scope not_here = reader->stored ? FIELD_OF_FILE : FIELD_OF_REPLICA;
		if (!field || field->scope == not_here) {
			unknown_field(key, &at, reader);
			continue;
		}
		void *member = field_in(field, &draft->spec);
		if (field->kind->parse(field, value, &at, reader, member))
			draft->origin[field_index(field)] = value;
	}
}

static int by_port(const void *a, const void *b)
{
	const struct port_spec *x = a, *y = b;
	if (x->host != y->host)
		return x->host < y->host ? -1 : 1;
	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	return strcmp(x->address, y->address);
}

void draft_settle(struct draft *draft, const struct path *path, const struct yaml_node *place,
		  const struct reader *reader)
{
	draft->path = path;
	draft->place = place;
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (vm_fields[i].settle)
			vm_fields[i].settle(&vm_fields[i], draft, reader);
}

const struct yaml_node *draft_place(const struct draft *draft, const struct field *field)
{
	static const struct yaml_node nowhere = { 0 };
	const struct yaml_node *origin = draft->origin[field_index(field)];
	return origin ? origin : draft->place ? draft->place : &nowhere;
}

const struct image_hint *reader_image(const struct reader *reader, const char *image)
{
	for (size_t i = 0; i < reader->context->image_count; i++)
		if (!strcmp(reader->context->images[i].name, image))
			return &reader->context->images[i];
	return NULL;
}

const char *reader_file(const struct reader *reader, const struct yaml_node *node,
			const struct path *path, size_t max)
{
	const char *text = want_text(node, path, "a path", reader), *below = NULL;
	if (!text)
		return NULL;
	if (!*text || node->count > max) {
		READER_FAULT(reader, node, path, "must be a path of at most %zu bytes", max);
		return NULL;
	}
	if (*text == '/')
		return text;
	if (!strncmp(text, "~/", 2)) {
		below = reader->home;
		text += 2;
	} else if (*text != '~') {
		below = reader->directory;
		while (!strncmp(text, "./", 2))
			text += 2;
	}
	if (!below) {
		READER_FAULT(reader, node, path, "must be an absolute path here");
		return NULL;
	}
	return arena_printf(reader->scratch, "%s/%s", strcmp(below, "/") ? below : "", text);
}

/* Ports are kept sorted: their order means nothing, so a changed one is no change. What the draft
 * points to may belong to `defaults`, which other VMs share, so a copy is sorted. */
static void sort_ports(struct vm_spec *spec, struct arena *scratch)
{
	struct port_list *list = &spec->ports;
	if (list->count < 2)
		return;
	struct port_spec *at = arena_alloc(scratch, list->count * sizeof(*at), 8);
	memcpy(at, list->at, list->count * sizeof(*at));
	qsort(at, list->count, sizeof(*at), by_port);
	list->at = at;
}

static void pack_fields(struct packer *packer, struct vm_spec *copy)
{
	copy->file = pack_text(packer, copy->file);
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (vm_fields[i].kind->pack)
			vm_fields[i].kind->pack(packer, field_in(&vm_fields[i], copy));
}

struct vm_spec *vm_spec_pack(const struct vm_spec *draft)
{
	struct vm_spec copy = *draft;
	struct packer packer = { .used = sizeof(copy) };
	pack_fields(&packer, &copy);
	packer.arena = arena_new(packer.used);
	struct vm_spec *spec = arena_alloc(packer.arena, sizeof(*spec), 8);
	*spec = *draft;
	spec->arena = packer.arena;
	pack_fields(&packer, spec);
	return spec;
}

struct vm_spec *draft_finish(struct draft *draft, const struct reader *reader)
{
	sort_ports(&draft->spec, reader->scratch);
	return vm_spec_pack(&draft->spec);
}
