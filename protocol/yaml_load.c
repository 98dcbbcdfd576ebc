/*
 * Events of libyaml to a tree. Aliases share the value they name, so that the tree stays as small
 * as the text; its JSON text, which repeats them, has the limit of `out`. Mirrors yaml/composer.py
 * and SafeConstructor in yaml/constructor.py.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/content_impl.h"
#include "protocol/pyjson_impl.h"
#include "protocol/yaml_impl.h"
#include "protocol/yaml_text.h"

#define NODES_MAX ((size_t)4 << 20)

/* A value, and how deep it is: aliases nest without nesting in the text. */
struct node {
	json_t *json;
	unsigned height;
};

struct reader {
	yaml_parser_t yaml;
	yaml_event_t event;  /* the present one; freed by the next */
	struct map *anchors; /* to struct node */
	size_t nodes;
	struct err *err;
};

static int fail(struct reader *r, const char *what)
{
	return pyjson_fail(r->err, ERR_INVALID, "yaml: line %zu: %s", r->event.start_mark.line + 1,
			   what);
}

static int next_event(struct reader *r)
{
	yaml_event_delete(&r->event);
	if (yaml_parser_parse(&r->yaml, &r->event))
		return 0;
	return pyjson_fail(r->err, ERR_INVALID, "yaml: line %zu: %s", r->yaml.problem_mark.line + 1,
			   r->yaml.problem ? r->yaml.problem : "no YAML");
}

/* Anchors */

static void anchors_free(struct map *anchors)
{
	for (struct map_entry *e = map_first(anchors); e; e = map_next(e)) {
		struct node *node = map_value(e);

		json_decref(node->json);
		free(node);
	}
	map_free(anchors);
}

/* The event's anchor, which goes with it: to be freed. */
static char *take_anchor(const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL;

	if (event->type == YAML_SCALAR_EVENT)
		anchor = event->data.scalar.anchor;
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		anchor = event->data.sequence_start.anchor;
	else if (event->type == YAML_MAPPING_START_EVENT)
		anchor = event->data.mapping_start.anchor;
	return mem_strdup((const char *)anchor);
}

static int keep_anchor(struct reader *r, const char *anchor, const struct node *node)
{
	struct node *kept;

	if (!anchor)
		return 0;
	if (map_has(r->anchors, anchor))
		return fail(r, "found duplicate anchor");
	kept = mem_alloc(sizeof(*kept));
	*kept = *node;
	json_incref(kept->json);
	map_put(r->anchors, anchor, kept);
	return 0;
}

static int find_anchor(struct reader *r, struct node *ret)
{
	const struct node *kept = map_get(r->anchors, (const char *)r->event.data.alias.anchor);

	/* A value that holds itself is refused here too: its anchor is kept when it ends. */
	if (!kept)
		return fail(r, "found undefined alias");
	*ret = *kept;
	json_incref(ret->json);
	return 0;
}

/* Scalars */

static enum yaml_kind scalar_kind(const yaml_event_t *event)
{
	const char *tag = (const char *)event->data.scalar.tag;

	if (tag && strcmp(tag, "!") != 0)
		return yaml_kind_of_tag(tag);
	/* plain, or anything behind a "!" */
	if (!event->data.scalar.plain_implicit)
		return YAML_KIND_STR;
	return yaml_kind_of_plain((const char *)event->data.scalar.value,
				  event->data.scalar.length);
}

static int read_scalar(struct reader *r, enum yaml_kind kind, struct node *ret)
{
	struct err why = {0};

	ret->height = 0;
	ret->json = yaml_scalar(kind, (const char *)r->event.data.scalar.value,
				r->event.data.scalar.length, &why);
	return ret->json ? 0 : err_set(r->err, why.code, "%s", why.text);
}

/* Containers */

enum shape { SHAPE_PLAIN, SHAPE_SET, SHAPE_PAIRS, SHAPE_UNKNOWN };

static enum shape shape_of(const yaml_char_t *yaml_tag, const char *plain)
{
	const char *tag = (const char *)yaml_tag;

	if (!tag || strcmp(tag, "!") == 0)
		return SHAPE_PLAIN;
	if (strncmp(tag, YAML_TAG, sizeof(YAML_TAG) - 1) != 0)
		return SHAPE_UNKNOWN;
	tag += sizeof(YAML_TAG) - 1;
	if (strcmp(tag, plain) == 0)
		return SHAPE_PLAIN;
	if (strcmp(plain, "map") == 0)
		return strcmp(tag, "set") == 0 ? SHAPE_SET : SHAPE_UNKNOWN;
	return strcmp(tag, "omap") == 0 || strcmp(tag, "pairs") == 0 ? SHAPE_PAIRS : SHAPE_UNKNOWN;
}

static int read_node(struct reader *r, unsigned depth, struct node *ret);

static void rise(struct node *node, const struct node *child)
{
	if (node->height <= child->height)
		node->height = child->height + 1;
}

/* - key: value, to be [key, value] */
static int read_pair(struct reader *r, unsigned depth, struct node *ret)
{
	struct node part;

	if (r->event.type != YAML_MAPPING_START_EVENT)
		return fail(r, "expected a mapping of length 1");
	*ret = (struct node){.json = json_array(), .height = 1};
	for (size_t i = 0; i < 2; i++) {
		if (next_event(r) < 0)
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return fail(r, "expected a mapping of length 1");
		if (read_node(r, depth, &part) < 0)
			return -1;
		json_array_append_new(ret->json, part.json);
		rise(ret, &part);
	}
	if (next_event(r) < 0)
		return -1;
	return r->event.type == YAML_MAPPING_END_EVENT ? 0
						       : fail(r, "expected a mapping of length 1");
}

static int read_list(struct reader *r, unsigned depth, struct node *ret)
{
	enum shape shape = shape_of(r->event.data.sequence_start.tag, "seq");
	struct node item;

	if (shape == SHAPE_UNKNOWN)
		return fail(r, "could not determine a constructor for a tag");
	ret->json = json_array();
	for (;;) {
		if (next_event(r) < 0)
			return -1;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		item = (struct node){0};
		int result = shape == SHAPE_PAIRS ? read_pair(r, depth, &item)
						  : read_node(r, depth, &item);

		if (item.json)
			json_array_append_new(ret->json, item.json);
		if (result < 0)
			return -1;
		rise(ret, &item);
	}
}

/* The text that json.dumps makes of a key; -1 when Python's would be none of its types. */
static int key_text(struct reader *r, const json_t *key, struct str *out)
{
	if (json_is_string(key))
		return str_add(out, json_string_value(key), json_string_length(key));
	if (json_is_array(key) || (json_is_object(key) && pyjson_tag(key, NULL) != PYJSON_NUMBER))
		return fail(r, "a key of a mapping is neither text nor number");
	return pyjson_dump(out, key);
}

static void put_all(json_t *to, json_t *from)
{
	for (void *it = json_object_iter(from); it; it = json_object_iter_next(from, it))
		json_object_setn_new_nocheck(to, json_object_iter_key(it),
					     json_object_iter_key_len(it),
					     json_incref(json_object_iter_value(it)));
}

/* <<: a mapping, or a list of mappings of which the first has the last word */
static int merge(struct reader *r, json_t *merged, const json_t *value)
{
	size_t count = json_array_size(value);

	if (json_is_object(value) && pyjson_tag(value, NULL) == PYJSON_PLAIN) {
		put_all(merged, (json_t *)(uintptr_t)value);
		return 0;
	}
	if (!json_is_array(value))
		return fail(r, "expected a mapping or list of mappings for merging");
	for (size_t i = count; i > 0; i--) {
		json_t *one = json_array_get(value, i - 1);

		if (!json_is_object(one) || pyjson_tag(one, NULL) != PYJSON_PLAIN)
			return fail(r, "expected a mapping for merging");
		put_all(merged, one);
	}
	return 0;
}

/* A mapping that is being read: merged keys come first, and lose. */
struct mapping {
	json_t *own, *merged;
	json_t *members; /* of a set: its keys as values */
};

static int add_pair(struct reader *r, struct mapping *m, const struct node *key, struct node *value)
{
	auto_str text = STR_INIT(STR_MAX_DEFAULT);
	struct str *name = &text;

	if (m->members ? pyjson_dump(name, key->json) < 0 : key_text(r, key->json, name) < 0) {
		json_decref(value->json);
		return -1;
	}
	if (m->members && !json_object_getn(m->own, text.data, text.len))
		json_array_append(m->members, key->json);
	return json_object_setn_new_nocheck(m->own, text.len ? text.data : "", text.len,
					    value->json);
}

static bool is_merge(const yaml_event_t *event)
{
	return event->type == YAML_SCALAR_EVENT && scalar_kind(event) == YAML_KIND_MERGE;
}

static int read_key(struct reader *r, unsigned depth, struct node *ret)
{
	auto_free char *anchor = NULL;

	/* "=" as a key is a text */
	if (r->event.type != YAML_SCALAR_EVENT || scalar_kind(&r->event) != YAML_KIND_VALUE)
		return read_node(r, depth, ret);
	anchor = take_anchor(&r->event);
	*ret = (struct node){.json = json_string("=")};
	return keep_anchor(r, anchor, ret);
}

static int read_members(struct reader *r, unsigned depth, struct mapping *m, struct node *ret)
{
	for (;;) {
		struct node key = {0}, value = {0};
		int result = 0;

		if (next_event(r) < 0)
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		bool merges = is_merge(&r->event);

		if (!merges)
			result = read_key(r, depth, &key);
		if (result == 0)
			result = next_event(r) < 0 || read_node(r, depth, &value) < 0 ? -1 : 0;
		if (result == 0) {
			rise(ret, &key);
			rise(ret, &value);
		}
		if (result == 0 && merges) {
			result = merge(r, m->merged, value.json);
			json_decref(value.json);
		} else if (result == 0) {
			result = add_pair(r, m, &key, &value);
		} else {
			json_decref(value.json);
		}
		json_decref(key.json);
		if (result < 0)
			return -1;
	}
}

static int read_mapping(struct reader *r, unsigned depth, struct node *ret)
{
	enum shape shape = shape_of(r->event.data.mapping_start.tag, "map");
	struct mapping m = {0};
	int result;

	if (shape == SHAPE_UNKNOWN)
		return fail(r, "could not determine a constructor for a tag");
	m.own = json_object();
	m.merged = json_object();
	if (shape == SHAPE_SET)
		m.members = json_array();
	result = read_members(r, depth, &m, ret);
	if (result == 0 && shape == SHAPE_SET) {
		ret->json = json_incref(m.members);
	} else if (result == 0 && json_object_size(m.merged) > 0) {
		put_all(m.merged, m.own);
		ret->json = json_incref(m.merged);
	} else if (result == 0) {
		ret->json = json_incref(m.own);
	}
	json_decref(m.own);
	json_decref(m.merged);
	json_decref(m.members);
	return result;
}

/* What the present event begins, to its end. On failure there is nothing to free. */
static int read_node(struct reader *r, unsigned depth, struct node *ret)
{
	auto_free char *anchor = take_anchor(&r->event);
	int result = -1;

	*ret = (struct node){0};
	if (depth > CONTENT_MAX_DEPTH)
		return err_set(r->err, ERR_LIMIT, "yaml: nested deeper than %d", CONTENT_MAX_DEPTH);
	if (++r->nodes > NODES_MAX)
		return err_set(r->err, ERR_LIMIT, "yaml: more than %zu values", NODES_MAX);
	if (r->event.type == YAML_ALIAS_EVENT)
		result = find_anchor(r, ret);
	else if (r->event.type == YAML_SCALAR_EVENT)
		result = read_scalar(r, scalar_kind(&r->event), ret);
	else if (r->event.type == YAML_SEQUENCE_START_EVENT)
		result = read_list(r, depth + 1, ret);
	else if (r->event.type == YAML_MAPPING_START_EVENT)
		result = read_mapping(r, depth + 1, ret);
	else
		fail(r, "a value was expected");
	if (result == 0 && ret->height > CONTENT_MAX_DEPTH)
		result = err_set(r->err, ERR_LIMIT, "yaml: nested deeper than %d by aliases",
				 CONTENT_MAX_DEPTH);
	if (result == 0)
		result = keep_anchor(r, anchor, ret);
	if (result < 0) {
		json_decref(ret->json);
		ret->json = NULL;
	}
	return result;
}

static int skip_events(struct reader *r, int count)
{
	while (count-- > 0)
		if (next_event(r) < 0)
			return -1;
	return 0;
}

/* The one document; an empty text is null. */
static int read_stream(struct reader *r, struct node *ret)
{
	if (skip_events(r, 2) < 0)
		return -1;
	if (r->event.type == YAML_STREAM_END_EVENT) {
		ret->json = json_null();
		return 0;
	}
	if (next_event(r) < 0 || read_node(r, 0, ret) < 0 || skip_events(r, 2) < 0)
		return -1;
	return r->event.type == YAML_STREAM_END_EVENT ? 0 : fail(r, "expected a single document");
}

int yaml_text_load(struct str *out, const char *data, size_t len, struct err *err)
{
	struct reader r = {.err = err};
	struct node root = {0};
	int result;

	if (!yaml_parser_initialize(&r.yaml))
		return err_set(err, ERR_INTERNAL, "yaml: libyaml cannot begin");
	r.anchors = map_new();
	yaml_parser_set_input_string(&r.yaml, (const unsigned char *)data, len);
	result = read_stream(&r, &root);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.yaml);
	anchors_free(r.anchors);
	if (result == 0 && pyjson_dump(out, root.json) < 0)
		result = err_set(err, ERR_LIMIT, "yaml: more than %zu bytes as JSON", out->max);
	json_decref(root.json);
	return result;
}
