#include "protocol/message.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES ((size_t)16 << 10)

static void drop_headers(struct message *m)
{
	for (size_t i = 0; m->has_json && i < m->header_count; i++)
		value_drop(&m->headers[i].value);
}

static void empty(struct message *m)
{
	struct arena arena = m->arena;

	*m = (struct message){.arena = arena, .priority = -1};
}

void message_init(struct message *m)
{
	*m = (struct message){.priority = -1};
}

void message_reset(struct message *m)
{
	drop_headers(m);
	free(m->body);
	arena_reset(&m->arena, KEEP_BYTES);
	empty(m);
}

void message_clear(struct message *m)
{
	drop_headers(m);
	free(m->body);
	arena_clear(&m->arena);
	empty(m);
}

void message_headers_begin(struct message *m, size_t max)
{
	drop_headers(m);
	m->headers = arena_alloc(&m->arena, max * sizeof(*m->headers));
	m->header_count = m->other_count = 0;
	m->has_json = false;
	memset(m->places, 0, sizeof(m->places));
}

static void replace(struct value *old, struct value value)
{
	value_drop(old);
	*old = value;
}

void message_headers_add(struct message *m, enum header_name name, struct span text,
			 struct value value)
{
	if (value.kind == VALUE_JSON)
		m->has_json = true;
	if (name == HEADER_CUSTOM || name == HEADER_RESERVED) {
		m->other_count++;
	} else if (m->places[name]) {
		replace(&m->headers[m->places[name] - 1].value, value);
		return;
	} else {
		m->places[name] = (uint32_t)m->header_count + 1;
	}
	m->headers[m->header_count++] =
		(struct message_header){.text = text, .name = name, .value = value};
}

/* Equal names stand together, in the order they came. */
static int compare(const void *a, const void *b)
{
	const struct message_header *const *pa = a, *const *pb = b;
	const struct message_header *x = *pa, *y = *pb;
	int order;

	if (x->text.len != y->text.len)
		return x->text.len < y->text.len ? -1 : 1;
	order = x->text.len ? memcmp(x->text.data, y->text.data, x->text.len) : 0;
	if (order)
		return order;
	return x < y ? -1 : x > y;
}

static bool is_same_name(const struct message_header *a, const struct message_header *b)
{
	return a->text.len == b->text.len &&
	       (a->text.len == 0 || memcmp(a->text.data, b->text.data, a->text.len) == 0);
}

void message_headers_end(struct message *m)
{
	struct message_header **sorted, *first;
	size_t count = 0;

	if (m->other_count < 2)
		return;
	sorted = arena_alloc(&m->arena, m->other_count * sizeof(struct message_header *));
	for (size_t i = 0; i < m->header_count; i++)
		if (m->headers[i].name == HEADER_CUSTOM || m->headers[i].name == HEADER_RESERVED)
			sorted[count++] = &m->headers[i];
	qsort(sorted, count, sizeof(struct message_header *), compare);
	first = sorted[0];
	for (size_t i = 1; i < count; i++) {
		if (!is_same_name(first, sorted[i])) {
			first = sorted[i];
			continue;
		}
		replace(&first->value, sorted[i]->value);
		sorted[i]->value.kind = VALUE_ABSENT;
	}
}

void message_headers_set(struct message *m, const json_t *object)
{
	json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators take it so */

	message_headers_begin(m, json_object_size(o));
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		const char *text = json_object_iter_key(it);
		size_t len = json_object_iter_key_len(it);

		message_headers_add(m, header_name_of(text, len),
				    (struct span){arena_dup(&m->arena, text, len), len},
				    value_copy_json(&m->arena, json_object_iter_value(it)));
	}
}

const struct value *message_header(const struct message *m, enum header_name name)
{
	static const struct value absent = {.kind = VALUE_ABSENT};

	return m->places[name] ? &m->headers[m->places[name] - 1].value : &absent;
}
