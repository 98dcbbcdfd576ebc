/*
 * First byte: content type and encoding; with its highest bit YAML or MessagePack. First line: the
 * headers as JSON. Rest: the body. A message that is taken in is written and taken in again as the
 * same.
 */
#include "protocol/task_message.h"

#include "base/text.h"
#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"
#include "tests/headers_json.h"

static const char *const types[] = {"application/json", "application/x-python-serialize", NULL,
				    "application/data"};
static const char *const encodings[] = {"utf-8", NULL, "latin-1", "binary", "cp1252"};

static const char *const accept[] = {"json", "yaml", "msgpack", NULL};
static const struct task_message_options options = {
	.content = {.accept = accept, .max_bytes = 1 << 20}};

static enum intake take_in(struct task_message *t, struct message *m)
{
	struct err err = {0};
	enum intake intake;

	task_message_init(t);
	intake = task_message_head(t, m, &options, &err);
	if (intake == INTAKE_OK) {
		fuzz_check(t->task && *t->task);
		intake = task_message_decode(t, m, &options, &err);
		fuzz_check(!m->body && t->body);
	}
	fuzz_check((intake == INTAKE_OK) == (err.text[0] == '\0'));
	fuzz_check(utf8_is_valid(err.text, strlen(err.text)));
	fuzz_check_one_line(err.text);
	return intake;
}

static void check_span(struct span span, enum pyjson_kind kind)
{
	json_t *value = pyjson_load(span.data, span.len, NULL);

	fuzz_check(value && pyjson_kind_of(span) == kind);
	json_decref(value);
}

static void write_message(const struct task_message *t, struct str *headers, struct str *body)
{
	json_t *object = task_message_headers(t);

	str_init(headers, STR_MAX_DEFAULT);
	str_init(body, STR_MAX_DEFAULT);
	fuzz_check(pyjson_dump(headers, object) == 0);
	fuzz_check(task_message_write_body(body, t) == 0);
	json_decref(object);
}

static void check_same(const struct str *a, const struct str *b)
{
	fuzz_check(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}

static void check_round_trip(const struct task_message *t)
{
	struct str headers[2], body[2];
	struct task_message again;
	struct message m;
	json_t *object;

	write_message(t, &headers[0], &body[0]);
	message_init(&m);
	object = pyjson_load(headers[0].data, headers[0].len, NULL);
	fuzz_check(object);
	message_headers_set(&m, object);
	json_decref(object);
	m.content_type = "application/json";
	m.body = strdup(body[0].data);
	m.body_len = body[0].len;
	fuzz_check(take_in(&again, &m) == INTAKE_OK);
	write_message(&again, &headers[1], &body[1]);
	check_same(&headers[0], &headers[1]);
	check_same(&body[0], &body[1]);
	for (int i = 0; i < 2; i++) {
		str_clear(&headers[i]);
		str_clear(&body[i]);
	}
	task_message_clear(&again);
	message_clear(&m);
}

/* The list holds what the object held, in its order. */
static void check_headers(const struct message *m, const json_t *object)
{
	json_t *same = message_headers_json(m);
	struct str texts[2];

	str_init(&texts[0], STR_MAX_DEFAULT);
	str_init(&texts[1], STR_MAX_DEFAULT);
	if (json_is_object(object)) {
		fuzz_check(pyjson_dump(&texts[0], object) == 0);
		fuzz_check(pyjson_dump(&texts[1], same) == 0);
		check_same(&texts[0], &texts[1]);
	} else {
		fuzz_check(json_object_size(same) == 0);
	}
	json_decref(same);
	str_clear(&texts[0]);
	str_clear(&texts[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct task_message t;
	struct message m;
	const char *type, *encoding;
	size_t len;
	char *line;
	json_t *object;

	if (size == 0)
		return 0;
	type = types[*data % 4];
	encoding = encodings[*data / 4 % 5];
	if (*data & 0x80)
		type = *data & 1 ? "application/x-yaml" : "application/x-msgpack";
	data++;
	size--;
	line = fuzz_line(&data, &size, &len);
	message_init(&m);
	object = pyjson_load(line, len, NULL);
	free(line);
	message_headers_set(&m, object);
	check_headers(&m, object);
	json_decref(object);
	m.content_type = type;
	m.content_encoding = encoding;
	m.body = malloc(size + 1);
	memcpy(m.body, data, size);
	m.body[size] = '\0';
	m.body_len = size;
	if (take_in(&t, &m) == INTAKE_OK) {
		fuzz_check(t.id && *t.id);
		check_span(t.args, PYJSON_ARRAY);
		check_span(t.kwargs, PYJSON_OBJECT);
		check_round_trip(&t);
	}
	task_message_clear(&t);
	message_clear(&m);
	return 0;
}
