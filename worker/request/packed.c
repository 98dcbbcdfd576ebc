#include "worker/request/packed.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Before each text: */
enum { TEXT_NULL, TEXT_NAME, TEXT_ID, TEXT_UUID, TEXT_LENGTHS };
/* Before each span: */
enum { SPAN_NULL, SPAN_BODY, SPAN_OWN };
/* What most messages have not: */
enum {
	HAS_EXPIRES = 1,
	HAS_SENT = 2,
	HAS_TIME_LIMIT = 4,
	HAS_SOFT_LIMIT = 8,
	IS_REDELIVERED = 16,
};

#define UUID_TEXT  36
#define UUID_BYTES 16
#define TEXT_COUNT 16

/* All texts but the id, in the order they are packed in. */
static void texts_of(struct task_message *m, const char **ret_texts[TEXT_COUNT])
{
	const char **all[TEXT_COUNT] = {
		&m->task,	    &m->shadow,		 &m->root_id,  &m->parent_id,
		&m->group,	    &m->origin,		 &m->lang,     &m->argsrepr,
		&m->kwargsrepr,	    &m->stamped_headers, &m->stamps,   &m->custom_headers,
		&m->correlation_id, &m->reply_to,	 &m->exchange, &m->routing_key,
	};

	memcpy(ret_texts, all, sizeof(all));
}

#define SPAN_COUNT 6

static void spans_of(struct task_message *m, struct span *ret_spans[SPAN_COUNT])
{
	struct span *all[SPAN_COUNT] = {&m->args,     &m->kwargs, &m->callbacks,
					&m->errbacks, &m->chain,  &m->chord};

	memcpy(ret_spans, all, sizeof(all));
}

/* Writing */

static void put_number(struct str *out, uint64_t number)
{
	while (number >= 128) {
		str_addc(out, (char)(number | 128));
		number >>= 7;
	}
	str_addc(out, (char)number);
}

static void put_signed(struct str *out, int64_t number)
{
	put_number(out, ((uint64_t)number << 1) ^ (uint64_t)(number >> 63));
}

static void put_double(struct str *out, double number)
{
	str_add(out, &number, sizeof(number));
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_dash(size_t at)
{
	return at == 8 || at == 13 || at == 18 || at == 23;
}

/* Only as Python writes it, so that the same text comes back. */
static bool uuid_pack(const char *text, unsigned char ret_bytes[UUID_BYTES])
{
	size_t digits = 0;

	for (size_t i = 0; i < UUID_TEXT; i++) {
		int value = hex_value(text[i]);

		if (is_dash(i) ? text[i] != '-' : value < 0)
			return false;
		if (is_dash(i))
			continue;
		if (digits % 2 == 0)
			ret_bytes[digits / 2] = (unsigned char)(value << 4);
		else
			ret_bytes[digits / 2] |= (unsigned char)value;
		digits++;
	}
	return true;
}

static void put_text(struct str *out, const char *text, const char *name, const char *id)
{
	unsigned char uuid[UUID_BYTES];
	size_t len = text ? strlen(text) : 0;

	if (!text) {
		put_number(out, TEXT_NULL);
	} else if (name && strcmp(text, name) == 0) {
		put_number(out, TEXT_NAME);
	} else if (id && strcmp(text, id) == 0) {
		put_number(out, TEXT_ID);
	} else if (len == UUID_TEXT && uuid_pack(text, uuid)) {
		put_number(out, TEXT_UUID);
		str_add(out, uuid, sizeof(uuid));
	} else {
		put_number(out, TEXT_LENGTHS + len);
		str_add(out, text, len);
	}
}

static void put_span(struct str *out, struct span span, const struct task_message *m)
{
	if (!span.data) {
		put_number(out, SPAN_NULL);
	} else if (m->body && span.data >= m->body && span.data <= m->body + m->body_len) {
		put_number(out, SPAN_BODY);
		put_number(out, (uint64_t)(span.data - m->body));
		put_number(out, span.len);
	} else {
		put_number(out, SPAN_OWN);
		put_number(out, span.len);
		str_add(out, span.data, span.len);
	}
}

static unsigned flags_of(const struct task_message *m)
{
	return (m->expires_us != TIME_UNSET ? HAS_EXPIRES : 0u) |
	       (m->sent_us != 0 ? HAS_SENT : 0u) | (m->time_limit_s != 0 ? HAS_TIME_LIMIT : 0u) |
	       (m->soft_time_limit_s != 0 ? HAS_SOFT_LIMIT : 0u) |
	       (m->is_redelivered ? IS_REDELIVERED : 0u);
}

int packed_write(struct str *out, const struct task_message *m, const char *name)
{
	struct task_message fields = *m; /* to point into; nothing is changed */
	const char **texts[TEXT_COUNT];
	struct span *spans[SPAN_COUNT];

	put_text(out, m->id, NULL, NULL);
	put_signed(out, m->retries);
	put_number(out, flags_of(m));
	if (m->expires_us != TIME_UNSET)
		put_signed(out, m->expires_us);
	if (m->sent_us != 0)
		put_signed(out, m->sent_us);
	if (m->time_limit_s != 0)
		put_double(out, m->time_limit_s);
	if (m->soft_time_limit_s != 0)
		put_double(out, m->soft_time_limit_s);
	put_signed(out, m->protocol);
	put_signed(out, m->group_index);
	put_signed(out, m->replaced_task_nesting);
	put_signed(out, m->ignore_result);
	put_signed(out, m->priority);
	texts_of(&fields, texts);
	for (size_t i = 0; i < TEXT_COUNT; i++)
		put_text(out, *texts[i], name, m->id);
	put_number(out, m->body_len);
	if (m->body_len > 0)
		str_add(out, m->body, m->body_len);
	spans_of(&fields, spans);
	for (size_t i = 0; i < SPAN_COUNT; i++)
		put_span(out, *spans[i], m);
	return out->is_full ? -1 : 0;
}

/* Reading */

struct reader {
	const unsigned char *at;
	const char *name, *id; /* what texts may be the same as */
	struct arena *texts;
};

static uint64_t get_number(struct reader *r)
{
	uint64_t number = 0;

	for (unsigned shift = 0;; shift += 7) {
		unsigned char c = *r->at++;

		number |= (uint64_t)(c & 127) << shift;
		if (c < 128)
			return number;
	}
}

static int64_t get_signed(struct reader *r)
{
	uint64_t number = get_number(r);

	return (int64_t)(number >> 1) ^ -(int64_t)(number & 1);
}

static double get_double(struct reader *r)
{
	double number;

	memcpy(&number, r->at, sizeof(number));
	r->at += sizeof(number);
	return number;
}

static void uuid_unpack(const unsigned char *bytes, char ret_text[UUID_TEXT])
{
	static const char hex[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < UUID_BYTES; i++) {
		if (is_dash(at))
			ret_text[at++] = '-';
		ret_text[at++] = hex[bytes[i] >> 4];
		ret_text[at++] = hex[bytes[i] & 15];
	}
}

static const char *get_text(struct reader *r)
{
	uint64_t tag = get_number(r);
	char uuid[UUID_TEXT];
	const char *text;

	switch (tag) {
	case TEXT_NULL:
		return NULL;
	case TEXT_NAME:
		return r->name;
	case TEXT_ID:
		return r->id;
	case TEXT_UUID:
		uuid_unpack(r->at, uuid);
		r->at += UUID_BYTES;
		return arena_dup(r->texts, uuid, UUID_TEXT);
	default:
		text = arena_dup(r->texts, r->at, tag - TEXT_LENGTHS);
		r->at += tag - TEXT_LENGTHS;
		return text;
	}
}

static struct span get_span(struct reader *r, const struct task_message *m)
{
	uint64_t tag = get_number(r), start;
	struct span span = {0};

	if (tag == SPAN_NULL)
		return span;
	start = tag == SPAN_BODY ? get_number(r) : 0;
	span.len = get_number(r);
	if (tag == SPAN_BODY) {
		span.data = m->body + start;
	} else {
		span.data = arena_dup(r->texts, r->at, span.len);
		r->at += span.len;
	}
	return span;
}

static void read_numbers(struct reader *r, struct task_message *m)
{
	uint64_t flags;

	m->retries = get_signed(r);
	flags = get_number(r);
	m->is_redelivered = flags & IS_REDELIVERED;
	if (flags & HAS_EXPIRES)
		m->expires_us = get_signed(r);
	if (flags & HAS_SENT)
		m->sent_us = get_signed(r);
	if (flags & HAS_TIME_LIMIT)
		m->time_limit_s = get_double(r);
	if (flags & HAS_SOFT_LIMIT)
		m->soft_time_limit_s = get_double(r);
	m->protocol = (int)get_signed(r);
	m->group_index = get_signed(r);
	m->replaced_task_nesting = get_signed(r);
	m->ignore_result = (enum tristate)get_signed(r);
	m->priority = (int)get_signed(r);
}

void packed_read(struct task_message *m, const unsigned char *data, const char *name)
{
	struct reader r = {.at = data, .name = name, .texts = &m->texts};
	const char **texts[TEXT_COUNT];
	struct span *spans[SPAN_COUNT];

	r.id = m->id = get_text(&r);
	read_numbers(&r, m);
	texts_of(m, texts);
	for (size_t i = 0; i < TEXT_COUNT; i++)
		*texts[i] = get_text(&r);
	m->body_len = get_number(&r);
	m->body = mem_dup(r.at, m->body_len);
	r.at += m->body_len;
	spans_of(m, spans);
	for (size_t i = 0; i < SPAN_COUNT; i++)
		*spans[i] = get_span(&r, m);
}

char *packed_key(const unsigned char *data, const char *name, int64_t *ret_retries)
{
	auto_arena texts = {0};
	struct reader r = {.at = data, .name = name, .texts = &texts};
	char *id = mem_strdup(get_text(&r));

	if (ret_retries)
		*ret_retries = get_signed(&r);
	return id;
}

bool packed_is(const unsigned char *data, const char *name, const char *id, int64_t retries)
{
	int64_t own_retries;
	auto_free char *own = packed_key(data, name, &own_retries);

	return own_retries == retries && strcmp(own, id) == 0;
}
