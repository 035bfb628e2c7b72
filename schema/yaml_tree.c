/* Theory of operation. libyaml's events arrive in document order. Nodes that are finished wait in
 * `pending`; every open list or mapping is a frame that remembers where its own began. When it
 * ends, those are copied into an array of the arena and the container itself is pending for the
 * frame below. Aliases push the node they name once more. Frames and pending also tell the path of
 * a fault ("vms.web"), without any parent pointers in the tree. */
#include "schema/yaml_build.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

static struct yaml_node *new_node(struct builder *b, enum node_kind kind, const yaml_mark_t *mark)
{
	struct yaml_node *node = arena_alloc(b->arena, sizeof(*node), 8);
	*node = (struct yaml_node){
		.kind = (uint8_t)kind,
		.line = (int32_t)mark->line + 1,
		.column = (int32_t)mark->column + 1,
	};
	return node;
}

static int refuse(struct builder *b, const yaml_mark_t *mark, const char *text)
{
	struct path chain[SPEC_DEPTH_MAX + 1];
	fault_add(b->faults, (int)mark->line + 1, (int)mark->column + 1, builder_path(b, chain),
		  "%s", text);
	return -1;
}

/* The next finished node would be a key of the innermost mapping. */
static bool key_comes(const struct builder *b)
{
	if (!b->depth)
		return false;
	const struct frame *top = &b->frames[b->depth - 1];
	return top->node->kind == NODE_MAP && (b->pending.count - top->start) % 2 == 0;
}

static int count_node(struct builder *b, const yaml_mark_t *mark)
{
	if (b->own++ < YAML_NODES_MAX)
		return 0;
	return refuse(b, mark, "more values than a file may hold");
}

/* NULL anchor name: none. */
static int open_anchor(struct builder *b, const yaml_event_t *event, const yaml_char_t *name,
		       struct yaml_node *node, struct anchor **ret)
{
	*ret = NULL;
	if (!name)
		return 0;
	if (b->anchors.count >= YAML_ANCHORS_MAX)
		return refuse(b, &event->start_mark, "more than 10000 anchors");
	struct anchor *anchor = arena_alloc(b->arena, sizeof(*anchor), 8);
	*anchor = (struct anchor){ .node = node, .size = builder_size(b), .open = true };
	if (!b->anchors.room)
		b->anchors = text_map_make(0);
	const char *key = arena_text(b->arena, (const char *)name, strlen((const char *)name));
	*text_map_slot(&b->anchors, key) = anchor;
	*ret = anchor;
	return 0;
}

static void close_anchor(struct builder *b, struct anchor *anchor)
{
	if (!anchor)
		return;
	anchor->size = builder_size(b) - anchor->size;
	anchor->open = false;
}

static int refuse_tag(struct builder *b, const yaml_event_t *event, const yaml_char_t *tag)
{
	return tag ? refuse(b, &event->start_mark, "tags such as !!str are not supported") : 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	yaml_scalar_style_t style = event->data.scalar.style;
	struct anchor *anchor;
	if (count_node(b, &event->start_mark) < 0 ||
	    refuse_tag(b, event, event->data.scalar.tag) < 0)
		return -1;
	struct yaml_node *node = new_node(b, NODE_SCALAR, &event->start_mark);
	if (open_anchor(b, event, event->data.scalar.anchor, node, &anchor) < 0)
		return -1;
	if (memchr(text, '\0', len))
		return refuse(b, &event->start_mark, "the text holds a NUL");
	/* A block scalar ends with a line end that nobody means. */
	if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
		while (len && text[len - 1] == '\n')
			len--;
	node->text = arena_text(b->arena, text, len);
	node->count = (uint32_t)len;
	node->plain = style == YAML_PLAIN_SCALAR_STYLE;
	close_anchor(b, anchor);
	node_vec_push(&b->pending, node);
	return 0;
}

static int on_alias(struct builder *b, const yaml_event_t *event)
{
	const yaml_mark_t *mark = &event->start_mark;
	void **slot = b->anchors.room
			      ? text_map_slot(&b->anchors, (const char *)event->data.alias.anchor)
			      : NULL;
	const struct anchor *anchor = slot ? *slot : NULL;
	if (!anchor)
		return refuse(b, mark, "the alias names an anchor that was not defined above");
	if (anchor->open)
		return refuse(b, mark, "the alias refers to a value that holds it");
	if (key_comes(b) && anchor->node->kind != NODE_SCALAR)
		return refuse(b, mark, "a key must be a plain word");
	if (anchor->size > SPEC_ALIAS_MAX - b->added)
		return refuse(b, mark,
			      "aliases add more than 10000 values, put what all VMs share "
			      "under 'defaults'");
	b->added += anchor->size;
	node_vec_push(&b->pending, anchor->node);
	return 0;
}

static int on_start(struct builder *b, const yaml_event_t *event, enum node_kind kind,
		    const yaml_char_t *name, const yaml_char_t *tag)
{
	if (count_node(b, &event->start_mark) < 0 || refuse_tag(b, event, tag) < 0)
		return -1;
	if (key_comes(b))
		return refuse(b, &event->start_mark, "a key must be a plain word");
	if (b->depth == SPEC_DEPTH_MAX)
		return refuse(b, &event->start_mark, "nested deeper than 16 levels");
	struct yaml_node *node = new_node(b, kind, &event->start_mark);
	struct anchor *anchor;
	if (open_anchor(b, event, name, node, &anchor) < 0)
		return -1;
	b->frames[b->depth++] =
		(struct frame){ .node = node, .start = b->pending.count, .anchor = anchor };
	return 0;
}

static int on_end(struct builder *b)
{
	if (!b->depth)
		BUG("libyaml ended what it did not begin");
	struct frame *top = &b->frames[b->depth - 1];
	size_t count = b->pending.count - top->start;
	if (top->node->kind == NODE_MAP) {
		if (builder_finish_map(b, top) < 0)
			return -1;
	} else {
		size_t bytes = count * sizeof(struct yaml_node *);
		top->node->items = arena_alloc(b->arena, bytes, 8);
		if (count)
			memcpy(top->node->items, b->pending.at + top->start, bytes);
		top->node->count = (uint32_t)count;
	}
	close_anchor(b, top->anchor);
	b->pending.count = top->start;
	b->depth--;
	node_vec_push(&b->pending, top->node);
	return 0;
}

static int on_document(struct builder *b, const yaml_event_t *event)
{
	if (b->documents++)
		return refuse(b, &event->start_mark,
			      "a second document, a file holds one (move it to its own file)");
	return 0;
}

static int on_event(struct builder *b, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return on_document(b, event);
	case YAML_SCALAR_EVENT:
		return on_scalar(b, event);
	case YAML_ALIAS_EVENT:
		return on_alias(b, event);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(b, event, NODE_LIST, event->data.sequence_start.anchor,
				event->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return on_start(b, event, NODE_MAP, event->data.mapping_start.anchor,
				event->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_end(b);
	default:
		return 0;
	}
}

/* libyaml's index counts characters; it is that of a byte only while all before it is ASCII. */
static char char_at(const char *text, size_t len, size_t index)
{
	if (index >= len)
		return '\0';
	for (size_t i = 0; i < index; i++)
		if ((unsigned char)text[i] >= 0x80)
			return '\0';
	return text[index];
}

/* libyaml's words, with the place and, where they tell little, ours. */
static void explain(struct builder *b, const yaml_parser_t *parser, const char *text, size_t len)
{
	const yaml_mark_t *mark = &parser->problem_mark;
	const char *problem = parser->problem ? parser->problem : "not valid YAML";
	bool token = strstr(problem, "cannot start any token") != NULL;
	char at = token ? char_at(text, len, mark->index) : '\0';
	struct path chain[SPEC_DEPTH_MAX + 1];
	const struct path *path = builder_path(b, chain);
	int line = (int)mark->line + 1, column = (int)mark->column + 1;
	if (at == '\t')
		fault_add(b->faults, line, column, path,
			  "a tab in the indentation, YAML is indented with spaces");
	else if (at == '@' || at == '`' || at == '%')
		fault_add(b->faults, line, column, path,
			  "text that begins with '%c' must be quoted", at);
	else if (parser->context && parser->context_mark.line != mark->line)
		fault_add(b->faults, line, column, path, "not valid YAML: %s, %s of line %zu",
			  problem, parser->context, parser->context_mark.line + 1);
	else
		fault_add(b->faults, line, column, path, "not valid YAML: %s", problem);
}

static int run(struct builder *b, yaml_parser_t *parser, const char *text, size_t len)
{
	for (bool more = true; more;) {
		yaml_event_t event;
		if (!yaml_parser_parse(parser, &event)) {
			explain(b, parser, text, len);
			return -1;
		}
		more = event.type != YAML_STREAM_END_EVENT;
		int rc = on_event(b, &event);
		yaml_event_delete(&event);
		if (rc < 0)
			return -1;
	}
	return 0;
}

struct yaml_node *yaml_parse(const char *text, size_t len, struct arena *arena,
			     struct fault_sink *faults)
{
	text = yaml_text_check(text, &len, faults);
	if (!text)
		return NULL;
	struct builder b = { .arena = arena, .faults = faults };
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser))
		BUG("cannot initialise libyaml");
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	struct yaml_node *root = NULL;
	if (run(&b, &parser, text, len) == 0) {
		if (b.pending.count)
			root = b.pending.at[0];
		else
			fault_add(faults, 1, 1, NULL,
				  "the file is empty, write 'version: 1' and 'vms: {}' for no VMs");
	}
	yaml_parser_delete(&parser);
	builder_clear(&b);
	return root;
}
