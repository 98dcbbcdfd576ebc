/* Where in the body's text the parts stand. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "protocol/pyjson_items.h"
#include "protocol/task_message_impl.h"

int task_body_has_key(const char *body, size_t len, const char *name, bool *ret_has,
		      struct err *err)
{
	*ret_has = false;
	while (len > 0 && strchr(" \t\r\n", *body)) {
		body++;
		len--;
	}
	if (len == 0 || *body != '{')
		return 0;
	auto_items items;

	if (pyjson_items_scan(&items, body, len, err) == -1)
		return -1;
	*ret_has = pyjson_items_find(&items, name).data;
	return 0;
}

/* An object, and not a tag that Python decodes to something else. */
static bool is_mapping(struct span value)
{
	json_t *object;
	bool is_plain;

	if (pyjson_kind_of(value) != PYJSON_OBJECT)
		return false;
	if (value.len < sizeof("{\"__type__\":\"\",\"__value__\":0}") - 1 ||
	    !memmem(value.data, value.len, "__type__", 8))
		return true;
	object = pyjson_load(value.data, value.len, NULL);
	is_plain = json_is_object(object) && pyjson_tag(object, NULL) == PYJSON_PLAIN;
	json_decref(object);
	return is_plain;
}

static void span_move(struct span *span, const char *from, size_t len, const char *to)
{
	if (span->data >= from && span->data < from + len)
		span->data = to + (span->data - from);
}

/* Python iterates a text as its characters. The array is written behind the body, so that the spans
 * and what the body dump shows stay. */
static void spread_args(struct task_message *t)
{
	json_t *value = pyjson_load(t->args.data, t->args.len, NULL);
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);
	auto_str body = {.max = STR_MAX_DEFAULT};
	struct span *const spans[] = {&t->kwargs, &t->callbacks, &t->errbacks, &t->chain,
				      &t->chord};

	str_add(&body, t->body, t->body_len);
	str_addc(&body, '[');
	for (size_t i = 0, n; i < len; i += n) {
		n = pyjson_char_offset(text + i, len - i, 1);
		if (i)
			str_puts(&body, ", ");
		pyjson_dump_str(&body, text + i, n);
	}
	str_addc(&body, ']');
	json_decref(value);
	for (size_t i = 0; i < sizeof(spans) / sizeof(*spans); i++)
		span_move(spans[i], t->body, t->body_len, body.data);
	t->args = (struct span){body.data + t->body_len, body.len - t->body_len};
	free(t->body);
	t->body = str_detach(&body);
}

static bool take_args(struct task_message *t, struct span args)
{
	enum pyjson_kind kind = pyjson_kind_of(args);

	t->args = args;
	if (kind == PYJSON_STRING)
		spread_args(t);
	return kind == PYJSON_STRING || kind == PYJSON_ARRAY;
}

/* `embed or {}` */
static bool is_empty(struct span value, const struct pyjson_items *items)
{
	switch (items->kind) {
	case PYJSON_NULL:
		return true;
	case PYJSON_BOOL:
		return *value.data == 'f';
	case PYJSON_STRING:
		return value.len == 2;
	case PYJSON_ARRAY:
	case PYJSON_OBJECT:
		return items->count == 0;
	case PYJSON_NUM:
		return strtod(value.data, NULL) == 0.0;
	}
	return false;
}

static enum intake read_embed(struct task_message *t, struct span embed, struct err *err)
{
	/* What Celery writes when nothing follows the task, which is nearly always. */
	static const char nothing[] =
		"{\"callbacks\": null, \"errbacks\": null, \"chain\": null, \"chord\": null}";
	auto_items items;

	pyjson_items_init(&items);
	if (embed.len == sizeof(nothing) - 1 && memcmp(embed.data, nothing, embed.len) == 0)
		return INTAKE_OK;
	if (pyjson_items_scan(&items, embed.data, embed.len, NULL) == -1)
		return task_fail(INTAKE_DECODE_ERROR, err, ERR_INTERNAL, "embed cannot be read");
	if (is_empty(embed, &items))
		return INTAKE_OK;
	if (items.kind != PYJSON_OBJECT)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "the body's third element must be a mapping");
	t->callbacks = pyjson_items_find_set(&items, "callbacks");
	t->errbacks = pyjson_items_find_set(&items, "errbacks");
	t->chain = pyjson_items_find_set(&items, "chain");
	t->chord = pyjson_items_find_set(&items, "chord");
	return INTAKE_OK;
}

enum intake task_body_read_v2(struct task_message *t, struct err *err)
{
	auto_items items;
	struct err cause = {0};
	enum intake intake;

	if (pyjson_items_scan(&items, t->body, t->body_len, &cause) == -1)
		return task_fail(INTAKE_DECODE_ERROR, err, cause.code, "%s", cause.text);
	if (items.kind != PYJSON_ARRAY)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "the body must be [args, kwargs, embed]");
	if (items.count != 3)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "the body must be [args, kwargs, embed], not %zu elements",
				 items.count);
	intake = read_embed(t, items.all[2].value, err);
	if (intake != INTAKE_OK)
		return intake;
	if (!is_mapping(items.all[1].value))
		return task_fail(INTAKE_BAD_KWARGS, err, ERR_INVALID,
				 "Task keyword arguments must be a mapping");
	t->kwargs = items.all[1].value;
	if (!take_args(t, items.all[0].value))
		return task_fail(INTAKE_BAD_KWARGS, err, ERR_INVALID,
				 "Task positional arguments must be a list");
	return INTAKE_OK;
}

enum intake task_body_read_v1(struct task_message *t, struct err *err)
{
	auto_items items;
	struct span args, kwargs;
	struct err cause = {0};

	if (pyjson_items_scan(&items, t->body, t->body_len, &cause) == -1)
		return task_fail(INTAKE_DECODE_ERROR, err, cause.code, "%s", cause.text);
	kwargs = pyjson_items_find(&items, "kwargs");
	if (kwargs.data && !is_mapping(kwargs))
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "Task keyword arguments must be a mapping");
	if (kwargs.data)
		t->kwargs = kwargs;
	t->callbacks = pyjson_items_find_set(&items, "callbacks");
	t->errbacks = pyjson_items_find_set(&items, "errbacks");
	t->chord = pyjson_items_find_set(&items, "chord");
	args = pyjson_items_find(&items, "args");
	if (args.data && !take_args(t, args))
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "Task positional arguments must be a list");
	return INTAKE_OK;
}
