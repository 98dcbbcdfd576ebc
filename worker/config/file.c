/*
 * smallage.yaml: one mapping of names to values. A value is a scalar, a list of scalars, or, for
 * settings of type mapping, anything, which becomes JSON. Plain YAML 1.1 scalars keep their text
 * (a password 0123 stays 0123). Aliases, tags, repeated keys and several documents are refused:
 * none of them has a use here and each has a way to surprise.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/str.h"
#include "worker/config/store.h"

#define FILE_MAX_BYTES (1024 * 1024)
#define FILE_MAX_DEPTH 16

struct reader {
	yaml_parser_t yaml;
	yaml_event_t event; /* the present one; freed by the next */
	struct config_store *store;
	const char *path;
	struct err *err;
};

static void reader_free(struct reader *r)
{
	yaml_event_delete(&r->event);
	yaml_parser_delete(&r->yaml);
}

static size_t line_of(const struct reader *r)
{
	return r->event.start_mark.line + 1;
}

static int fail(struct reader *r, const char *what)
{
	return err_set(r->err, ERR_INVALID, "%s:%zu: %s", r->path, line_of(r), what);
}

static int next_event(struct reader *r)
{
	yaml_event_delete(&r->event);
	if (!yaml_parser_parse(&r->yaml, &r->event))
		return err_set(r->err, ERR_INVALID, "%s:%zu: %s", r->path,
			       r->yaml.problem_mark.line + 1,
			       r->yaml.problem ? r->yaml.problem : "not YAML");
	switch (r->event.type) {
	case YAML_ALIAS_EVENT:
		return fail(r, "aliases are not supported in a settings file");
	case YAML_SCALAR_EVENT:
		return r->event.data.scalar.tag ? fail(r, "tags are not supported") : 0;
	case YAML_SEQUENCE_START_EVENT:
		return r->event.data.sequence_start.tag ? fail(r, "tags are not supported") : 0;
	case YAML_MAPPING_START_EVENT:
		return r->event.data.mapping_start.tag ? fail(r, "tags are not supported") : 0;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		break;
	}
	return 0;
}

static const char *scalar_text(const struct reader *r)
{
	return (const char *)r->event.data.scalar.value;
}

static bool scalar_is_plain(const struct reader *r)
{
	return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null_word(const char *text)
{
	return text[0] == '\0' || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0;
}

/* A scalar inside a mapping: plain words become the JSON value they look like. */
static json_t *scalar_to_json(const struct reader *r)
{
	const char *text = scalar_text(r);
	json_t *number;

	if (!scalar_is_plain(r))
		return json_string(text);
	if (is_null_word(text))
		return json_null();
	if (strcasecmp(text, "true") == 0 || strcasecmp(text, "yes") == 0)
		return json_true();
	if (strcasecmp(text, "false") == 0 || strcasecmp(text, "no") == 0)
		return json_false();
	number = json_loads(text, JSON_DECODE_ANY, NULL);
	if (json_is_number(number))
		return number;
	json_decref(number);
	return json_string(text);
}

static json_t *read_json(struct reader *r, unsigned depth);

static json_t *read_json_list(struct reader *r, unsigned depth)
{
	json_t *list = json_array();

	for (;;) {
		json_t *item;

		if (next_event(r) != 0)
			break;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return list;
		item = read_json(r, depth + 1);
		if (!item || json_array_append_new(list, item) != 0)
			break;
	}
	json_decref(list);
	return NULL;
}

static json_t *read_json_object(struct reader *r, unsigned depth)
{
	json_t *object = json_object();

	for (;;) {
		auto_free char *key = NULL;
		json_t *item;

		if (next_event(r) != 0)
			break;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return object;
		if (r->event.type != YAML_SCALAR_EVENT) {
			fail(r, "a name must stand before ':'");
			break;
		}
		key = mem_strdup(scalar_text(r));
		if (json_object_get(object, key)) {
			fail(r, "this name was given before");
			break;
		}
		item = next_event(r) == 0 ? read_json(r, depth + 1) : NULL;
		if (!item || json_object_set_new(object, key, item) != 0)
			break;
	}
	json_decref(object);
	return NULL;
}

/* The value that begins with the present event. */
static json_t *read_json(struct reader *r, unsigned depth)
{
	if (depth > FILE_MAX_DEPTH) {
		fail(r, "nested too deeply");
		return NULL;
	}
	if (r->event.type == YAML_SEQUENCE_START_EVENT)
		return read_json_list(r, depth);
	if (r->event.type == YAML_MAPPING_START_EVENT)
		return read_json_object(r, depth);
	return scalar_to_json(r);
}

/* A list of scalars, joined with commas. */
static int read_list(struct reader *r, struct str *out)
{
	for (;;) {
		if (next_event(r) != 0)
			return -1;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		if (r->event.type != YAML_SCALAR_EVENT)
			return fail(r, "a list may hold plain values only");
		if (strchr(scalar_text(r), ','))
			return fail(r, "a list's values may not hold commas");
		str_addf(out, "%s%s", out->len ? "," : "", scalar_text(r));
	}
}

/* Is its list more than one of plain values? */
static bool may_be_tree(const char *name)
{
	const struct config_row *row = config_row_find(name);

	return row && row->type == CONFIG_TREE;
}

/* One "name: value" whose name is the present event. */
static int read_setting(struct reader *r)
{
	auto_free char *name = mem_strdup(scalar_text(r));
	auto_free char *where = mem_printf("%s:%zu", r->path, line_of(r));
	auto_free char *json_text = NULL;
	bool is_mapping;
	auto_str list;
	struct config_found found = {.name = name, .origin = CONFIG_FROM_FILE, .where = where};

	str_init(&list, FILE_MAX_BYTES);
	if (next_event(r) != 0)
		return -1;
	is_mapping = r->event.type == YAML_MAPPING_START_EVENT;
	if (r->event.type == YAML_MAPPING_START_EVENT ||
	    (r->event.type == YAML_SEQUENCE_START_EVENT && may_be_tree(name))) {
		json_t *value = read_json(r, 0);

		if (!value)
			return -1;
		json_text = json_dumps(value, JSON_COMPACT);
		json_decref(value);
		found.text = json_text;
		found.is_mapping = is_mapping;
	} else if (r->event.type == YAML_SEQUENCE_START_EVENT) {
		if (read_list(r, &list) != 0)
			return -1;
		found.text = list.len ? list.data : "";
	} else if (!scalar_is_plain(r) || !is_null_word(scalar_text(r))) {
		found.text = scalar_text(r);
	}
	return config_store_put(r->store, &found, r->err);
}

static int read_document(struct reader *r)
{
	if (next_event(r) != 0)
		return -1;
	if (r->event.type == YAML_SCALAR_EVENT && is_null_word(scalar_text(r)))
		return next_event(r); /* a file of comments */
	if (r->event.type != YAML_MAPPING_START_EVENT)
		return fail(r, "settings are written as 'name: value'");
	for (;;) {
		if (next_event(r) != 0)
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return next_event(r);
		if (r->event.type != YAML_SCALAR_EVENT)
			return fail(r, "a name must stand before ':'");
		if (read_setting(r) != 0)
			return -1;
	}
}

static int read_stream(struct reader *r)
{
	if (next_event(r) != 0) /* the stream's start says nothing */
		return -1;
	if (next_event(r) != 0)
		return -1;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return 0;
	if (read_document(r) != 0 || next_event(r) != 0)
		return -1;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return fail(r, "a second document; there may be one");
	return 0;
}

static int load_bytes(const char *path, bool must_exist, struct str *bytes, bool *ret_was_there,
		      struct err *err)
{
	FILE *file = fopen(path, "re");
	char chunk[8192];
	size_t len;
	int broken;

	*ret_was_there = file != NULL;
	if (!file)
		return must_exist || errno != ENOENT ? err_errno(err, "settings file %s", path) : 0;
	while ((len = fread(chunk, 1, sizeof(chunk), file)) > 0)
		str_add(bytes, chunk, len);
	broken = ferror(file);
	fclose(file);
	if (broken)
		return err_errno(err, "settings file %s", path);
	if (bytes->is_full)
		return err_set(err, ERR_LIMIT, "settings file %s is larger than %d bytes", path,
			       FILE_MAX_BYTES);
	return 0;
}

int config_file_read(struct config_store *s, const char *path, bool must_exist, bool *ret_was_there,
		     struct err *err)
{
	struct reader r = {.store = s, .path = path, .err = err};
	auto_str bytes;
	int result;

	str_init(&bytes, FILE_MAX_BYTES);
	if (load_bytes(path, must_exist, &bytes, ret_was_there, err) != 0)
		return -1;
	if (bytes.len == 0)
		return 0;
	if (!yaml_parser_initialize(&r.yaml))
		return err_set(err, ERR_INTERNAL, "YAML parser");
	yaml_parser_set_input_string(&r.yaml, (const unsigned char *)bytes.data, bytes.len);
	result = read_stream(&r);
	reader_free(&r);
	return result;
}
